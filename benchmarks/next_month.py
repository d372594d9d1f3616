"""A new batch through a kept model, on the real table: every batch once put aside as "next month's".

    .venv/bin/python benchmarks/next_month.py        (some minutes; writes benchmarks/next_month.json)

The table of configs/jump_source3.yaml, unnormalised, less one batch; λ = 10 kept (one seed, 100 steps, and an encoder
without each of the eight other batches). The batch put aside is then applied as it is, with every feature times three,
and with the features of two channels exchanged, each of the ten pairs: the 11 of each alone (columns misnamed), and
with their correlations with other channels (stains exchanged). Inside what was tested or outside? Beside each verdict
its distances with their limits, and the accuracy of the nearest class mean.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

import sweeper
from sweeper.config.sweep_config import build_config, load_config
from sweeper.planning.description import sweep_description, versions
from sweeper.planning.prepared import prepare

HERE = Path(__file__).parent.parent
STRENGTH = (10.0, 0.0)
CONFIG: dict[str, Any] = {
    "name": "next-month",
    "views": [{"view": "held_out_plates"}, {"view": "held_out_batches", "folds": 4}],
    "strengths": {"adversarial_weight": [STRENGTH[0]], "margin": [STRENGTH[1]]},
    "seeds": 1,
    "abra": {"steps": 100},
    "metrics": ["batch_probe_linear", "perturbation_accuracy"],
}
Change = Callable[[pd.DataFrame, list[str]], pd.DataFrame]


def as_it_is(table: pd.DataFrame, features: list[str]) -> pd.DataFrame:  # noqa: ARG001
    """Nothing is wrong with it."""
    return table


def scaled(table: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    """Every feature times three: another exposure, or another unit."""
    return table.assign(**{name: table[name] * 3 for name in features})


def exchanged(table: pd.DataFrame, features: list[str], *, channels: tuple[str, str], whole: bool) -> pd.DataFrame:
    """The features of two channels under each other's names; `whole`: with their correlations with other channels."""
    other = dict(zip(channels, channels[::-1], strict=True))
    moved = {name: "_".join(other.get(word, word) for word in name.split("_")) for name in features}
    moves = {name: new for name, new in moved.items() if new in moved and (whole or not name.startswith("corr_"))}
    return table.assign(**{new: table[name] for name, new in moves.items()})


CHANNELS = ("AGP", "DNA", "ER", "Mito", "RNA")
CHANGES: dict[str, Change] = {"as it is": as_it_is, "times three": scaled} | {
    f"{one} and {other} exchanged{', correlations too' if whole else ''}": partial(
        exchanged, channels=(one, other), whole=whole
    )
    for whole in (False, True)
    for one, other in combinations(CHANNELS, 2)
}


def of_batch(table: pd.DataFrame, batch: str, columns: dict[str, str | None], folder: Path) -> dict[str, Any]:
    """Verdicts on one batch by a model that never saw it."""
    aside = table["Metadata_Batch"] == batch
    screen = folder / "screen.parquet"
    table[~aside].reset_index(drop=True).to_parquet(screen)
    config = build_config(
        {**CONFIG, "folder": str(folder / "sweep"), "screen": {"path": str(screen), "columns": columns}}, "next_month"
    )
    made = prepare(config)
    made.store.create(sweep_id=made.sweep_id, description=sweep_description(made, []), screen=made.screen)
    kept = sweeper.keep(made.store.folder, strength=STRENGTH)
    found: dict[str, Any] = {"accuracy of training batches": kept.facts.drift["accuracy"]}
    for name, change in CHANGES.items():
        path = folder / "new.parquet"
        change(table[aside].reset_index(drop=True), list(kept.facts.features)).to_parquet(path)
        (unit,) = (applied := sweeper.apply(kept.folder, path)).units
        found[name] = {
            "outside": list(unit.outside),
            "distances": {item.kind: [round(item.value, 3), round(item.limit or 0.0, 3)] for item in unit.distances},
            "accuracy": None if unit.accuracy is None else round(unit.accuracy, 3),
            "sharp drop": applied.sharp_drop(unit),
        }
    return found


def main() -> None:
    """Every batch of the table."""
    spec = load_config(HERE / "configs/jump_source3.yaml").screen
    assert spec is not None  # noqa: S101
    table = pd.read_csv(spec.path)
    batches: dict[str, Any] = {}
    for batch in sorted(table["Metadata_Batch"].unique()):
        with tempfile.TemporaryDirectory() as folder:
            batches[batch] = of_batch(table, batch, dict(spec.columns), Path(folder))
        said = {name: "outside" if batches[batch][name]["outside"] else "inside" for name in CHANGES}
        print(batch, said, flush=True)
        outside = {name: sum(bool(found[name]["outside"]) for found in batches.values()) for name in CHANGES}
        result = {"versions": versions(), "strength": STRENGTH, "outside": outside, "batches": batches}
        (HERE / "benchmarks/next_month.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
