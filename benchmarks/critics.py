"""Which critic removes what readers see, at what cost to biology and to a pack: real and simulated screens, 5 seeds.

    make benchmark-critics        (half an hour of a core; stop and start as you like; writes benchmarks/critics.json)

*Aim*: the default critic. *Data*: simulated screens whose batches differ by a shift alone, and by shift, scale and a
bend (with 32 and with 320 perturbations); the JUMP table of configs/jump_source3.yaml and BBBC021, where they lie
beside the project. *Methods*: every critic at the strengths of `STRENGTHS`, margin 0, held-out plates, 200 steps.
*Measures*: T, the value of the strongest reader of the batch (`batch_reader`; 1: not readable), and B, biology above
its floor on perturbations that no cell of that seed trained on (BBBC021: mechanisms of held-out compounds), as a share
of λ = 0's. λ is in units of the critic's own, so critics are compared where they cost alike: `best` is the strength
with the highest mean T of those whose mean B is within `ALLOWED` of λ = 0's. Seconds are of the process, one thread,
one critic after the other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from sweeper.arms.arm import Arm
from sweeper.config.sweep_config import SweepConfig, build_config, load_config
from sweeper.planning.cells import make_cells
from sweeper.planning.description import versions
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.inputs import trainer_features
from sweeper.planning.prepared import load_screen
from sweeper.running.scoring import score
from sweeper.running.worker import training_cell
from trainers.abra.profile_pack import AbraPack
from trainers.errors import InputError
from trainers.screens.table import Screen, codes

HERE = Path(__file__).parent
RESULT = Path(__file__).with_suffix(".json")
README = HERE / "README.md"
BEGIN, END = "<!-- critics: written by benchmarks/critics.py -->", "<!-- end of critics -->"
VIEW, SEEDS, ALLOWED = "held_out_plates", (0, 1, 2, 3, 4), 0.05
CRITICS: Mapping[str, Mapping[str, Any]] = {
    "ridge": {"critic": "ridge"},
    "fourier": {"critic": "fourier"},
    "kernel": {"critic": "kernel"},
    "moments": {"critic": "moments"},
    "mlp, 3 steps": {"critic": "mlp", "critic_steps": 3},
    "mlp, 10 steps": {"critic": "mlp", "critic_steps": 10},
}
STRENGTHS: Mapping[str, Sequence[float]] = {
    **dict.fromkeys(("ridge", "fourier", "kernel", "moments"), (3.0, 10.0, 30.0, 100.0)),
    **dict.fromkeys(("mlp, 3 steps", "mlp, 10 steps"), (0.1, 0.3, 1.0, 3.0)),
}
TRAINING = {"steps": 200, "embedding_dim": 64, "hidden_widths": [128], "items": 16}
"""The default widths; fewer steps and smaller mini-batches than the default."""
SIMULATED = {
    "batches": 6,
    "plates_per_batch": 4,
    "wells_per_plate": 96,
    "features": 64,
    "perturbations": 32,
    "targets": 8,
    "controls_per_plate": 8,
    "latent": 8,
    "overlap": 0.3,
    "phenotype": 1.2,
    "inactive": 0.0,
    "batch_shift": 0.8,
    "plate_shift": 0.1,
    "batch_scale": 0.0,
    "nonlinearity": 0.0,
    "seed": 11,
}
BENT = {"batch_scale": 0.6, "nonlinearity": 0.6}
MANY = {"perturbations": 320, "targets": 40}
BIOLOGY: Mapping[str, Sequence[str]] = {
    "shift, scale, bend": ("activity_map", "retrieval_map"),
    "shift": ("activity_map", "retrieval_map"),
    "jump": ("retrieval_map",),
    "bbbc021": ("nsc_accuracy", "nscb_accuracy", "target_consistency"),
    "bend, many perturbations": ("activity_map", "retrieval_map"),
}


def config_of(name: str) -> SweepConfig:
    """The configuration of a screen of the study."""
    if name == "jump":
        settings = [f"abra.{key}={json.dumps(value)}" for key, value in TRAINING.items()]
        return load_config(HERE.parent / "configs/jump_source3.yaml", [*settings, "held_out_perturbations=0.375"])
    given: dict[str, Any] = {
        "name": name.replace(", ", "-"),
        "views": [{"view": VIEW, "fraction": 0.5}],
        "strengths": {"adversarial_weight": [1.0], "margin": [0.0]},
        "seeds": len(SEEDS),
        "abra": TRAINING,
        "held_out_perturbations": 0.25,
    }
    if name == "bbbc021":
        table = HERE.parent / "../shared/data/bbbc021/bbbc021_wells.csv.gz"
        columns = {"perturbation": "Metadata_Compound", "target": "Metadata_MoA"}
        given |= {"screen": {"path": str(table), "columns": columns, "negative_controls": ["DMSO"]}}
    else:
        bent, many = BENT if "bend" in name else {}, MANY if "many" in name else {}
        given |= {"simulate": SIMULATED | bent | many}
    return build_config(given, __file__)


def measure(config: SweepConfig, screen: Screen, biology: Sequence[str], critic: str) -> dict[str, Any]:
    """Train and score every seed at every strength of a critic; "none" is λ = 0."""
    strengths = [(weight, 0.0) for weight in STRENGTHS.get(critic, (0.0,))]
    cells = make_cells("critics", "abra", strengths, SEEDS, {VIEW: 1}, arm=Arm.SWEEP)
    drawn = DrawnSplits(config, screen.wells)
    splits = [drawn.of(cell) for cell in cells]
    pack = AbraPack(
        trainer_features(config, screen),
        codes(screen.wells["perturbation"]),
        codes(screen.wells["batch"]),
        [training_cell(cell, split, screen.wells) for cell, split in zip(cells, splits, strict=True)],
        config.abra.model_copy(update=dict(CRITICS.get(critic, {}))),
        threads=1,
    )
    began = time.process_time()
    pack.advance(pack.total_steps)
    seconds = time.process_time() - began
    rows = []
    for index, cell in enumerate(cells):
        found = score(
            lambda some, index=index: pack.embed(index, some),
            splits[index],
            screen.wells,
            cell=cell,
            names=("batch_reader", *biology),
            options=config.panel,
        )
        values = {row["metric"]: row for row in found.rows if row["value"] is not None}
        rows.append(
            {
                "adversarial_weight": cell.adversarial_weight,
                "seed": cell.seed,
                "status": found.status,
                "reader": values["batch_reader"]["raw"] if "batch_reader" in values else None,
                "removed": values["batch_reader"]["value"] if "batch_reader" in values else None,
                "biology": [values[name]["value"] - values[name]["floor"] for name in biology if name in values],
            }
        )
    return {"seconds": round(seconds, 2), "cells": len(cells), "rows": rows}


def compared(found: Mapping[str, Any]) -> dict[str, Any]:
    """One screen's critics: T and B of every strength, and of the best that costs at most `ALLOWED`."""
    zero = {row["seed"]: row for row in found["none"]["rows"]}
    start = mean(row["removed"] for row in zero.values())
    whole = mean(mean(row["biology"]) for row in zero.values())
    table: dict[str, Any] = {
        "zero": {"T": round(start, 3), "reader": round(mean(r["reader"] for r in zero.values()), 3)}
    }
    pace = found["ridge"]["seconds"] / found["ridge"]["cells"]
    for critic in (name for name in CRITICS if name in found):
        levels = []
        for weight in STRENGTHS[critic]:
            here = [row for row in found[critic]["rows"] if row["adversarial_weight"] == weight]
            usable = [row for row in here if row["removed"] is not None and row["biology"]]
            lost = [mean(row["biology"]) - mean(zero[row["seed"]]["biology"]) for row in usable]
            gain = [row["removed"] - zero[row["seed"]]["removed"] for row in usable]
            levels.append(
                {
                    "adversarial_weight": weight,
                    "runs": len(usable),
                    "T": round(mean(row["removed"] for row in usable), 3) if usable else None,
                    "gain": round(mean(gain), 3) if usable else None,
                    "gain_se": round(stdev(gain) / len(gain) ** 0.5, 3) if len(gain) > 1 else None,
                    "B_kept": round(1 + mean(lost) / whole, 3) if usable else None,
                    "B_se": round(stdev(lost) / len(lost) ** 0.5 / whole, 3) if len(lost) > 1 else None,
                }
            )
        allowed = [level for level in levels if level["runs"] == len(SEEDS) and level["B_kept"] >= 1 - ALLOWED]
        table[critic] = {
            "levels": levels,
            "best": max(allowed, key=lambda level: level["T"], default=None),
            "most": max((level["T"] for level in levels if level["T"] is not None), default=None),
            "times_ridge": round(found[critic]["seconds"] / found[critic]["cells"] / pace, 2),
        }
    return table


def with_table(text: str, result: Mapping[str, Any]) -> str:
    """The text with the table of a result between the two markers."""
    screens = result["screens"]
    heads = [f"{name}; λ = 0: {own['zero']['T']:.3f}" for name, own in screens.items()]
    lines = [
        f"Each entry: T at the best strength that keeps {1 - ALLOWED:.0%} of λ = 0's biology (λ; gain over λ = 0 ±",
        "standard error over 5 seeds; biology kept) · the highest T of any strength. –: no strength keeps so much.",
        "",
        f"| critic | {' | '.join(heads)} | seconds, times ridge |",
        "|---" * (len(screens) + 2) + "|",
    ]
    for critic in CRITICS:
        ratios = [own[critic]["times_ridge"] for own in screens.values() if critic in own]
        if ratios:
            entries = [_entry(own.get(critic)) for own in screens.values()]
            lines.append(f"| {critic} | {' | '.join(entries)} | {min(ratios):.1f}–{max(ratios):.1f} |")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{rest.split(END)[1]}"


def _entry(own: Mapping[str, Any] | None) -> str:
    """One critic on one screen."""
    if own is None or own["most"] is None:
        return "not run" if own is None else "every strength lost runs"
    best = own["best"]
    if best is None:
        return f"– · {own['most']:.3f}"
    gain = f"{best['gain']:+.3f} ± {best['gain_se']:.3f}"
    return f"{best['T']:.3f} ({best['adversarial_weight']:g}; {gain}; {best['B_kept']:.2f}) · {own['most']:.3f}"


def main() -> None:
    """Run what is missing, writing as it comes, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/critics"), help="where each critic's runs are kept")
    parser.add_argument("--screens", nargs="*", default=list(BIOLOGY), choices=list(BIOLOGY))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start nothing further after this long")
    options = parser.parse_args()
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * options.minutes
    options.work.mkdir(parents=True, exist_ok=True)
    screens: dict[str, dict[str, Any]] = {}
    for name in options.screens:
        config = config_of(name)
        try:
            screen = load_screen(config)
        except InputError as absent:
            print(absent)
            continue
        for critic in ("none", *CRITICS):
            path = options.work / f"{name}-{critic}.json".replace(", ", "-").replace(" ", "-")
            if not path.exists():
                if time.monotonic() > until:
                    continue
                path.write_text(json.dumps(measure(config, screen, BIOLOGY[name], critic)), encoding="utf-8")
                print(f"{name}, {critic}", flush=True)
            screens.setdefault(name, {})[critic] = json.loads(path.read_text(encoding="utf-8"))
    result = {
        "schema": "critics/1",
        "command": "make benchmark-critics",
        "seeds": len(SEEDS),
        "allowed": ALLOWED,
        "settings": TRAINING,
        "versions": versions(),
        "screens": {name: compared(own) for name, own in screens.items() if {"none", "ridge"} <= own.keys()},
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    main()
