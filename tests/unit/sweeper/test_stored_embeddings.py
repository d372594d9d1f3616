"""Embeddings read back from a store, at the strengths that a report compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweeper.findings.stored_embeddings import StoredEmbeddings
from sweeper.store.store import Store
from trainers.screens.table import make_screen

COUNT = 24
ROWS = np.array([20, 3, 11, 7, 2])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    wells = pd.DataFrame(
        {
            "batch": [f"B{i % 2}" for i in range(COUNT)],
            "plate": [f"P{i % 2}" for i in range(COUNT)],
            "well": [f"A{i + 1:02d}" for i in range(COUNT)],
            "perturbation": [f"c{i % 5}" for i in range(COUNT)],
            "control_type": ["treatment"] * COUNT,
        }
    )
    features = np.arange(2 * COUNT, dtype=np.float32).reshape(COUNT, 2)
    screen = make_screen(features, ("a", "b"), wells)
    made = Store(tmp_path / "sweep")
    made.create(sweep_id="abc", description={"config": {}}, screen=screen)
    return made


def add(store: Store, cell_id: str, rows: np.ndarray | None, *, shift: float = 0.0) -> None:
    vectors = None if rows is None else np.stack([rows + shift, -rows], axis=1).astype(np.float32)
    record = {"cell_id": cell_id, "trainer": "abra", "status": "ok", "metrics": []}
    store.write_cell(record, curve=[], rows=rows, embeddings=vectors)


def results(*cells: tuple[str, str, float, float, int]) -> pd.DataFrame:
    named = ["cell_id", "trainer", "margin", "adversarial_weight", "seed"]
    table = pd.DataFrame(cells, columns=named)
    return table.assign(view="held_out_plates", split="held_out_plates/0", status="ok", metric="activity_map")


CELLS = results(
    ("raw0", "control:raw", np.nan, np.nan, 0),
    ("zero0", "abra", 0.3, 0.0, 0),
    ("one0", "abra", 0.3, 1.0, 0),
    ("sham0", "sham:abra", 0.3, 1.0, 0),
    ("raw1", "control:raw", np.nan, np.nan, 1),
    ("zero1", "abra", 0.3, 0.0, 1),
    ("one1", "abra", 0.3, 1.0, 1),
)


def test_the_same_wells_at_every_strength_in_one_order(store: Store) -> None:
    for cell_id, rows, shift in (("raw0", ROWS, 0.0), ("zero0", ROWS[::-1], 100.0), ("one0", ROWS[1:], 200.0)):
        add(store, cell_id, rows, shift=shift)
    run = StoredEmbeddings(store, CELLS, "abra").run(view="held_out_plates", margin=0.3, weights=[None, 0.0, 1.0])
    assert run is not None
    assert (run.seed, run.split, run.weights) == (0, "held_out_plates/0", (None, 0.0, 1.0))
    shared = sorted(ROWS[1:])
    assert run.wells["well"].tolist() == [f"A{row + 1:02d}" for row in shared]
    for vectors, shift in zip(run.vectors, (0, 100, 200), strict=True):
        assert vectors[:, 0].tolist() == [row + shift for row in shared]


def test_a_run_with_every_strength_goes_before_one_that_lacks_some(store: Store) -> None:
    for cell_id in ("raw0", "zero0", "raw1", "zero1", "one1"):
        add(store, cell_id, ROWS)
    found = StoredEmbeddings(store, CELLS, "abra")
    run = found.run(view="held_out_plates", margin=0.3, weights=[None, 0.0, 1.0])
    assert run is not None
    assert run.seed == 1
    (store.cells_folder / "one1" / "embeddings.npz").write_bytes(b"PK\x03\x04 cut off")
    run = found.run(view="held_out_plates", margin=0.3, weights=[None, 0.0, 1.0])
    assert run is not None
    assert (run.seed, run.weights) == (0, (None, 0.0))


def test_nothing_where_no_run_has_two_embeddings(store: Store) -> None:
    add(store, "zero0", ROWS)
    add(store, "one0", None)
    found = StoredEmbeddings(store, CELLS, "abra")
    assert found.run(view="held_out_plates", margin=0.3, weights=[None, 0.0, 1.0]) is None
    assert found.run(view="held_out_batches", margin=0.3, weights=[None, 0.0]) is None


def test_rows_beyond_the_screen_are_no_picture(store: Store) -> None:
    add(store, "zero0", ROWS + COUNT)
    add(store, "one0", ROWS + COUNT)
    assert StoredEmbeddings(store, CELLS, "abra").run(view="held_out_plates", margin=0.3, weights=[0.0, 1.0]) is None
