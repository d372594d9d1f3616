"""What a ridge critic costs by itself: real batch labels against permuted ones, by penalty and mini-batch.

make benchmark-critic        (about 12 minutes on a core; writes benchmarks/critic.json)

Permuted labels (the sham arm) hold nothing that could be removed, so what they cost is damage by the critic's noise. A
default is the better, the more of the batch it removes at strengths at which permuted labels still cost little. The
demo's screen has biology where the batches differ; there the true labels have to cost biology, too.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.arms.arm import Arm
from sweeper.config.sweep_config import SweepConfig, load_config
from sweeper.installed import versions
from sweeper.planning.cells import Cell, make_cells
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.inputs import trainer_features
from sweeper.planning.prepared import load_screen
from sweeper.running.scoring import score
from sweeper.running.worker import training_cell
from trainers.abra.profile_pack import AbraPack
from trainers.screens.table import codes

ROOT = Path(__file__).parent.parent
SCREENS = {"jump": ROOT / "configs/jump_source3.yaml", "demo": ROOT / "sweeper/demo.yaml"}
VIEW, MARGIN, SEEDS = "held_out_plates", 0.0, (0, 1, 2)
STRENGTHS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
PENALTIES, ITEMS = (1.0, 10.0, 100.0), (8, 32)
ARMS = {"true": Arm.SWEEP, "permuted": Arm.SHAM}
DECIDING = ("batch_probe_linear", "cilisi", "retrieval_map", "activity_map", "perturbation_accuracy")


def main() -> None:
    """Train and score every combination, then write the result file."""
    rows = []
    for screen, penalty, items in product(SCREENS, PENALTIES, ITEMS):
        config = load_config(SCREENS[screen], [f"abra.ridge_penalty={penalty}", f"abra.items={items}"])
        for labels, arm in ARMS.items():
            setting = {"screen": screen, "penalty": penalty, "items": items, "labels": labels}
            rows += [setting | row for row in level_means(config, arm)]
        print(f"{screen}, penalty {penalty:g}, {items} items", flush=True)
    result = {"command": "python benchmarks/critic.py", "seeds": len(SEEDS), "versions": versions(), "rows": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def level_means(config: SweepConfig, arm: Arm) -> list[dict[str, Any]]:
    """Each strength's mean over seeds of the metrics that decide, higher is better, and of biology (their mean)."""
    screen = load_screen(config)
    strengths = [(weight, MARGIN) for weight in STRENGTHS]
    cells = make_cells("critic", "abra", strengths, SEEDS, {VIEW: 1}, arm=arm)
    drawn = DrawnSplits(config, screen.wells)
    splits = [drawn.of(cell) for cell in cells]
    pack = AbraPack(
        trainer_features(config, screen),
        codes(screen.wells["perturbation"]),
        codes(screen.wells["batch"]),
        [training_cell(cell, split, screen.wells) for cell, split in zip(cells, splits, strict=True)],
        config.abra,
    )
    pack.advance(pack.total_steps)

    def scored(index: int, cell: Cell) -> dict[str, Any]:
        found = score(
            lambda rows: pack.embed(index, rows),
            splits[index],
            screen.wells,
            cell=cell,
            names=DECIDING,
            options=config.panel,
        )
        values = {row["metric"]: row for row in found.rows}
        above = [
            values[name]["value"] - values[name]["floor"]
            for name in DECIDING[2:]
            if name in values and values[name]["value"] is not None
        ]
        return {
            "adversarial_weight": cell.adversarial_weight,
            "lost": found.status != "ok",
            "biology": sum(above) / len(above) if above else None,
            "probe": values["batch_probe_linear"]["raw"] if values else None,
            **{name: values[name]["value"] if name in values else None for name in DECIDING},
        }

    table = pd.DataFrame([scored(index, cell) for index, cell in enumerate(cells)])
    means = table.groupby("adversarial_weight").mean().round(4).reset_index()
    return [{key: None if pd.isna(value) else value for key, value in row.items()} for row in means.to_dict("records")]


if __name__ == "__main__":
    main()
