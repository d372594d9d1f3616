"""The comparison of corrections on tables that lie beside the project, and on the demo's simulated screen.

    .venv/bin/python benchmarks/methods_compared.py [demo jump bbbc021]      (writes benchmarks/methods_compared.json)

As `sweeper run TABLE --methods harmony,combat,sphering,center` does it, but for: MLflow off, no sham arm, and no more
metrics than those that decide. Sphering is left out where a table has no negative controls. Each sweep runs on Ray as
any other; of what a table leaves open the screen decides (docs/how-to/methods.md). The table in the documentation is
written from the result file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from dashboards.comparison_report import comparison_rows
from sweeper.config.sweep_config import load_config
from sweeper.decision.methods.comparison_text import headline
from sweeper.library.comparing import StoredMethods, run_methods
from sweeper.metrics.catalogue import IN_SWEEP
from sweeper.metrics.registry import decisive
from sweeper.planning.description import versions
from trainers.errors import InputError
from trainers.screens.simulated_screen import simulate, write_simulation

HERE = Path(__file__).parent.parent
DATA = HERE / "../shared/data"
METHODS = ("harmony", "combat", "sphering", "center")


def of_jump(folder: Path) -> StoredMethods:
    """The table of configs/jump_source3.yaml: 9 batches, 8 compounds, no negative controls."""
    path = DATA / "jump_source3_poscon/jump_source3_poscon_image_features.csv.gz"
    further = ["screen.columns={perturbation: Metadata_Compound}", "panel.probe_groups=plate"]
    return _compared(path, folder, tuple(name for name in METHODS if name != "sphering"), further)


def of_bbbc021(folder: Path) -> StoredMethods:
    """632 wells, 10 weeks; every compound-concentration lies in one week, so that biology is that of the mechanisms.

    Replicates in other weeks do not exist, and readers of the batch have too few wells in some draws of the plates.
    """
    path = DATA / "bbbc021/bbbc021_wells.csv.gz"
    metrics = "metrics=[cilisi, batch_mixing_bras, batch_variance, target_consistency]"
    decided = "decision.primary_biological=target_consistency"
    return _compared(path, folder, METHODS, ["screen.negative_controls=DMSO", metrics, decided])


def of_demo(folder: Path) -> StoredMethods:
    """The simulated screen of `sweeper demo`."""
    config = load_config(HERE / "sweeper/demo.yaml")
    assert config.simulate is not None  # noqa: S101 - the demo is simulated
    write_simulation(simulate(config.simulate), folder / "table")
    return _compared(folder / "table/screen.parquet", folder, METHODS, [])


SCREENS = {"demo": of_demo, "jump": of_jump, "bbbc021": of_bbbc021}


def _compared(path: Path, folder: Path, methods: tuple[str, ...], further: list[str]) -> StoredMethods:
    panel = ", ".join(name for name in IN_SWEEP if name in decisive(IN_SWEEP))
    fixed = [f"metrics=[{panel}]", "tracking.enabled=false", "sham.enabled=false"]
    return run_methods(path, methods, folder=folder / "out", overrides=[*fixed, *further])


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("screens", nargs="*", choices=[[], *SCREENS], default=[])
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    for name in options.screens or SCREENS:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="methods-") as folder:
            try:
                done = SCREENS[name](Path(folder))
            except InputError as absent:
                print(f"{name}: {absent}")
                continue
            found[name] = {
                "versions": versions(),
                "headline": headline(done.comparison),
                "rows": comparison_rows(done.comparison),
                "comparison": done.comparison.to_json(),
                "cells": len(done.results["cell_id"].unique()),
                "seconds": round(time.perf_counter() - began, 1),
            }
        print(name, found[name]["headline"], f"{found[name]['seconds']} s", flush=True)
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
