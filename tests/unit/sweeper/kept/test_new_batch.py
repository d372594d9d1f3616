"""A new batch through a kept model: the same encoder, and whether the batch lies inside what was tested."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sweeper
from sweeper.cli import main
from sweeper.errors import InputError
from sweeper.kept.applying import MARK
from sweeper.kept.distances import Structure, distances, limit, summarise
from sweeper.kept.exchanged import Exchange, exchanges, explaining_exchange, told_apart
from sweeper.kept.nearest_mean import ClassMeans
from sweeper.kept.reference import unit_distances
from tests.unit.sweeper.kept.conftest import MARGIN, WEIGHT, Swept, made


def written(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "table.parquet"
    frame.to_parquet(path)
    return path


def test_a_held_out_batch_comes_out_as_the_sweep_scored_it(swept: Swept, tmp_path: Path) -> None:
    """The encoder of a cell that never saw the batch, applied to that batch alone."""
    cell = next(cell for cell in swept.cells if cell.view == "held_out_batches")
    kept = sweeper.keep(swept.store.folder, cell=cell.cell_id)
    rows, stored = swept.store.embeddings(cell.cell_id)
    wells = swept.prepared.screen.wells
    batch = wells["batch"].iloc[rows[0]]
    own = np.flatnonzero(wells["batch"] == batch)
    assert np.isin(own, rows).all()
    table = pd.read_parquet(swept.table)
    applied = sweeper.apply(kept.folder, written(table.iloc[own].reset_index(drop=True), tmp_path))
    expected = stored[np.isin(rows, own)]
    np.testing.assert_allclose(applied.corrected.embedding, expected, atol=2**-11)


def test_a_batch_like_the_others_is_inside_and_every_row_comes_back(model: Path, swept: Swept, tmp_path: Path) -> None:
    given = swept.new_table()
    applied = sweeper.apply(model, swept.new, out=tmp_path / "out.parquet")
    (unit,) = applied.units
    assert not applied.outside, unit.outside
    assert (unit.compared, unit.controls) == ("controls", 32)
    assert {item.kind for item in unit.distances} == {"location", "scale", "structure", "embedding"}
    assert all(item.limit is not None and item.farthest is not None for item in unit.distances)
    assert applied.view == "held_out_batches"
    assert set(applied.reference) == set(swept.prepared.screen.wells["batch"])
    assert unit.accuracy is not None
    assert applied.sharp_drop(unit) is False
    out = pd.read_parquet(tmp_path / "out.parquet")
    metadata = [name for name in given if name not in swept.features]
    pd.testing.assert_frame_equal(out[metadata], given[metadata])
    assert not out[MARK].any()


def scaled(table: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    return table.assign(**{name: table[name] * 3 for name in features})


def swapped(table: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    """Two channels of eight features each, exchanged."""
    one, other = features[:8], features[8:16]
    return table.assign(**dict(zip(one + other, [table[name] for name in other + one], strict=True)))


@pytest.mark.parametrize("change", [scaled, swapped])
@pytest.mark.parametrize("normalise", ["none", "plate"])
def test_a_batch_that_is_not_like_the_others_is_outside_and_still_written(
    swept: Swept,
    model: Path,
    tmp_path: Path,
    change: Callable[[pd.DataFrame, list[str]], pd.DataFrame],
    normalise: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = model
    if normalise != "none":  # which takes a change of scale away again: features are compared as they came
        found = made(tmp_path, "n", swept.table, normalise=normalise)
        folder = sweeper.keep(found.store.folder, strength=(WEIGHT, MARGIN)).folder
    table = written(change(swept.new_table(), swept.features), tmp_path)
    assert main(["apply", str(folder), str(table)]) == 3
    told = capsys.readouterr().out
    assert "OUTSIDE what was tested" in told
    assert "features farthest:" in told
    out = pd.read_parquet(tmp_path / "table.corrected.parquet")
    assert len(out) == len(swept.new_table())
    assert out[MARK].all()
    assert np.isfinite(out.filter(like="emb_").to_numpy()).all()
    report = json.loads((tmp_path / "table.corrected.drift.json").read_text())
    assert report["outside"] is True
    said = [reason for reason in report["units"][0]["outside"] if reason.startswith("names exchanged")]
    assert len(said) == (change is swapped)
    assert all("its features of AGP and DNA fit" in reason for reason in said)


def test_only_the_unit_that_lies_outside_is_marked(swept: Swept, model: Path, tmp_path: Path) -> None:
    good = swept.new_table()
    bad = scaled(good, swept.features).assign(Metadata_Batch="other", Metadata_Plate="other-" + good["Metadata_Plate"])
    applied = sweeper.apply(model, written(pd.concat([bad, good], ignore_index=True), tmp_path))
    frame = applied.corrected.frame
    assert frame[MARK].tolist() == (frame["Metadata_Batch"] == "other").tolist()


def test_without_a_new_batch_view_nothing_was_tested(swept: Swept, tmp_path: Path) -> None:
    found = made(tmp_path, "v", swept.table, views=[{"view": "held_out_plates", "fraction": 0.5}])
    kept = sweeper.keep(found.store.folder, strength=(WEIGHT, MARGIN))
    applied = sweeper.apply(kept.folder, swept.new)
    assert applied.view is None
    assert applied.outside
    assert "no new-batch view" in applied.units[0].outside[0]


def test_a_sharp_drop_is_called_with_its_numbers(
    swept: Swept, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Perturbations that have changed places: the features are as they were, their names are not."""
    table = swept.new_table()
    names = sorted(set(table.loc[table["Metadata_pert_type"] != "negcon", "Metadata_Perturbation"]))
    table["Metadata_Perturbation"] = table["Metadata_Perturbation"].replace(
        dict(zip(names, names[1:] + names[:1], strict=True))
    )
    path = written(table, tmp_path)
    (unit,) = sweeper.apply(model, path).units
    assert unit.accuracy is not None
    main(["apply", str(model), str(path)])
    told = capsys.readouterr().out
    assert (
        "If accuracy drops sharply on a new batch, then adversarial representation learning is worth testing." in told
    )
    assert f"It drops here, {unit.accuracy:.2f} on" in told
    assert "sweep again with the view held_out_batches" in told


def test_what_is_trained_on_is_said_to_be_no_new_batch(swept: Swept, model: Path) -> None:
    applied = sweeper.apply(model, swept.table)
    assert all(any("it is not new" in note for note in unit.notes) for unit in applied.units)


def test_features_in_another_order_and_beside_others_are_the_same(swept: Swept, model: Path, tmp_path: Path) -> None:
    table = swept.new_table()
    other = table[[*reversed(table.columns)]].assign(F9999=1.5, Cells_AreaShape_Area=2.5)
    expected = sweeper.apply(model, swept.new).corrected
    found = sweeper.apply(model, written(other, tmp_path)).corrected
    np.testing.assert_array_equal(found.embedding, expected.embedding)
    assert found.frame["Metadata_row_digest"].tolist() == expected.frame["Metadata_row_digest"].tolist()


def test_a_constant_feature_is_still_a_feature(swept: Swept, model: Path, tmp_path: Path) -> None:
    table = swept.new_table().assign(**{swept.features[2]: 0.25})
    assert len(sweeper.apply(model, written(table, tmp_path)).corrected.embedding) == len(table)


def missing_value(table: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    table.loc[3, features[1]] = np.nan
    return table


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda table, features: table.rename(columns={features[0]: f"{features[0]}_new"}),
            r"lacks 1 of the 24 features \('[A-Z]+_\d'\); renamed\? '[A-Z]+_\d': nearest: '[A-Z]+_\d_new'",
        ),
        (lambda table, features: table.drop(columns=features[:3]), "lacks 3 of the 24 features"),
        (
            lambda table, features: table.rename(columns={name: f"emb_{at:02d}" for at, name in enumerate(features)}),
            "has none of the 24 features .* another feature set",
        ),
        (lambda table, _: table.iloc[:0], "the table has no rows"),
        (missing_value, "NaN or infinite .first: column '[A-Z]+_"),
        (lambda table, _: table.drop(columns="Metadata_Plate"), "plate"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line_and_writes_nothing(
    swept: Swept,
    model: Path,
    tmp_path: Path,
    change: Callable[[pd.DataFrame, list[str]], pd.DataFrame],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = written(change(swept.new_table(), swept.features), tmp_path)
    with pytest.raises(InputError, match=words):
        sweeper.apply(model, path)
    assert main(["apply", str(model), str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [item.name for item in tmp_path.iterdir()] == ["table.parquet"]


def test_missing_values_are_filled_where_that_is_asked_for(swept: Swept, model: Path, tmp_path: Path) -> None:
    path = written(missing_value(swept.new_table(), swept.features), tmp_path)
    assert len(sweeper.apply(model, path, missing="median").corrected.embedding) == len(swept.new_table())
    assert len(sweeper.apply(model, path, missing="drop_rows").corrected.embedding) == len(swept.new_table()) - 1


def test_an_output_that_cannot_be_written_costs_no_work(model: Path, swept: Swept, tmp_path: Path) -> None:
    for name, words in (("out.txt", "unknown format"), ("nowhere/out.csv", "does not exist")):
        with pytest.raises(InputError, match=words):
            sweeper.apply(model, swept.new, out=tmp_path / name)


def test_downstream_tools_take_what_is_written(model: Path, swept: Swept, tmp_path: Path) -> None:
    import anndata
    from copairs.map import average_precision

    sweeper.embed(swept.store.folder, strength=(WEIGHT, MARGIN), out=tmp_path / "out.parquet")
    sweeper.embed(swept.store.folder, strength=(WEIGHT, MARGIN), out=tmp_path / "out.h5ad")
    table = pd.read_parquet(tmp_path / "out.parquet")
    metadata, values = table.filter(regex="^Metadata_"), table.filter(like="emb_").to_numpy()
    found = average_precision(
        metadata,
        values,
        ["Metadata_Perturbation"],
        ["Metadata_Batch"],
        [],
        ["Metadata_Perturbation"],
        progress_bar=False,
    )
    assert found["average_precision"].between(0, 1).all()
    whole = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(whole.obsm["X_sweeper"], values)
    np.testing.assert_array_equal(whole.X, swept.prepared.screen.features)
    assert whole.obs["Metadata_Perturbation"].astype(str).tolist() == table["Metadata_Perturbation"].tolist()
    assert json.loads(whole.uns["sweeper"])["screen"] == swept.prepared.screen.fingerprint


@pytest.fixture
def aggregate() -> Iterator[Any]:
    """pycytominer's; importing it changes how pandas copies, for the whole process."""
    before = pd.options.mode.copy_on_write
    yield pytest.importorskip("pycytominer", reason="pycytominer is not installed (make test does)").aggregate
    pd.options.mode.copy_on_write = before


def test_pycytominer_aggregates_what_is_written(swept: Swept, model: Path, tmp_path: Path, aggregate: Any) -> None:
    sweeper.embed(swept.store.folder, strength=(WEIGHT, MARGIN), out=tmp_path / "out.parquet")
    table = pd.read_parquet(tmp_path / "out.parquet")
    columns = [name for name in table if name.startswith("emb_")]
    found = aggregate(table, strata=["Metadata_Batch", "Metadata_Perturbation"], features=columns, operation="mean")
    expected = table.groupby(["Metadata_Batch", "Metadata_Perturbation"])[columns].mean()
    np.testing.assert_allclose(found[columns], expected, rtol=1e-5)


def draws(rng: np.random.Generator, units: int, rows: int = 60, features: int = 20) -> np.ndarray:
    shift = rng.normal(size=(units, 1, features)) * 0.5
    scale = np.exp(rng.normal(size=(units, 1, features)) * 0.1)
    return rng.normal(size=(units, rows, features)) * scale + shift


def test_limits_hold_new_units_of_the_same_kind() -> None:
    """Of many further units like the training units few lie outside; scaled or with features exchanged, they do."""
    rng = np.random.default_rng(0)
    tries, kinds = 40, ("location", "scale", "structure")
    outside = dict.fromkeys(kinds, 0)
    for _ in range(tries):
        mixing = rng.normal(size=(20, 20))
        known = draws(rng, 9) @ mixing
        rows, units = known[:8].reshape(-1, 20), np.repeat(np.arange(8).astype(str), 60)
        summary = summarise(rows, units)
        training = unit_distances(summary, rows, units)
        top = {kind: limit([item[kind] for item in training]) or 0.0 for kind in kinds}
        structure = Structure.of(rows, units)
        own = distances(summarise(known[8], np.zeros(60)), summary)
        values = {"location": own.location, "scale": own.scale, "structure": structure.distance(known[8])}
        for kind in kinds:
            outside[kind] += values[kind] > top[kind]
        assert distances(summarise(known[8] * 3, np.zeros(60)), summary).scale > top["scale"]
        assert structure.distance(known[8][:, [*range(10, 20), *range(10)]]) > top["structure"]
    assert all(count <= 0.1 * tries for count in outside.values()), outside


NAMES = [f"{channel}_{part}" for channel in ("AGP", "DNA") for part in "abcdefgh"] + [f"corr_{p}" for p in "xyzt"]


def test_exchanged_names_are_told_where_no_distance_tells_them() -> None:
    """Two channels within a unit of each other: few are taken for exchanged that are not, most that are."""
    rng = np.random.default_rng(0)
    tries, false, found, plain = 30, 0, 0, 0
    order = exchanges(NAMES)[Exchange(("AGP", "DNA"), alone=True)]
    assert order.tolist() == [*range(8, 16), *range(8), *range(16, 20)]
    for _ in range(tries):
        mixing = np.eye(20) + 0.1 * rng.normal(size=(20, 20))
        known = draws(rng, 9) @ mixing
        rows, units = known[:8].reshape(-1, 20), np.repeat(np.arange(8).astype(str), 60)
        told, structure = told_apart(rows, units, NAMES), Structure.of(rows, units)
        top = limit([item["structure"] for item in unit_distances(summarise(rows, units), rows, units)]) or 0.0
        for features, is_so in ((known[8], False), (known[8][:, order], True)):
            said = explaining_exchange(told, structure, features, NAMES, top)
            false += said is not None and not is_so
            found += said is not None and is_so
        plain += structure.distance(known[8][:, order]) > top
    assert false <= 0.05 * tries
    assert found >= 0.9 * tries
    assert plain <= 0.5 * tries


def test_words_that_nothing_tells_apart_are_not_asked_about() -> None:
    rng = np.random.default_rng(0)
    rows, units = rng.normal(size=(480, 20)), np.repeat(np.arange(8).astype(str), 60)
    assert told_apart(rows, units, NAMES) == {}
    assert told_apart(rows[:120], units[:120], NAMES) == {}, "two units are too few"


def test_names_of_two_channels_go_with_them_or_stay() -> None:
    names = [f"{channel}_{part}" for part in "abcd" for channel in ("AGP", "DNA", "ER")]
    names += ["corr_AGP_DNA", "corr_AGP_ER", "corr_DNA_ER", "f_1", "f_2"]
    found = exchanges(names)
    pairs = [("AGP", "DNA"), ("AGP", "ER"), ("DNA", "ER")]
    assert set(found) == {Exchange(pair, alone) for pair in pairs for alone in (True, False)}
    alone, whole = (found[Exchange(("AGP", "DNA"), alone)] for alone in (True, False))
    assert [names[at] for at in alone[:6]] == ["DNA_a", "AGP_a", "ER_a", "DNA_b", "AGP_b", "ER_b"]
    assert [names[at] for at in alone[12:]] == names[12:]
    assert [names[at] for at in whole[12:]] == ["corr_AGP_DNA", "corr_DNA_ER", "corr_AGP_ER", "f_1", "f_2"]


def test_a_limit_needs_two_units_and_never_lies_below_the_farthest() -> None:
    assert limit([]) is limit([1.0]) is None
    assert limit([1.0, 1.0, 1.0]) == 1.0
    assert limit([1.0, 2.0]) == 6.0  # two units say nothing of a tail
    assert 3.0 <= (limit([1.0, 1.5, 2.0, 2.5, 3.0]) or 0.0) <= 9.0


def test_the_nearest_mean_is_right_where_classes_are_apart_and_at_chance_where_they_are_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c", "d"], 50)
    centres = 5 * np.eye(4)[np.repeat(np.arange(4), 50)]
    apart = (centres + rng.normal(size=(200, 4))).astype(np.float32)
    assert ClassMeans.of(apart, labels).accuracy(apart, labels) == (pytest.approx(1.0, abs=0.02), 4)
    noise = rng.normal(size=(200, 4)).astype(np.float32)
    found, _known = ClassMeans.of(apart, labels).accuracy(noise, labels)
    assert found == pytest.approx(0.25, abs=0.12)
    assert ClassMeans.of(apart, labels).accuracy(noise[:2], np.array(["x", "y"])) == (None, 0)
