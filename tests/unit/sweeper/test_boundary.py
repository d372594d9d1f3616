"""Which boundary a view crosses, counted on small screens whose answer is known."""

from __future__ import annotations

import pandas as pd

from sweeper.findings.crossed_boundary import crossed_boundary
from trainers.screens.splits import Split, fold_count, make_split
from trainers.screens.table import make_wells
from trainers.screens.view_spec import ViewSpec


def screen(*, sites: int = 1) -> pd.DataFrame:
    """6 batches of 2 cell types from 3 laboratories × 2 plates × 4 positions × sites."""
    rows = [
        {
            "batch": f"b{batch}",
            "plate": f"b{batch}p{plate}",
            "well": well,
            "site": site,
            "perturbation": f"g{number}",
            "cell_type": "HUVEC" if batch < 4 else "RPE",
            "Metadata_Source": f"lab{batch // 2}",
            "split": ("train" if site == 1 else "id_test") if batch < 3 else "test",
        }
        for batch in range(6)
        for plate in range(2)
        for number, well in enumerate(("A01", "A02", "B01", "B02"))
        for site in range(1, sites + 1)
    ]
    return make_wells(pd.DataFrame(rows))


def splits(wells: pd.DataFrame, **spec: object) -> list[Split]:
    view = ViewSpec.model_validate(spec)
    return [make_split(wells, view, fold=fold, seed=0) for fold in range(fold_count(view, wells))]


def test_plates_are_new_and_nothing_wider() -> None:
    wells = screen()
    found = crossed_boundary(wells, splits(wells, view="held_out_plates", fraction=0.5))
    assert found["levels"] == {"cell_type": [0, 2], "batch": [0, 6], "plate": [6, 6], "well": [0, 4]}
    assert found["shared_wells"] == [0, 0]


def test_batches_cell_types_and_laboratories_over_the_folds() -> None:
    wells = screen()
    batches = crossed_boundary(
        wells, splits(wells, view="held_out_batches", held_out=["b3", "b5"]), further=("Metadata_Source",)
    )
    assert batches["levels"] == {
        "Metadata_Source": [0, 2],
        "cell_type": [0, 2],
        "batch": [2, 2],
        "plate": [4, 4],
        "well": [0, 4],
    }
    types = crossed_boundary(wells, splits(wells, view="held_out_cell_types"))
    assert types["levels"]["cell_type"] == [2, 2]
    assert types["levels"]["batch"] == [6, 6]
    laboratories = splits(wells, view="held_out_batches", column="Metadata_Source", folds=3)
    assert crossed_boundary(wells, laboratories, further=("Metadata_Source",))["levels"]["Metadata_Source"] == [3, 3]


def test_second_sites_of_training_wells_are_counted() -> None:
    wells = screen(sites=2)
    found = crossed_boundary(wells, splits(wells, view="official"))
    assert found["shared_wells"] == [24, 24]
    assert found["levels"]["batch"] == [3, 3]
    assert found["levels"]["cell_type"] == [1, 2]
