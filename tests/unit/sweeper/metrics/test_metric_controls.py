"""Controls: cheap embeddings whose place in the panel is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sweeper.metrics.catalogue import CONTROLS
from sweeper.metrics.controls import UnavailableControlError, control_embedding
from sweeper.metrics.registry import measure
from trainers.errors import InputError


@pytest.fixture
def screen(make_wells, embed):
    """Features with a strong batch and phenotype, on scales from 1e-2 to 1e3, one of them constant."""
    wells = make_wells(replicates=4)
    features = embed(wells, biology=1, batch=2) * np.logspace(-2, 3, 16, dtype=np.float32) + 5
    features[:, 3] = 0.1
    return features, wells


def panel(name, screen, evaluation):
    features, wells = screen
    train = np.arange(0, len(wells), 2)
    test = np.arange(1, len(wells), 2)
    rows = control_embedding(name, features, wells, train_rows=train, seed=3)
    assert rows.dtype == np.float32
    parts = [wells.iloc[index].reset_index(drop=True) for index in (test, train)]
    names = ("batch_probe_linear", "retrieval_map", "perturbation_accuracy")
    found = measure(evaluation(rows[test], parts[0], rows[train], parts[1]), names)
    return [measured.value for _, measured in found]


def test_controls_bracket_the_panel(screen, evaluation):
    """Raw keeps both, corrections the phenotype, label_shuffled the batch, random nothing; a leak keeps the labels."""
    probe, retrieval, accuracy = (dict(zip(CONTROLS, values, strict=True)) for values in zip(
        *(panel(name, screen, evaluation) for name in CONTROLS), strict=True
    ))  # fmt: skip
    corrected = ("batch_standardised", "plate_control_centred", "sphering")
    assert max(probe["raw"], probe["label_shuffled"]) < 0.05
    assert min(probe[name] for name in ("random", "batch_standardised", "identities_permuted", "one_hot_jitter")) > 0.85
    assert min(probe["plate_control_centred"], probe["sphering"]) > probe["raw"] + 0.2
    assert min(retrieval[name] for name in corrected) > max(0.4, retrieval["raw"])
    assert max(abs(retrieval[name]) for name in ("random", "label_shuffled")) < 0.06
    assert retrieval["identities_permuted"] < 0.5 * retrieval["batch_standardised"]
    assert retrieval["one_hot_jitter"] == pytest.approx(1)
    assert min(accuracy[name] for name in ("raw", "batch_standardised", "plate_control_centred")) > 0.8
    assert max(abs(accuracy[name]) for name in ("random", "label_shuffled")) < 0.12
    assert accuracy["one_hot_jitter"] == pytest.approx(1)


def test_plate_controls_have_mean_zero_on_every_plate_and_sphered_ones_unit_covariance(make_wells, embed):
    wells = make_wells(controls=24)
    everything = np.arange(len(wells))
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(16, 16)))[0]
    features = embed(wells, biology=1, batch=2) @ (axes * np.linspace(1, 8, 16) @ axes.T).astype(np.float32)
    negative = (wells["control_type"] == "negative").to_numpy()
    centred, sphered = (
        control_embedding(name, features, wells, train_rows=everything, seed=0)
        for name in ("plate_control_centred", "sphering")
    )
    for plate in wells["plate"].unique():
        rows = negative & (wells["plate"] == plate).to_numpy()
        np.testing.assert_allclose(centred[rows].mean(axis=0), 0, atol=1e-5)
    before, after = (np.linalg.eigvalsh(np.cov(rows[negative].T)) for rows in (centred, sphered))
    assert before[-1] / before[0] > 30
    assert after[-1] / after[0] < 5
    assert after[-1] == pytest.approx(1, abs=0.1)


def test_permuted_identities_stay_in_their_batch_and_controls_keep_theirs(make_wells):
    wells = make_wells(perturbations=20)
    standardised, traded = (
        control_embedding(
            name, np.arange(len(wells), dtype=np.float32)[:, None], wells, train_rows=np.arange(len(wells)), seed=4
        )[:, 0]
        for name in ("batch_standardised", "identities_permuted")
    )
    for batch in wells["batch"].unique():
        inside = (wells["batch"] == batch).to_numpy()
        assert sorted(traded[inside]) == sorted(standardised[inside])
    negative = (wells["control_type"] == "negative").to_numpy()
    np.testing.assert_array_equal(traded[negative], standardised[negative])
    assert (traded[~negative] != standardised[~negative]).mean() > 0.8


def test_a_control_that_the_screen_does_not_allow_says_why(make_wells, embed):
    bare = make_wells(controls=0)
    everything = np.arange(len(bare))
    for name, reason in (("plate_control_centred", "plate 'b0/0' has no negative"), ("sphering", "has no negative")):
        with pytest.raises(UnavailableControlError, match=reason):
            control_embedding(name, embed(bare), bare, train_rows=everything, seed=0)
    few = make_wells(controls=1)
    with pytest.raises(UnavailableControlError, match="8 negative controls among the training rows, 10"):
        control_embedding("sphering", embed(few), few, train_rows=np.arange(len(few)), seed=0)
    one = make_wells(perturbations=1)
    with pytest.raises(UnavailableControlError, match="two perturbations"):
        control_embedding("identities_permuted", embed(one), one, train_rows=np.arange(len(one)), seed=0)


def test_many_labels_leak_in_a_bounded_dimension(make_wells, embed):
    wells = make_wells().assign(perturbation=[f"p{number % 60}" for number in range(160)])
    many = pd.concat([wells.assign(perturbation=wells["perturbation"] + suffix) for suffix in "abcde"])
    many = many.reset_index(drop=True)
    rows = control_embedding("one_hot_jitter", embed(wells)[:1], many, train_rows=np.arange(len(many)), seed=0)
    assert rows.shape == (800, 256)
    same, other = rows[0] @ rows[60], rows[0] @ rows[1]
    assert same > 0.7
    assert abs(other) < 0.4


def test_raw_is_scored_by_training_rows(screen):
    features, wells = screen
    train = np.arange(0, len(wells), 3)
    rows = control_embedding("raw", features, wells, train_rows=train, seed=0)
    varied = np.delete(rows[train], 3, axis=1)
    np.testing.assert_allclose(varied.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(varied.std(axis=0), 1, atol=1e-4)
    assert np.abs(rows[:, 3]).max() < 1e-5


def test_label_shuffled_keeps_the_rows_of_each_batch(screen):
    features, wells = screen
    train = np.arange(len(wells))
    raw, shuffled, other = (
        control_embedding(name, features, wells, train_rows=train, seed=seed)
        for name, seed in (("raw", 0), ("label_shuffled", 0), ("label_shuffled", 1))
    )
    assert not np.array_equal(raw, shuffled)
    assert not np.array_equal(other, shuffled)
    for batch in wells["batch"].unique():
        inside = (wells["batch"] == batch).to_numpy()
        np.testing.assert_array_equal(np.unique(raw[inside], axis=0), np.unique(shuffled[inside], axis=0))


def test_unknown_control(screen):
    with pytest.raises(InputError, match="control: 'none' is none of raw, random"):
        control_embedding("none", *screen, train_rows=np.arange(4), seed=0)
