"""A small sweep from a file, some of its cells finished, and a batch that it never saw. No Ray."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.config.sweep_config import build_config
from sweeper.planning.cells import Cell, PackPlan, make_cells
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.worker import PackRun, pack_content
from sweeper.store.store import Store
from trainers.screens.readers import screen_frame
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

WEIGHT, MARGIN, SEEDS = 3.0, 0.2, (0, 1)
CHANNELS = ("AGP", "DNA", "RNA")
SPEC = SimulationSpec(
    batches=7,
    plates_per_batch=2,
    wells_per_plate=96,
    features=24,
    perturbations=8,
    targets=4,
    controls_per_plate=16,
    latent=4,
    inactive=0.0,
    phenotype=2.0,
    seed=3,
)
CONFIG: dict[str, Any] = {
    "name": "small",
    "views": [{"view": "held_out_plates", "fraction": 0.5}, {"view": "held_out_batches", "folds": 2}],
    "strengths": {"adversarial_weight": [WEIGHT], "margin": [MARGIN]},
    "seeds": list(SEEDS),
    "abra": {"steps": 60, "hidden_widths": [16], "embedding_dim": 8, "groups": 3},
    "metrics": ["batch_probe_linear", "perturbation_accuracy"],
    "decision": {"draws": 1000},
}


@dataclass(frozen=True)
class Swept:
    """A store with finished cells, the table that it was read from, and a table of one further batch."""

    prepared: Prepared
    cells: tuple[Cell, ...]
    table: Path
    new: Path

    @property
    def store(self) -> Store:
        """Of the sweep."""
        return self.prepared.store

    @property
    def features(self) -> list[str]:
        """Names, in the model's order."""
        return list(self.prepared.screen.feature_names)

    def new_table(self) -> pd.DataFrame:
        """The further batch."""
        return pd.read_parquet(self.new)


def written_screen(folder: Path) -> tuple[Path, Path]:
    """A simulated screen of six batches, and a seventh; with metadata of a file's own, in an order of its own.

    Features are named by three channels of eight.
    """
    screen = simulate(SPEC).screen
    names = [f"{channel}_{number}" for channel in CHANNELS for number in range(8)]
    frame = screen_frame(screen).rename(columns=dict(zip(screen.feature_names, names, strict=True)))
    frame.insert(0, "Metadata_Note", [f"note {row}" for row in range(len(frame))])
    frame.insert(3, "Metadata_Dose", np.linspace(0.0, 1.0, len(frame)))
    last = frame["Metadata_Batch"] == sorted(frame["Metadata_Batch"].unique())[-1]
    table, new = folder / "screen.parquet", folder / "new.parquet"
    frame[~last].reset_index(drop=True).to_parquet(table)
    frame[last].reset_index(drop=True).to_parquet(new)
    return table, new


def made(folder: Path, name: str, table: Path, **changes: Any) -> Prepared:
    """A store without any cell."""
    data = {**CONFIG, "folder": str(folder / name), "screen": {"path": str(table)}, **changes}
    found = prepare(build_config(data, "test"))
    found.store.create(sweep_id=found.sweep_id, description=sweep_description(found, []), screen=found.screen)
    return found


def finish(found: Prepared, cells: tuple[Cell, ...]) -> None:
    """Train and score cells of one family."""
    plan = PackPlan(pack_id="pack", cells=cells)
    work = PackRun(found.store.write_pack("pack", pack_content(plan, found.config, replace=frozenset())))
    while work.advance():
        pass
    list(work.finish())


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Both views, two seeds, one strength."""
    folder = tmp_path_factory.mktemp("kept")
    table, new = written_screen(folder)
    found = made(folder, "small", table)
    cells: list[Cell] = []
    for view in ("held_out_plates", "held_out_batches"):
        some = make_cells(found.sweep_id, "abra", [(WEIGHT, MARGIN)], SEEDS, {view: 1})
        finish(found, some)
        cells += some
    return Swept(found, tuple(cells), table, new)


@pytest.fixture(scope="session")
def model(swept: Swept) -> Path:
    """The strength, kept."""
    import sweeper

    return sweeper.keep(swept.store.folder, strength=(WEIGHT, MARGIN)).folder
