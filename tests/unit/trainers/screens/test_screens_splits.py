from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trainers.errors import InputError
from trainers.screens.normalise import Normalisation, normalise
from trainers.screens.readers import read_screen
from trainers.screens.screen_spec import ScreenSpec
from trainers.screens.splits import Split, fold_count, make_split
from trainers.screens.view_spec import ViewSpec

Wells = Callable[..., pd.DataFrame]
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
sizes = {"batches": st.integers(3, 6), "plates": st.integers(3, 5), "perturbations": st.integers(4, 8)}


def check(split: Split, table: pd.DataFrame) -> None:
    """What must hold of every split."""
    parts = [split.train, split.validation, split.test]
    rows = np.concatenate(parts)
    assert len(set(rows.tolist())) == len(rows)
    assert all((np.diff(part) > 0).all() and part.dtype == np.int64 for part in parts)
    assert len(split.train)
    assert len(split.test)
    hidden = set(split.held_out_perturbations)
    assert split.held_out_perturbations == tuple(sorted(hidden))
    assert not hidden & set(table["perturbation"].iloc[np.concatenate(parts[:2])])
    assert "DMSO" not in hidden
    outside = set(range(len(table))) - set(rows.tolist())
    assert set(table["perturbation"].iloc[sorted(outside)]) <= hidden


@pytest.mark.slow
@few
@given(**sizes, seed=st.integers(0, 99), fraction=st.floats(0.1, 0.45), share=st.sampled_from([0.0, 0.2, 0.5]))
def test_held_out_plates_leave_and_take_plates_of_every_batch(
    wells: Wells, batches: int, plates: int, perturbations: int, seed: int, fraction: float, share: float
) -> None:
    table = wells(batches, plates, perturbations)
    spec = ViewSpec(view="held_out_plates", fraction=fraction, validation_fraction=0.3)
    assert fold_count(spec, table) == 1
    split = make_split(table, spec, fold=0, seed=seed, held_out_perturbations=share)
    check(split, table)
    assert split.name == "held_out_plates/0"
    for _, rows in table.groupby("batch"):
        taken = [set(rows.index) & set(part.tolist()) for part in (split.train, split.validation, split.test)]
        names = [set(table["plate"].iloc[sorted(part)]) for part in taken]
        assert all(names)
        assert not names[0] & names[1]
        assert not names[2] & (names[0] | names[1])
        assert len(names[2]) == min(max(round(fraction * plates), 1), plates - 1)
        assert len(taken[2]) == len(names[2]) * len(rows) // plates  # whole plates, held-out perturbations included


def test_one_plate_left_cannot_also_give_validation(wells: Wells) -> None:
    spec = ViewSpec(view="held_out_plates", fraction=0.6, validation_fraction=0.2)
    with pytest.raises(
        InputError, match=r"batch 'b0' has a single plate .* validation_fraction 0\.2 needs 2; set it to 0"
    ):
        make_split(wells(plates=2), spec, fold=0, seed=0)


@few
@given(**sizes, seed=st.integers(0, 99), share=st.sampled_from([0.0, 0.25, 0.5]))
def test_the_rotation_holds_out_each_batch_exactly_once(
    wells: Wells, batches: int, plates: int, perturbations: int, seed: int, share: float
) -> None:
    table = wells(batches, plates, perturbations)
    spec = ViewSpec(view="held_out_batches", folds=3, validation_fraction=0.3)
    held_out: list[str] = []
    hidden = set()
    for fold in range(fold_count(spec, table)):
        split = make_split(table, spec, fold=fold, seed=seed, held_out_perturbations=share)
        check(split, table)
        tested = set(table["batch"].iloc[split.test])
        assert not tested & set(table["batch"].iloc[np.concatenate([split.train, split.validation])])
        assert not set(table["plate"].iloc[split.validation]) & set(table["plate"].iloc[split.train])
        assert set(table["batch"].iloc[split.validation]) == set(table["batch"]) - tested
        assert split.test.tolist() == table.index[table["batch"].isin(tested)].tolist()
        held_out += sorted(tested)
        hidden.add(split.held_out_perturbations)
    assert sorted(held_out) == sorted(table["batch"].unique())
    assert len(hidden) == 1


@pytest.mark.parametrize(
    "view", [{"view": "held_out_plates"}, {"view": "held_out_plates", "column": "well"}, {"view": "held_out_batches"}]
)
def test_the_seed_alone_draws(wells: Wells, view: dict[str, str]) -> None:
    table = wells(batches=8, plates=6, positions=5)
    spec = ViewSpec.model_validate(view | {"validation_fraction": 0.2})
    first, again, other = (make_split(table, spec, fold=0, seed=seed, held_out_perturbations=0.3) for seed in (1, 1, 2))
    for part in ("train", "validation", "test"):
        assert getattr(first, part).tolist() == getattr(again, part).tolist()
    assert first.held_out_perturbations == again.held_out_perturbations
    assert first.test.tolist() != other.test.tolist()
    draws = {
        make_split(table, spec, fold=0, seed=seed, held_out_perturbations=0.3).held_out_perturbations
        for seed in range(9)
    }
    assert len(draws) > 3


def test_held_out_perturbations_leave_the_other_draws_as_they_were(wells: Wells) -> None:
    table, spec = wells(), ViewSpec(view="held_out_plates")
    without = make_split(table, spec, fold=0, seed=3)
    with_them = make_split(table, spec, fold=0, seed=3, held_out_perturbations=0.3)
    assert without.test.tolist() == with_them.test.tolist()
    assert set(with_them.train.tolist()) < set(without.train.tolist())
    assert without.held_out_perturbations == ()


def test_the_split_does_not_depend_on_the_order_of_rows(wells: Wells) -> None:
    table, spec = wells(), ViewSpec(view="held_out_batches", folds=2, validation_fraction=0.3)
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = table.iloc[order].reset_index(drop=True)
    first = make_split(table, spec, fold=1, seed=4, held_out_perturbations=0.3)
    second = make_split(shuffled, spec, fold=1, seed=4, held_out_perturbations=0.3)
    for part in ("train", "validation", "test"):
        assert sorted(order[getattr(second, part)].tolist()) == getattr(first, part).tolist()


@few
@given(seed=st.integers(0, 99), positions=st.integers(3, 6))
def test_held_out_positions_are_the_same_everywhere_and_never_learnt_from(
    wells: Wells, seed: int, positions: int
) -> None:
    table = wells(positions=positions)
    spec = ViewSpec(view="held_out_plates", column="well", fraction=0.2, validation_fraction=0.2)
    split = make_split(table, spec, fold=0, seed=seed)
    check(split, table)
    places = [set(table["well"].iloc[part]) for part in (split.train, split.validation, split.test)]
    assert not places[2] & (places[0] | places[1])
    assert not places[0] & places[1]
    assert len(places[2]) == round(0.2 * table["well"].nunique())
    assert len(split.test) == len(places[2]) * table["plate"].nunique()
    assert set(table["perturbation"].iloc[split.train]) >= {f"x{number}" for number in range(6)}


def test_positions_that_cannot_be_spared(wells: Wells) -> None:
    table = wells(positions=1)
    spec = ViewSpec(view="held_out_plates", column="well", fraction=0.4)
    with pytest.raises(
        InputError, match=r"asks for 3 of 7 well positions, but without losing a perturbation only 1 can"
    ):
        make_split(table, spec, fold=0, seed=0)
    split = make_split(table, spec.model_copy(update={"fraction": 0.1}), fold=0, seed=0)
    assert set(table["perturbation"].iloc[split.test]) == {"DMSO"}


def test_a_target_keeps_a_perturbation_in_training_if_it_can(wells: Wells) -> None:
    table = wells(perturbations=8)  # 4 targets of 2
    spec = ViewSpec(view="held_out_plates")
    for seed in range(20):
        half = make_split(table, spec, fold=0, seed=seed, held_out_perturbations=0.5)
        assert len(half.held_out_perturbations) == 4
        assert sorted({int(name[1:]) // 2 for name in half.held_out_perturbations}) == [0, 1, 2, 3]
    most = make_split(table, spec, fold=0, seed=0, held_out_perturbations=0.7)
    assert len(most.held_out_perturbations) == 6


def test_other_columns_can_be_held_out(wells: Wells) -> None:
    table = wells().assign(Metadata_Source=lambda frame: "s" + frame["batch"].str[1])
    spec = ViewSpec(view="held_out_batches", column="Metadata_Source", held_out=("s1", "s3"))
    assert fold_count(spec, table) == 1
    split = make_split(table, spec, fold=0, seed=0)
    assert set(table["batch"].iloc[split.test]) == {"b1", "b3"}
    cells = ViewSpec(view="held_out_batches", column="cell_type", folds=2)
    assert set(table["cell_type"].iloc[make_split(table, cells, fold=0, seed=0).test]) < {"c0", "c1"}


def test_a_batch_that_lies_partly_in_the_test_is_not_learnt_from(wells: Wells) -> None:
    table = wells()
    table.loc[table["plate"] == "b0p0", "cell_type"] = "c1"  # b0 is c0 otherwise
    split = make_split(table, ViewSpec(view="held_out_batches", column="cell_type", held_out=("c1",)), fold=0, seed=0)
    assert set(table["batch"].iloc[split.train]) == {"b2"}
    assert set(table["batch"].iloc[split.test]) == {"b0", "b1", "b3"}
    crossed = table.assign(cell_type=np.where(table["plate"].str.endswith("p0"), "c0", "c1"))
    with pytest.raises(InputError, match="every batch holds rows of the held-out cell_type"):
        make_split(crossed, ViewSpec(view="held_out_batches", column="cell_type", folds=2), fold=0, seed=0)


@pytest.mark.parametrize(
    ("view", "fold", "share", "message"),
    [
        (
            {"view": "held_out_batches", "held_out": ("B3",)},
            0,
            0.0,
            "held_out 'B3' is not in column 'batch'; nearest: 'b3'",
        ),
        (
            {"view": "held_out_batches", "held_out": ("b0", "b1", "b2", "b3")},
            0,
            0.0,
            "names every value of column 'batch'",
        ),
        ({"view": "held_out_batches", "folds": 5}, 0, 0.0, "5 folds of 4 values of column 'batch'"),
        ({"view": "held_out_batches", "column": "Metadata_Lab"}, 0, 0.0, "column 'Metadata_Lab' does not exist"),
        (
            {"view": "held_out_batches", "folds": 2},
            2,
            0.0,
            r"fold 2 does not exist, view held_out_batches has folds 0\.\.1",
        ),
        ({"view": "held_out_plates"}, 1, 0.0, r"has folds 0\.\.0"),
        ({"view": "held_out_plates"}, 0, 1.0, r"held_out_perturbations is 1\.0, expected a share in \[0, 1\)"),
        ({"view": "held_out_plates"}, 0, -0.1, r"held_out_perturbations is -0\.1"),
        ({"view": "held_out_plates"}, 0, 0.8, r"takes 5 of 6 perturbations .* at least 2 must be left"),
    ],
)
def test_splits_that_cannot_be(wells: Wells, view: dict[str, object], fold: int, share: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_split(wells(), ViewSpec.model_validate(view), fold=fold, seed=0, held_out_perturbations=share)


def test_tables_that_cannot_be_split(wells: Wells) -> None:
    plates, batches = ViewSpec(view="held_out_plates"), ViewSpec(view="held_out_batches")
    with pytest.raises(
        InputError, match=r"batch 'b0' has a single plate .* hold out wells \(column: well\) or batches"
    ):
        make_split(wells(plates=1), plates, fold=0, seed=0)
    with pytest.raises(InputError, match="single value 'b0'"):
        make_split(wells(batches=1), batches, fold=0, seed=0)
    gaps = wells()
    gaps.loc[5, "cell_type"] = pd.NA
    with pytest.raises(InputError, match=r"column 'cell_type' is empty in 1 rows \(first: row 5\)"):
        fold_count(ViewSpec(view="held_out_batches", column="cell_type", folds=2), gaps)
    with pytest.raises(InputError, match="leaves 1 perturbations to learn"):
        make_split(wells(perturbations=1), plates, fold=0, seed=0)
    alone = wells(positions=4)
    alone.loc[alone["batch"] == "b1", "well"] = "H12"  # no position to hold out inside b1
    with pytest.raises(InputError, match="takes all or none of batch 'b1'"):
        make_split(alone, ViewSpec(view="held_out_plates", column="well", fraction=0.2), fold=0, seed=0)


def test_a_view_fills_in_what_it_holds_out() -> None:
    assert ViewSpec(view="held_out_plates").column == "plate"
    assert ViewSpec(view="held_out_batches").column == "batch"
    dumped = ViewSpec(view="held_out_batches", held_out=("b1",)).model_dump()
    assert ViewSpec.model_validate(dumped).held_out == ("b1",)


@pytest.mark.parametrize(
    "values",
    [
        {"view": "held_out_lab"},
        {"view": "held_out_plates", "column": "batch"},
        {"view": "held_out_plates", "held_out": ("b1",)},
        {"view": "held_out_batches", "column": "plate"},
        {"view": "held_out_batches", "column": "perturbation"},
        {"view": "held_out_batches", "folds": 1},
        {"view": "held_out_plates", "fraction": 0.0},
        {"view": "held_out_plates", "fraction": 1.0},
        {"view": "held_out_plates", "validation_fraction": 1.0},
        {"view": "held_out_plates", "share": 0.5},
    ],
)
def test_views_that_say_nothing_sensible(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ViewSpec.model_validate(values)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "expected"), [("none", 0.669), ("batch", 0.725)])
def test_leaving_out_each_real_batch_gives_the_published_accuracy(
    jump: Path, mode: Normalisation, expected: float
) -> None:
    """The reference numbers that come with the JUMP table: 50 principal components, logistic regression."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    screen = read_screen(ScreenSpec(path=jump), Path()).screen
    features = normalise(screen.features, screen.wells, mode)
    labels = screen.wells["perturbation"].to_numpy()
    spec = ViewSpec(view="held_out_batches", folds=9)
    hits = 0
    for fold in range(9):
        split = make_split(screen.wells, spec, fold=fold, seed=0)
        check(split, screen.wells)
        model = make_pipeline(StandardScaler(), PCA(50, random_state=0), LogisticRegression(max_iter=2000))
        model.fit(features[split.train], labels[split.train])
        hits += int((model.predict(features[split.test]) == labels[split.test]).sum())
    assert hits / len(screen) == pytest.approx(expected, abs=0.005)


def test_real_plates_and_positions_can_be_held_out(jump: Path) -> None:
    wells = read_screen(ScreenSpec(path=jump), Path()).screen.wells
    plates = make_split(wells, ViewSpec(view="held_out_plates", validation_fraction=0.2), fold=0, seed=0)
    check(plates, wells)
    assert wells.iloc[plates.test].groupby("batch")["plate"].nunique().min() >= 1
    positions = make_split(wells, ViewSpec(view="held_out_plates", column="well", fraction=0.25), fold=0, seed=0)
    check(positions, wells)
    assert wells["well"].iloc[positions.test].nunique() == 8
    assert wells["perturbation"].iloc[positions.train].nunique() == 8
