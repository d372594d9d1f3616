"""Is what is called safe safe, for each correction on simulated screens?

    make benchmark-methods-screens    (about an hour of one core, goes on where it stopped; writes methods_screens.json)

A simulated screen of 12 plates a batch stands for all that could have been measured of it. Screens as a laboratory has
them are 4 of its 12 plates in every batch, drawn again and again; each is swept with every correction and decided as
`sweeper run` does it (in this process, without a sham arm or untrained baselines, with few metrics, Harmony with θ = 1
alone). The truth for each of them is the mean curve of the other draws, smoothed by nothing: the first strength,
between two trained ones by straight lines in the logarithm, at which 10 % of the best value at smaller strengths is
lost. Where single metrics conflict, point and loss are those of the earliest one, which this truth says nothing of:
such draws count for what is called safe alone.

Cases: perturbations alike in all batches and apart from what makes batches differ ("balanced"); perturbations dealt
unevenly over the batches, so that what is taken out with the batch is biology ("unbalanced"); biology along the
directions of the batches and of the controls' variation ("overlapping").
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.decision.input.results_table import LABEL_SHUFFLED
from sweeper.findings.stored import tabulate_and_decide
from sweeper.planning.cells import make_packs
from sweeper.planning.description import sweep_description, versions
from sweeper.planning.prepared import prepare
from sweeper.running.worker import PackRun, pack_content
from trainers.screens.readers import screen_frame
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

DELTA = 0.10
PLATES, OF = 4, 12
DRAWS = 6
SIMULATION: dict[str, Any] = {
    "batches": 6,
    "plates_per_batch": OF,
    "wells_per_plate": 96,
    "features": 60,
    "perturbations": 24,
    "targets": 8,
    "controls_per_plate": 12,
    "latent": 6,
    "phenotype": 1.0,
    "inactive": 0.0,
    "batch_shift": 0.8,
}
CASES: dict[str, dict[str, Any]] = {
    "balanced": {"overlap": 0.0},
    "unbalanced": {"overlap": 0.0, "imbalance": 0.9, "batch_shift": 0.3},
    "overlapping": {"overlap": 0.9, "imbalance": 0.4},
}
METHODS = ("center", "combat", "harmony", "sphering")
METRICS = ["batch_probe_linear", "activity_map", "retrieval_map"]
WRONG = ("called_safe_above_truth", "advised_above_truth", "loss_established_too_early")
Found = dict[str, Any]


def configuration(method: str, table: Path, folder: Path) -> SweepConfig:
    """The sweep of one draw, on the grid that the method's dial proposes."""
    return build_config(
        {
            "name": "drawn",
            "folder": str(folder),
            "screen": {"path": str(table)},
            "trainer": method,
            **({"strengths": {"margin": [1.0]}} if method == "harmony" else {}),
            "views": [{"view": "held_out_plates", "fraction": 0.5}],
            "seeds": 3,
            "metrics": METRICS,
            "panel": {"units": ["perturbation"]},
            "sham": {"enabled": False},
            "tracking": {"enabled": False},
            "decision": {"primary_technical": ["batch_probe_linear"]},
        },
        "methods_screens",
    )


def swept(method: str, table: Path) -> Found:
    """The curve and the verdict of one draw."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = prepare(configuration(method, table, Path(folder) / "sweep"))
        description = sweep_description(sweep, ["methods_screens"])
        sweep.store.create(sweep_id=sweep.sweep_id, description=description, screen=sweep.screen)
        cells = [cell for cell in sweep.known_cells() if not cell.is_control or cell.trainer == LABEL_SHUFFLED]
        for pack in make_packs(cells, workers=1, training_batches=sweep.batches_of(cells)):
            run = PackRun(sweep.store.write_pack(pack.pack_id, pack_content(pack, sweep.config, replace=frozenset())))
            while run.advance():
                pass
            list(run.finish())
        _, decision = tabulate_and_decide(sweep.store)
    curve = decision.curve
    assert curve is not None  # noqa: S101 - every cell is scored
    levels = sorted((level.weight, level.biological.mean) for level in curve.levels if level.biological is not None)
    return {
        "state": str(decision.rule.state),
        "margin": curve.margin,
        "strengths": [weight for weight, _ in levels],
        "biology": [round(mean, 5) for _, mean in levels],
        "limit": None if curve.estimate is None else curve.estimate.limit,
        "advised": curve.recommended,
        "unsafe_from": curve.unsafe_from,
        "point": None if curve.point is None else list(curve.point),
    }


def drawn(case: str, number: int, folder: Path) -> list[Path]:
    """Tables of `DRAWS` screens, each of `PLATES` plates of every batch of one simulated screen."""
    spec = SimulationSpec.model_validate({**SIMULATION, **CASES[case], "seed": number})
    screen = simulate(spec).screen
    frame, plate = screen_frame(screen), screen.wells["plate"]
    plates = plate.groupby(screen.wells["batch"], sort=True).unique()
    paths = []
    for draw in range(DRAWS):
        rng = np.random.default_rng((number, draw, 15))
        chosen = np.concatenate([rng.choice(np.sort(own), PLATES, replace=False) for own in plates])
        paths.append(folder / f"draw-{draw}.parquet")
        frame[plate.isin(chosen).to_numpy()].reset_index(drop=True).to_parquet(paths[-1], index=False)
    return paths


def truth(strengths: list[float], curves: NDArray[np.float64]) -> float:
    """Where the mean of the (R, L) curves has lost δ of its best value so far; inf where it never does."""
    mean = curves.mean(axis=0)
    lost = 1 - mean / np.maximum.accumulate(mean)
    over = np.flatnonzero(lost >= DELTA)
    if not len(over):
        return float("inf")
    at = int(over[0])
    if strengths[at - 1] == 0.0:
        return strengths[at] * float(DELTA / lost[at])  # linear: 0 has no logarithm
    share = (DELTA - lost[at - 1]) / (lost[at] - lost[at - 1])
    low, high = np.log(strengths[at - 1]), np.log(strengths[at])
    return float(np.exp(low + share * (high - low)))


def judged(draws: list[Found]) -> list[Found]:
    """What became of every draw of a screen, against the mean of the others."""
    curves = np.array([draw["biology"] for draw in draws])
    found = []
    for number, draw in enumerate(draws):
        true = truth(draw["strengths"], np.delete(curves, number, axis=0))
        one_curve = draw["state"] != "CONFLICTING_METRICS"
        located = one_curve and draw["point"] is not None
        found.append(
            {
                "reached": bool(np.isfinite(true)),
                "called_safe_above_truth": draw["limit"] is not None and draw["limit"] > true,
                "advised_above_truth": draw["advised"] is not None and draw["advised"] > true,
                "loss_established_too_early": one_curve
                and draw["unsafe_from"] is not None
                and draw["unsafe_from"] < true,
                "conflicting": not one_curve,
                "located": located,
                "covered": located and draw["point"][0] <= true <= draw["point"][2],
                "safe": draw["limit"] is not None and draw["limit"] > 0,
            }
        )
    return found


def rates(screens: list[list[Found]]) -> Found:
    """Shares over draws with the 95 % interval of a bootstrap over screens: draws of one screen are no independent."""
    rows = [one for screen in screens for one in screen]
    found: Found = {
        "screens": len(screens),
        "draws": len(rows),
        "truth_in_range": round(float(np.mean([row["reached"] for row in rows])), 3),
    }
    for name in (*WRONG, "conflicting", "located", "safe"):
        shares = np.array([np.mean([row[name] for row in screen]) for screen in screens])
        again = np.random.default_rng(3).choice(shares, (2000, len(shares))).mean(axis=1)
        found[name] = {
            "share": round(float(shares.mean()), 3),
            "interval": [round(float(np.quantile(again, level)), 3) for level in (0.025, 0.975)],
        }
    located = [row["covered"] for row in rows if row["located"]]
    found["covered"] = {"of": len(located), "share": round(float(np.mean(located)), 3)} if located else None
    found["point_where_there_is_none"] = sum(row["located"] and not row["reached"] for row in rows)
    return found


def main() -> None:
    """Draw, sweep, judge and write; what the result file has is not done again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screens", type=int, default=4, help="simulated screens of a case")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after this; go on next time")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    kept: Found = json.loads(options.json.read_text()) if options.json.exists() else {"draws": {}}
    for number in range(options.screens):
        for case in CASES:
            if all(f"{case}/{number}/{method}" in kept["draws"] for method in METHODS) or time.monotonic() > until:
                continue
            with tempfile.TemporaryDirectory() as folder:
                tables = drawn(case, number, Path(folder))
                for method in METHODS:
                    key = f"{case}/{number}/{method}"
                    if key in kept["draws"] or time.monotonic() > until:
                        continue
                    kept["draws"][key] = [swept(method, table) for table in tables]
                    write(options.json, kept)
                    print(key, kept["draws"][key][0], flush=True)


def write(path: Path, kept: Found) -> None:
    """The rates of what is there, and what they are made of."""
    of: dict[str, Found] = {}
    for method in METHODS:
        for case in CASES:
            own = [judged(draws) for key, draws in kept["draws"].items() if _is(key, case, method)]
            if own:
                of.setdefault(method, {})[case] = rates(own)
    found = {"command": "make benchmark-methods-screens", "versions": versions(), "delta": DELTA, "rates": of}
    path.write_text(json.dumps({**found, "draws": kept["draws"]}, indent=None, separators=(",", ":")) + "\n")


def _is(key: str, case: str, method: str) -> bool:
    own_case, _, own_method = key.split("/")
    return own_case == case and own_method == method


if __name__ == "__main__":
    main()
