"""Models that are kept: the round trip, what is fitted on, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sweeper
from sweeper.errors import InputError
from sweeper.kept.align import rotation
from sweeper.kept.corrected import ROW_DIGEST, row_digests
from sweeper.kept.encoding import encode
from sweeper.kept.model_file import MODEL, WEIGHTS, read_model
from sweeper.kept.strengths import kept_strengths, parse_strength
from sweeper.planning.cells import make_cells
from tests.unit.sweeper.kept.conftest import MARGIN, SEEDS, WEIGHT, Swept, finish, made
from trainers.base import TrainingCell
from trainers.kept_layers import mean_embedding
from trainers.screens.readers import read_screen
from trainers.screens.table import make_screen

STRENGTH = (WEIGHT, MARGIN)


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


@pytest.mark.parametrize("place", [0, 3])
def test_the_model_of_a_cell_gives_the_cells_own_embeddings(swept: Swept, place: int) -> None:
    cell = swept.cells[place]
    kept = sweeper.keep(swept.store.folder, cell=cell.cell_id)
    rows, stored = swept.store.embeddings(cell.cell_id)
    found = sweeper.embed(swept.store.folder, model=kept.folder).embedding[rows]
    np.testing.assert_allclose(found, stored, atol=2**-11)  # half a step of float16 below 1, and the encoder's own
    assert (found.astype(np.float16) == stored.astype(np.float16)).mean() > 0.99
    assert kept.difference is not None
    assert kept.difference < 2**-11
    assert kept.facts.trained_on["wells"] < len(swept.prepared.screen)


def test_a_strength_is_fitted_on_every_well_and_only_once(swept: Swept, model: Path) -> None:
    facts = read_model(model).facts
    assert (facts.trained_on["wells"], facts.seeds) == (len(swept.prepared.screen), SEEDS)
    assert facts.features == swept.prepared.screen.feature_names
    assert facts.screen == swept.prepared.screen.fingerprint
    before = (model / WEIGHTS).stat().st_mtime_ns
    assert not sweeper.keep(swept.store.folder, strength=STRENGTH).made
    assert (model / WEIGHTS).stat().st_mtime_ns == before
    assert "not of this model" in (model / "card.txt").read_text() or facts.decision is None
    assert sorted(path.name for path in model.iterdir()) == ["card.txt", MODEL, WEIGHTS]


def test_what_is_kept_is_no_part_of_what_the_sweep_is(swept: Swept, tmp_path: Path) -> None:
    ids = {made(tmp_path, which, swept.table, keep=which).sweep_id for which in ("advised", "bounds", "all", "none")}
    assert ids == {swept.prepared.sweep_id}


def test_which_strengths_are_kept(swept: Swept) -> None:
    bounds = SimpleNamespace(safe_up_to=3.0, unsafe_from=None)
    advice = SimpleNamespace(recommended=1.0, most=3.0)
    decision: Any = SimpleNamespace(rule=SimpleNamespace(advice=advice, margin=0.2, estimate=bounds))
    trained = ((0.0, 0.2), (1.0, 0.2), (3.0, 0.2))
    assert kept_strengths("advised", decision, trained) == ((1.0, 0.2),)
    assert kept_strengths("bounds", decision, trained) == ((1.0, 0.2), (3.0, 0.2))
    assert kept_strengths("all", decision, trained) == trained
    assert kept_strengths("none", decision, trained) == ()
    advice.recommended = None
    assert kept_strengths("advised", decision, trained) == ()
    assert parse_strength("3", swept.store) == parse_strength("3, 0.2", swept.store) == STRENGTH
    for text, words in (("x", "expected λ or λ,m"), ("4", "not one that the sweep trained"), ("1,2,3", "expected")):
        with pytest.raises(InputError, match=words):
            parse_strength(text, swept.store)


def test_the_screen_is_embedded_one_row_in_one_row_out(swept: Swept, model: Path, tmp_path: Path) -> None:
    given = pd.read_parquet(swept.table)
    for name in ("out.parquet", "out.csv"):
        sweeper.embed(swept.store.folder, strength=STRENGTH, out=tmp_path / name)
    written = pd.read_parquet(tmp_path / "out.parquet")
    metadata = [name for name in given if name not in swept.features]
    pd.testing.assert_frame_equal(written[metadata], given[metadata])
    assert list(written) == [*metadata, ROW_DIGEST, *read_model(model).facts.columns]
    assert written[ROW_DIGEST].is_unique
    backwards = given.iloc[::-1].reset_index(drop=True)
    backwards.to_parquet(tmp_path / "backwards.parquet")
    spec = swept.prepared.config.screen.model_copy(update={"path": tmp_path / "backwards.parquet"})
    assert list(written[ROW_DIGEST])[::-1] == row_digests(read_screen(spec, Path()).screen)
    text = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_allclose(text.filter(like="emb_"), written.filter(like="emb_"), rtol=1e-6)


def test_one_seed_is_as_it_was_trained_and_all_are_turned_onto_the_first(swept: Swept, model: Path) -> None:
    screen, found = swept.prepared.screen, read_model(model)
    features = np.asarray(screen.features)
    one, other = (encode(found, features, screen.wells, seed=seed) for seed in SEEDS)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1.0, atol=1e-5)
    turned = other @ rotation(other, one)
    assert np.linalg.norm(turned - one) < 0.8 * np.linalg.norm(other - one)
    np.testing.assert_allclose(
        encode(found, features, screen.wells), mean_embedding([one, turned], unit=True), atol=1e-4
    )
    with pytest.raises(InputError, match=r"seed 7: .* has seeds 0, 1"):
        encode(found, features, screen.wells, seed=7)


def test_rotations_are_found_again() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 5)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0].astype(np.float32)
    np.testing.assert_allclose((points @ turn) @ rotation(points @ turn, points), points, atol=1e-4)


@pytest.mark.parametrize("normalise", ["batch", "plate_controls"])
def test_the_normalisation_goes_with_the_model(swept: Swept, tmp_path: Path, normalise: str) -> None:
    found = made(tmp_path, "n", swept.table, normalise=normalise, keep="none")
    kept = sweeper.keep(found.store.folder, strength=STRENGTH)
    from sweeper.kept.fitting import cell_on, fit, rows_of_use
    from sweeper.planning.inputs import trainer_inputs

    rows = rows_of_use(found.config, found.screen.wells, 0)
    cell = cell_on(rows, wells=len(found.screen), key="again", strength=STRENGTH, seed=0)
    pack = fit(found.config, trainer_inputs(found.config, found.screen), [cell])
    everything = np.arange(len(found.screen))
    own = encode(read_model(kept.folder), np.asarray(found.screen.features), found.screen.wells, seed=0)
    np.testing.assert_allclose(own, pack.embed(0, everything), atol=1e-5)


def test_cpdistiller_is_kept_embedded_and_applied(swept: Swept, tmp_path: Path) -> None:
    settings = {"hidden_width": 16, "embedding_dim": 6, "categories": 4, "discriminator_width": 16, "epochs": 2}
    strengths = {"adversarial_weight": [WEIGHT], "margin": [1.0]}
    found = made(tmp_path, "d", swept.table, trainer="cpdistiller", cpdistiller=settings, strengths=strengths)
    finish(found, make_cells(found.sweep_id, "cpdistiller", [(WEIGHT, 1.0)], (0,), {"held_out_batches": 1}))
    (cell_id,) = found.store.finished()
    kept = sweeper.keep(found.store.folder, cell=cell_id)
    assert kept.difference is not None
    assert kept.difference < 2**-9  # float16 of values beyond 1
    rows, stored = found.store.embeddings(cell_id)
    embedded = sweeper.embed(found.store.folder, model=kept.folder).embedding
    np.testing.assert_allclose(embedded[rows], stored, atol=2**-9, rtol=2**-10)
    whole = sweeper.keep(found.store.folder, strength=(WEIGHT, 1.0))
    assert whole.facts.trained_on["wells"] == len(found.screen)
    applied = sweeper.apply(whole.folder, swept.new)
    assert applied.corrected.embedding.shape == (len(swept.new_table()), len(whole.facts.columns))
    assert {item.kind for item in applied.units[0].distances} == {"location", "scale", "structure", "embedding"}
    assert not applied.outside, applied.units[0].outside


@pytest.mark.parametrize(
    ("trainer", "settings", "weight"),
    [
        ("center", {"fit_on": "controls"}, 0.5),
        ("center", {"fit_on": "controls", "by": "plate"}, 1.0),
        ("sphering", {}, 10.0),
        ("sphering", {"fit_on": "all"}, 0.0),
    ],
)
def test_corrections_that_serve_new_batches_are_kept(
    swept: Swept, tmp_path: Path, trainer: str, settings: dict[str, Any], weight: float
) -> None:
    strengths = {"adversarial_weight": [weight], "margin": [0.0]}
    found = made(tmp_path, "c", swept.table, trainer=trainer, **{trainer: settings}, strengths=strengths)
    kept = sweeper.keep(found.store.folder, strength=(weight, 0.0))
    assert kept.facts.columns == kept.facts.features
    assert len(kept.facts.seeds) == 1, "equal seeds are kept once"
    everything = np.arange(len(found.screen))
    cell = TrainingCell(
        key="k", adversarial_weight=weight, margin=0.0, seed=0, train=everything, validation=everything[:0]
    )
    from sweeper.planning.inputs import trainer_inputs

    how = found.config.how
    expected = how.pack(trainer_inputs(found.config, found.screen), [cell], found.config.trainer_settings)
    expected.advance(1)
    own = sweeper.embed(found.store.folder, strength=(weight, 0.0))
    np.testing.assert_allclose(own.embedding, expected.embed(0, everything), rtol=1e-4, atol=1e-4)


def test_a_correction_of_one_screen_is_no_model_and_corrects_the_screen_again(swept: Swept, tmp_path: Path) -> None:
    views = [{"view": "held_out_plates", "fraction": 0.5}]
    strengths = {"adversarial_weight": [1.0], "margin": [0.0]}
    found = made(tmp_path, "t", swept.table, trainer="center", views=views, strengths=strengths)
    with pytest.raises(InputError, match=r"center cannot be kept: it corrects the screen that it is fitted on"):
        sweeper.keep(found.store.folder, strength=(1.0, 0.0))
    own = sweeper.embed(found.store.folder, strength=(1.0, 0.0))
    batch = found.screen.wells["batch"].to_numpy()
    for name in np.unique(batch):
        np.testing.assert_allclose(own.embedding[batch == name].mean(axis=0), 0.0, atol=1e-4)
    assert own.columns == found.screen.feature_names


def test_a_store_without_kept_weights_names_the_command(swept: Swept, tmp_path: Path) -> None:
    bare = made(tmp_path, "bare", swept.table)
    with pytest.raises(InputError, match=r"no kept weights at λ=3 m=0.2; `sweeper keep .*bare --strength 3,0.2` makes"):
        sweeper.embed(bare.store.folder, strength=STRENGTH)
    with pytest.raises(InputError, match="nothing is decided yet"):
        sweeper.embed(bare.store.folder)
    assert not (bare.store.folder / "models").exists()


def edited(folder: Path, **changes: Any) -> None:
    path = folder / MODEL
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-5]), "damaged .*sweeper keep"),
        (lambda folder: (folder / WEIGHTS).unlink(), "No such file.*sweeper keep"),
        (lambda folder: edited(folder, schema="kept-model/3"), "newer version of sweeper .*update sweeper"),
        (lambda folder: edited(folder, schema="x"), "no kept model .schema 'x'"),
        (lambda folder: edited(folder, seeds=[]), "not a kept model"),
        (lambda folder: edited(folder, layers=[{"op": "exec"}]), "layer 'exec' is none that this version knows"),
        (lambda folder: edited(folder, layers=[{"op": "dense", "weight": "w", "bias": "b"}]), "lacks its weight"),
        (lambda folder: (folder / MODEL).write_text("{"), "model.json: cut off"),
        (lambda folder: (folder / MODEL).unlink(), "no kept model here .*sweeper keep"),
    ],
)
def test_what_is_wrong_with_a_model_is_one_line(copy: Path, swept: Swept, damage: Any, words: str) -> None:
    damage(copy)
    with pytest.raises(InputError, match=words) as caught:
        sweeper.apply(copy, swept.new)
    assert "\n" not in str(caught.value)


def test_a_model_of_another_screen_is_refused(swept: Swept, copy: Path) -> None:
    edited(copy, screen="sha256:0")
    with pytest.raises(InputError, match=r"of another screen than .*sweeper apply"):
        sweeper.embed(swept.store.folder, model=copy)


def test_metadata_of_a_file_that_has_gone_are_those_of_the_store(swept: Swept, tmp_path: Path, model: Path) -> None:
    folder = Path(shutil.copytree(swept.store.folder, tmp_path / "moved"))
    description = json.loads((folder / "sweep.json").read_text())
    description["config"]["screen"]["path"] = str(tmp_path / "gone.parquet")
    (folder / "sweep.json").write_text(json.dumps(description))
    found = sweeper.embed(folder, strength=STRENGTH)
    assert "no such file" in found.notes[0]
    assert {"Metadata_Note", "Metadata_Batch", "Metadata_Plate", "Metadata_Well"} <= set(found.metadata)
    assert found.frame[ROW_DIGEST].tolist() == row_digests(swept.prepared.screen)


def test_digests_tell_rows_and_places_apart() -> None:
    wells = pd.DataFrame({"batch": ["a", "a"], "plate": ["p", "p"], "well": ["A01", "A02"], "perturbation": ["x", "y"]})
    same = make_screen(np.ones((2, 3), np.float32), ("f1", "f2", "f3"), wells)
    assert len(set(row_digests(same))) == 2
