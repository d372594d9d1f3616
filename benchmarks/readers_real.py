"""Which reader tells the batch of real wells: raw, and after the corrections that need no training.

.venv/bin/python benchmarks/readers_real.py        (a minute a table; writes benchmarks/readers_real.json)

Tables that lie beside the project, where they are there: the features of configs/jump_source3.yaml (9 batches; whole
plates held out) and the wells of BBBC021 (10 weeks; whole perturbations held out). Balanced accuracy of every reader on
all wells, the chance level and 95 % limit of the strongest, and its value as `batch_reader`. BBBC021 is read twice: as
it is, where treatments lie in one week each and no permutation moves them, so that its value is of controls alone; and
on the controls by themselves, whole plates held out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.config.sweep_config import load_config
from sweeper.installed import versions
from sweeper.metrics.controls import UnavailableControlError, control_embedding
from sweeper.metrics.panel import table_evaluation
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.technical.batch_reader import batch_reader
from sweeper.planning.prepared import load_screen
from trainers.errors import InputError
from trainers.screens.readers import ScreenSpec, read_screen
from trainers.screens.table import Screen

HERE = Path(__file__).parent.parent
JUMP = HERE / "configs/jump_source3.yaml"
BBBC021 = HERE / "../shared/data/bbbc021/bbbc021_wells.csv.gz"
CORRECTIONS = ("raw", "batch_standardised", "plate_control_centred", "sphering")


def screens() -> dict[str, tuple[Screen, PanelOptions]]:
    """The tables that are there, by name, with the options they are read with."""
    found: dict[str, tuple[Screen, PanelOptions]] = {}
    config = load_config(JUMP)
    try:
        found["JUMP source 3"] = (load_screen(config), config.panel)
        screen = read_screen(ScreenSpec(path=BBBC021, negative_controls=("DMSO",)), Path()).screen
    except InputError as absent:
        print(absent)
        return found
    found["BBBC021"] = (screen, PanelOptions())
    return found


def read(screen: Screen, options: PanelOptions, name: str, *, only_controls: bool = False) -> dict[str, Any]:
    """What the readers say of one correction of the screen."""
    every = np.arange(len(screen))
    try:
        rows = control_embedding(name, screen.features, screen.wells, train_rows=every, seed=0)
    except UnavailableControlError as absent:
        return {"reason": str(absent)}
    keep = np.asarray(screen.wells["control_type"] == "negative") if only_controls else np.ones(len(rows), dtype=bool)
    wells = screen.wells[keep].reset_index(drop=True)
    measured = batch_reader(table_evaluation(rows[keep], wells, options=options))
    if measured.value is None or measured.raw is None or measured.chance is None or measured.limit is None:
        return {"reason": measured.reason}
    return {
        **{reader: round(raw, 4) for reader, raw in measured.parts.items()},
        "strongest": next(reader for reader, raw in measured.parts.items() if raw == measured.raw),
        "chance": round(measured.chance, 4),
        "limit": round(measured.limit, 4),
        "value": round(measured.value, 4),
    }


def main() -> None:
    """Read and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for title, (screen, panel) in screens().items():
        found[title] = {"batches": int(screen.wells["batch"].nunique())}
        for name in CORRECTIONS:
            found[title][name] = read(screen, panel, name)
            print(title, name, found[title][name], flush=True)
        if (screen.wells["control_type"] == "negative").any():
            by_plate = panel.model_copy(update={"probe_groups": "plate"})
            for name in CORRECTIONS:
                key = f"{name}, controls alone"
                found[title][key] = read(screen, by_plate, name, only_controls=True)
                print(title, key, found[title][key], flush=True)
    result = {"command": ".venv/bin/python benchmarks/readers_real.py", "versions": versions(), "tables": found}
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
