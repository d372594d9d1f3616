"""The whole panel at 2,000, 10,000 and 50,000 wells: seconds and memory, beside scib-metrics and copairs.

make benchmark-panel-speed        (about an hour; writes benchmarks/panel_speed.json)

One simulated screen a size: plates of 384 wells in 8 batches, a twelfth of the wells negative controls, 12 wells a
perturbation, 5 perturbations a target. The panel measures every metric with its floors and ceilings (20 permutations);
the peers measure the raw numbers of SHARED alone, each with a limit of processor seconds and memory. One that does not
finish counts with what it used, so the ratio is then a lower bound. Ratios and growth are of processor seconds. Metrics
of a run follow one another in one process and share what they share; imports are not counted, JAX's compilation is, as
every new design pays for it.

The result file is written after every metric. What it lacks is measured, so that a run in parts (`--minutes 7`) goes on
where it stopped; a metric that others share work with may then do that work twice, and counts it twice.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import queue
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from numpy.typing import NDArray

PLATE, CONTROLS, REPLICATES, BATCHES, TARGET_SIZE = 384, 32, 12, 8, 5
RUNS = [
    ("panel", 2_000, 256),
    ("peers", 2_000, 256),
    ("panel", 10_000, 256),
    ("peers", 10_000, 256),
    ("panel", 50_000, 256),
    ("peers", 50_000, 256),
    ("panel", 50_000, 512),
]
LIMIT = 90.0
"""Processor seconds a metric of the peers may take: a busy machine makes no peer slow."""
MEMORY = 12.0
"""GB a peer may take."""

START = "start"
"""The panel's first step: reading the table and the gate."""
Key = tuple[str, int, int]
"""Whose run, wells, dimensions."""

SHARED = {
    "pasw": "silhouette",
    "tasw_batch": "silhouette",
    "tasw_row": "silhouette",
    "tasw_column": "silhouette",
    "asw_batch": "silhouette_batch",
    "batch_mixing_bras": "bras",
    "neighbours": "pynndescent",
    "ilisi": "ilisi_knn",
    "cilisi": "lisi_knn inside every perturbation",
    "kbet_controls": "kbet",
    "graph_connectivity_directed": "graph_connectivity",
    "graph_connectivity": "UMAP's connectivities, connected components",
    "pcr": "principal_component_regression",
    "target_consistency": "copairs average_precision of consensus profiles",
    "activity_map": "copairs average_precision",
    "within_batch_activity": "copairs average_precision",
    "label_nmi": "nmi_ari_cluster_labels_kmeans",
    "retrieval_map": "copairs average_precision",
}
"""Metrics that both measure, and the peer's function. `neighbours` are what several of them start from."""


def simulated(wells: int, dimensions: int, seed: int = 0) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """(n, e) embedding and wells of a screen with additive phenotype, batch and plate effects.

    Every perturbation's 12 wells are dealt out over the batches, at random positions of random plates.
    """
    rng = np.random.default_rng(seed)
    plates = max(2 * BATCHES, -(-wells // PLATE))  # activity within a batch is between plates
    plate = np.sort(np.arange(wells) % plates)
    batch = plate * BATCHES // plates
    sizes = np.bincount(plate)
    place = np.concatenate([rng.permutation(PLATE)[:size] for size in sizes])
    control = np.concatenate([np.arange(size) < round(size * CONTROLS / PLATE) for size in sizes])
    treated = np.flatnonzero(~control)
    perturbations = len(treated) // REPLICATES
    order = np.lexsort((rng.random(len(treated)), batch[treated]))
    label = np.full(wells, -1)
    label[treated[order]] = np.arange(len(treated)) % perturbations
    row, column = np.divmod(place, 24)
    names = np.array([*(f"p{number:05d}" for number in range(perturbations)), "DMSO"])
    table = pd.DataFrame(
        {
            "batch": [f"b{number}" for number in batch],
            "plate": [f"b{b}/{p:03d}" for b, p in zip(batch, plate, strict=True)],
            "well": [f"{chr(65 + r)}{c + 1:02d}" for r, c in zip(row, column, strict=True)],
            "perturbation": names[label],
            "control_type": np.where(control, "negative", "treatment"),
            "target": [None if number < 0 else f"t{number // TARGET_SIZE:04d}" for number in label],
            "row": row + 1,
            "column": column + 1,
        }
    )
    profile = 0.3 * rng.standard_normal((perturbations + 1, dimensions), dtype=np.float32)
    profile[-1] = 0.0
    embedding = rng.standard_normal((wells, dimensions), dtype=np.float32) + profile[label]
    embedding += 0.2 * rng.standard_normal((BATCHES, dimensions), dtype=np.float32)[batch]
    embedding += 0.1 * rng.standard_normal((plates, dimensions), dtype=np.float32)[plate]
    return embedding, table


def panel(wells: int, dimensions: int, device: str | None, names: list[str]) -> None:
    """Measure the named metrics one after another with the panel, `START` first; print a line each."""
    from sweeper.metrics.gate import judge
    from sweeper.metrics.panel import score_table, table_evaluation
    from sweeper.metrics.panel_options import PanelOptions
    from sweeper.metrics.registry import measure

    rows, table = simulated(wells, dimensions)
    options = PanelOptions(device=device)
    score_table(*simulated(400, 8), options=options)  # imports what a metric imports when it is first measured
    print(json.dumps({"name": "imports"}), flush=True)
    kept = []

    def start() -> bool:
        kept.append(table_evaluation(rows, table, options=options))
        return judge(kept[0].test).collapsed is None

    def one(name: str) -> bool:
        return measure(kept[0], [name])[0][1].value is not None

    if START in names:
        _timed(START, start)
    else:
        start()
    for name in names:
        if name != START:
            _timed(name, partial(one, name))


def peers(wells: int, dimensions: int, names: list[str]) -> None:
    """Measure the named metrics one after another with the peers; print a line each."""
    import warnings

    warnings.simplefilter("ignore")
    rows, table = simulated(wells, dimensions)
    functions = _peer_functions(rows, table)
    print(json.dumps({"name": "imports"}), flush=True)
    for name in names:
        _timed(name, functions[name])


def _peer_functions(rows: NDArray[np.float32], table: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    import scib_metrics
    from copairs.map import average_precision
    from copairs.matching import assign_reference_index
    from scib_metrics.nearest_neighbors import NeighborsResults, pynndescent
    from scipy.sparse.csgraph import connected_components
    from sklearn.neighbors import NearestNeighbors

    kept: list[NeighborsResults] = []
    perturbation, batch = table["perturbation"].to_numpy(), table["batch"].to_numpy()
    control = (table["control_type"] == "negative").to_numpy()
    treated = ~control

    def near() -> NeighborsResults:
        if not kept:
            kept.append(pynndescent(rows, n_neighbors=90, random_state=0, n_jobs=os.cpu_count()))
        return kept[0]

    def exact(inside: NDArray[np.int64]) -> NeighborsResults:
        found = NearestNeighbors(n_neighbors=min(90, len(inside)), algorithm="brute").fit(rows[inside])
        distance, index = found.kneighbors(rows[inside])
        return NeighborsResults(index, distance)

    def cilisi() -> None:
        for inside in table.groupby("perturbation").indices.values():
            if len(inside) >= 10 and len(np.unique(batch[inside])) > 1:
                scib_metrics.lisi_knn(exact(inside), batch[inside])

    def kbet() -> None:
        inside = np.flatnonzero(control)
        count = int(np.clip(len(inside) // (4 * BATCHES), 10, 70))
        found = pynndescent(rows[inside], n_neighbors=count, random_state=0, n_jobs=os.cpu_count())
        scib_metrics.kbet(found, batch[inside])

    def undirected() -> None:
        graph = near().subset_neighbors(15).knn_graph_connectivities.tocsr()
        for inside in table.groupby("perturbation").indices.values():
            connected_components(graph[inside][:, inside], connection="strong")

    def precision(some: pd.DataFrame, features: NDArray[Any], **pairs: list[str]) -> None:
        average_precision(some.reset_index(drop=True), features, progress_bar=False, **pairs)

    def activity(same: list[str], apart: list[str]) -> None:
        meta = assign_reference_index(table, "perturbation == 'DMSO'", reference_col="reference", default_value=-1)
        precision(
            meta,
            rows,
            pos_sameby=["perturbation", "reference", *same],
            pos_diffby=apart,
            neg_sameby=["plate"],
            neg_diffby=["perturbation", "reference"],
        )

    def retrieval() -> None:
        precision(
            table[treated],
            rows[treated],
            pos_sameby=["perturbation"],
            pos_diffby=["batch", "well"],
            neg_sameby=[],
            neg_diffby=["perturbation", "batch", "well"],
        )

    def consistency() -> None:
        consensus = pd.DataFrame(rows[treated]).groupby(perturbation[treated]).median()
        meta = table[treated].groupby("perturbation")[["target"]].first()
        pairs = {"pos_sameby": ["target"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["target"]}
        precision(meta, consensus.loc[meta.index].to_numpy(), **pairs)

    label = scib_metrics.silhouette_label
    regression = scib_metrics.utils.principal_component_regression
    return {
        "pasw": lambda: label(rows[treated], perturbation[treated]),
        "tasw_batch": lambda: label(rows, batch),
        "tasw_row": lambda: label(rows, table["row"].to_numpy()),
        "tasw_column": lambda: label(rows, table["column"].to_numpy()),
        "asw_batch": lambda: scib_metrics.silhouette_batch(rows, perturbation, batch),
        "batch_mixing_bras": lambda: scib_metrics.bras(rows, perturbation, batch),
        "neighbours": near,
        "ilisi": lambda: scib_metrics.ilisi_knn(near(), batch),
        "cilisi": cilisi,
        "kbet_controls": kbet,
        "graph_connectivity_directed": lambda: scib_metrics.graph_connectivity(
            near().subset_neighbors(15), perturbation
        ),
        "graph_connectivity": undirected,
        "pcr": lambda: regression(rows, batch, categorical=True, n_components=50),
        "target_consistency": consistency,
        "activity_map": lambda: activity([], ["batch", "well"]),
        "within_batch_activity": lambda: activity(["batch"], ["plate", "well"]),
        "label_nmi": lambda: scib_metrics.nmi_ari_cluster_labels_kmeans(rows[treated], perturbation[treated]),
        "retrieval_map": retrieval,
    }


def _timed(name: str, work: Callable[[], Any]) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    found, unfinished = None, None
    try:
        found = work()
    except Exception as error:  # JAX has an error of its own for it
        if "out of memory" not in str(error).lower():
            raise
        unfinished = "asked for more memory than there is"
    line = {
        "name": name,
        "seconds": round(time.perf_counter() - wall, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    if found is False:
        line["measured"] = False
    if unfinished:
        line["unfinished"] = unfinished
    print(json.dumps(line), flush=True)


def steps_of(who: str) -> list[str]:
    """What a run is made of, in order."""
    if who == "peers":
        return list(SHARED)
    from sweeper.metrics.registry import REGISTRY

    return [START, *REGISTRY]


def run(found: dict[str, Any], keep: Callable[[], None], until: float) -> None:
    """Measure the steps that a run lacks; `keep` is called after each, and none is begun after `until`.

    `parts` counts the processes; what metrics of two of them share was then measured twice.
    """
    (who, wells, dimensions), steps = _key(found), found["steps"]
    kind, _, device = who.partition(" on ")
    limit = found.get("limit_seconds", math.inf)
    while (waiting := [name for name in steps_of(kind) if name not in steps]) and time.monotonic() < until:
        found["parts"] = found.get("parts", 0) + 1
        command = [sys.executable, __file__, "--child", kind, str(wells), str(dimensions), device, *waiting]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            stopped = _follow(process, steps, waiting, limit, keep, until)
        if stopped is not None:
            steps[waiting[0]] = stopped
            keep()
        elif process.returncode > 0:
            raise SystemExit(f"{who} at {wells} wells ended with {process.returncode}")


def _follow(
    process: subprocess.Popen[str],
    steps: dict[str, Any],
    waiting: list[str],
    limit: float,
    keep: Callable[[], None],
    until: float,
) -> Any:
    """Read the child's lines; None at its end, or what became of the metric that ran over its limit."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_forward, args=(process, lines)).start()
    child, started, before, peak = psutil.Process(process.pid), False, 0.0, 0.0
    while True:
        try:
            text = lines.get(timeout=0.5)
        except queue.Empty:
            if not started or limit == math.inf:
                continue
            spent, memory = sum(child.cpu_times()[:2]) - before, child.memory_info().rss / 2**30
            peak = max(peak, memory)
            if spent > limit or memory > MEMORY:
                process.kill()
                why = f"did not finish in {limit:.0f} s" if spent > limit else f"took more than {MEMORY:.0f} GB"
                print(waiting[0], why, flush=True)
                return {"processor_seconds": round(spent, 2), "unfinished": why, "peak_gb": round(peak, 2)}
            continue
        if not text:
            process.wait()
            return None
        line = json.loads(text)
        print(line, flush=True)
        started, peak = True, 0.0
        if limit < math.inf:
            before = sum(child.cpu_times()[:2])
        if (name := line.pop("name")) != "imports":
            steps[name] = line
            waiting.remove(name)
            keep()
            if waiting and time.monotonic() > until:
                process.kill()
                return None


def _forward(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    for text in process.stdout or ():
        lines.put(text)
    lines.put("")


def totals(steps: dict[str, Any]) -> dict[str, Any]:
    """Processor seconds and peak of a whole run of the panel, and of what the peers measure, too."""
    shared = [steps[name] for name in (START, *SHARED) if name in steps]
    return {
        "processor_seconds": round(sum(step["processor_seconds"] for step in steps.values()), 1),
        "shared_processor_seconds": round(sum(step["processor_seconds"] for step in shared), 1),
        "seconds": round(sum(step.get("seconds", 0.0) for step in steps.values()), 1),
        "peak_gb": max(step["peak_gb"] for step in steps.values()),
        "metrics": sum(step.get("measured", True) for step in steps.values()) - (START in steps),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Totals, ratios and growth of the runs that came to their end."""
    of = {_key(found): found["steps"] for found in runs if not missing(found)}
    found: dict[str, Any] = {"panel": [], "ratio": {}, "growth_exponent": {}}
    panels = {key: totals(steps) for key, steps in of.items() if key[0] != "peers"}
    found["panel"] = [
        {"who": who, "wells": wells, "dimensions": dimensions, **total}
        for (who, wells, dimensions), total in panels.items()
    ]
    for (who, wells, dimensions), steps in of.items():
        ours = panels.get(("panel", wells, dimensions))
        if who != "peers" or ours is None:
            continue
        total = sum(step["processor_seconds"] for step in steps.values())
        found["ratio"][str(wells)] = {
            "peers_processor_seconds": round(total, 1),
            "unfinished": {name: step["unfinished"] for name, step in steps.items() if "unfinished" in step},
            "over_same_metrics": round(total / ours["shared_processor_seconds"], 1),
            "over_whole_panel": round(total / ours["processor_seconds"], 1),
        }
    sizes = sorted(key for key in panels if key[0] == "panel" and key[2] == 256)
    for small, large in itertools.pairwise(sizes):
        # Only metrics that both screens allow.
        both = [name for name, step in of[small].items() if step.get("measured") == of[large][name].get("measured")]
        for part, names in (("whole", both), ("shared", [name for name in both if name in (START, *SHARED)])):
            less, more = (sum(of[key][name]["processor_seconds"] for name in names) for key in (small, large))
            growth = found["growth_exponent"].setdefault(part, {})
            growth[f"{small[1]:,} to {large[1]:,}"] = round(math.log(more / less, large[1] / small[1]), 2)
    return found


def missing(found: dict[str, Any]) -> list[str]:
    """Steps of a run that were not measured."""
    kind = found["who"].partition(" on ")[0]
    return [name for name in steps_of(kind) if name not in found["steps"]]


def main() -> None:
    """Run what is asked for and not yet in the result file, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--wells", type=int, nargs="+", help="these sizes only")
    parser.add_argument("--who", choices=["panel", "peers"], help="one side only")
    parser.add_argument("--device", help="PyTorch device of the panel's large products; no peers then")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing after this; go on next time")
    parser.add_argument("--limit", type=float, default=LIMIT, help="processor seconds a metric of the peers may take")
    parser.add_argument("--again", action="store_true", help="measure again what the result file has")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, wells, dimensions, device, *names = options.child
        if kind == "panel":
            panel(int(wells), int(dimensions), device or None, names)
        else:
            peers(int(wells), int(dimensions), names)
        return
    until = time.monotonic() + 60 * options.minutes
    kept = json.loads(options.json.read_text())["runs"] if options.json.exists() else []
    done: dict[Key, dict[str, Any]] = {_key(found): found for found in kept}

    def write() -> None:
        _write(options.json, sorted(done.values(), key=_key))

    for who, wells, dimensions in RUNS:
        if wells not in (options.wells or [wells]) or who not in (options.who or who):
            continue
        if options.device and who == "peers":
            continue
        key = (f"{who} on {options.device}" if options.device else who, wells, dimensions)
        if options.again or key not in done:
            limits = {"limit_seconds": options.limit, "limit_gb": MEMORY} if who == "peers" else {}
            done[key] = {"who": key[0], "wells": wells, "dimensions": dimensions, **limits, "steps": {}}
        print(*key, flush=True)
        run(done[key], write, until)
    write()


def _key(found: dict[str, Any]) -> Key:
    return found["who"], found["wells"], found["dimensions"]


def _write(file: Path, runs: list[dict[str, Any]]) -> None:
    from sweeper.installed import versions

    result = {
        "command": "make benchmark-panel-speed",
        "machine": {"cpus": os.cpu_count(), "machine": platform.machine(), "versions": versions()},
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "shared": SHARED,
        "steps_of_the_panel": len(steps_of("panel")),
        "summary": summary(runs),
        "not_run_to_the_end": [list(_key(found)) for found in runs if missing(found)],
        "runs": runs,
    }
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    temporary.replace(file)


if __name__ == "__main__":
    main()
