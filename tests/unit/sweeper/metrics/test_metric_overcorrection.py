"""Guards against over-correction, where the answer is known: an identity keeps all, a projection loses all."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.metrics.biological.planted import planted_signal_retention
from sweeper.metrics.biological.retention import retained, uncorrected, within_batch_retention
from sweeper.metrics.evaluation import Source
from sweeper.metrics.probes.planted_signal import planted_signal
from sweeper.metrics.probes.pseudo_batch import pseudo_batch_loss, residualise, standardise
from trainers.errors import InputError


@pytest.fixture(scope="module")
def controls():
    """(96, 20) correlated control wells of 6 plates, and a direction."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(96, 20)) @ np.linalg.qr(rng.normal(size=(20, 20)))[0] * np.linspace(0.5, 3, 20)
    return rows.astype(np.float32), np.repeat(np.arange(6), 16), 3 * rng.normal(size=(1, 20)).astype(np.float32)


def removed(rows, direction, share=1.0):
    unit = direction / np.linalg.norm(direction)
    return rows - share * (rows @ unit.T) * unit


def test_an_identity_keeps_the_planted_signal(controls):
    rows, plates, direction = controls
    assert planted_signal(lambda x: x, rows, plates, direction, seed=0).retention == pytest.approx(1)
    assert planted_signal(lambda x: 100 * x + 7, rows, plates, direction, seed=0).retention == pytest.approx(
        1, abs=1e-3
    )


def test_a_projection_loses_it(controls):
    rows, plates, direction = controls
    found = planted_signal(lambda x: removed(x, direction), rows, plates, direction, seed=0)
    assert found.before > 2
    assert found.retention == pytest.approx(0, abs=0.02)


def test_the_more_is_removed_beside_it_the_less_is_kept(controls):
    """Removing directions that hold part of the signal, as an over-aggressive correction does."""
    rows, plates, direction = controls
    rng = np.random.default_rng(1)
    kept = []
    for count in (0, 4, 8, 16):
        mixed = np.linalg.qr(rng.normal(size=(20, 20))[:, :count])[0] if count else np.zeros((20, 0))
        kept.append(planted_signal(lambda x, q=mixed: x - x @ q @ q.T, rows, plates, direction, seed=0).retention)
    assert kept[0] == pytest.approx(1)
    assert kept[0] > kept[1] > kept[3]
    assert kept[3] < 0.8


def test_noise_added_by_the_encoder_counts_as_loss(controls):
    rows, plates, direction = controls
    rng = np.random.default_rng(2)
    noisy = planted_signal(lambda x: x + 6 * rng.normal(size=x.shape), rows, plates, direction, seed=0)
    assert noisy.retention < 0.7


def test_nothing_planted_is_nothing_to_lose(controls):
    rows, plates, direction = controls
    assert planted_signal(lambda x: x, rows, plates, 0 * direction, seed=0) is None


def screen(make_wells, embed, **rest):
    wells = make_wells(perturbations=12, **rest)
    wells.loc[wells["perturbation"] == "p0", "control_type"] = "positive"
    return embed(wells, biology=0.8, batch=0.5), wells


def test_the_guard_of_the_panel(make_wells, embed, evaluation):
    rows, wells = screen(make_wells, embed)

    def guard(encode, **rest):
        source = Source(features=rows, encode=encode)
        return planted_signal_retention(evaluation(encode(rows), wells, source=source, **rest))

    kept = guard(lambda x: x)
    assert (kept.value, kept.flag, kept.reason) == (pytest.approx(1), None, None)
    positive = (wells["control_type"] == "positive").to_numpy()
    negative = (wells["control_type"] == "negative").to_numpy()
    direction = (rows[positive].mean(axis=0) - rows[negative].mean(axis=0))[None]
    lost = guard(lambda x: removed(x, direction).astype(np.float32))
    assert lost.value < 0.05


def test_the_guard_says_what_it_lacks(make_wells, embed, evaluation):
    rows, wells = screen(make_wells, embed)
    source = Source(features=rows, encode=lambda x: x)
    assert "made anew" in planted_signal_retention(evaluation(rows, wells)).reason
    treated = wells.assign(control_type=wells["control_type"].replace("positive", "treatment"))
    found = planted_signal_retention(evaluation(rows, treated, source=source))
    assert (found.value, found.reason) == (
        pytest.approx(1),
        "no positive controls: planted along 4 scored perturbations",
    )
    only = wells.assign(control_type="negative")
    assert "no scored perturbations" in planted_signal_retention(evaluation(rows, only, source=source)).reason
    bare = wells.assign(control_type=wells["control_type"].replace("negative", "treatment"))
    assert "fewer than 8 negative" in planted_signal_retention(evaluation(rows, bare, source=source)).reason


def with_reference(rows, features, wells, evaluation, **rest):
    reference = uncorrected(features, wells, view="held_out_plates", seed=0)
    return within_batch_retention(evaluation(rows, wells, reference=reference, **rest))


@pytest.mark.parametrize("controls", [24, 0])
def test_retention_keeps_what_a_correction_keeps(controls, make_wells, embed, evaluation):
    wells = make_wells(perturbations=12, controls=controls)
    signal, noise = embed(wells, biology=0.8, noise=0), embed(wells)
    features = signal + noise + embed(wells, batch=1, noise=0)
    exact = with_reference(signal + noise, features, wells, evaluation)
    assert exact.raw == pytest.approx(1, abs=0.15)
    assert exact.flag is None
    weak = with_reference(0.4 * signal + noise, features, wells, evaluation)
    assert weak.raw < 0.6
    assert weak.flag == "phenotype_lost"
    assert weak.interval[0] < weak.raw < weak.interval[1] < 0.9
    assert ("against other perturbations" in weak.reason) == (controls == 0)
    none = with_reference(embed(wells, seed=9), features, wells, evaluation)
    assert none.value < 0.2


def test_retention_is_1_on_the_reference_itself(make_wells, embed, evaluation):
    rows, wells = screen(make_wells, embed)
    reference = uncorrected(rows, wells, view="held_out_plates", seed=0)
    found = within_batch_retention(evaluation(reference.test, wells, reference=reference))
    assert (found.value, found.raw, found.flag) == (1.0, 1.0, None)
    assert found.interval == (1.0, 1.0)


def test_the_reference_has_no_plate_left_and_its_batches_are_not_corrected_beyond(make_wells, embed):
    rows, wells = screen(make_wells, embed)
    reference = uncorrected(100 * rows + 3, wells, view="held_out_plates", seed=0)
    negative = (wells["control_type"] == "negative").to_numpy()
    for plate in wells["plate"].unique():
        inside = negative & (wells["plate"] == plate).to_numpy()
        np.testing.assert_allclose(reference.test[inside].mean(axis=0), 0, atol=1e-5)


def test_retention_says_what_it_lacks(make_wells, embed, evaluation):
    rows, wells = screen(make_wells, embed)
    assert "no uncorrected features" in within_batch_retention(evaluation(rows, wells)).reason
    noise = with_reference(rows, embed(wells, seed=3), wells, evaluation)
    assert noise.value is None
    assert "no phenotype inside batches" in noise.reason
    single = make_wells(plates=1, perturbations=12)
    assert "fewer than 3 perturbations" in with_reference(embed(single), embed(single), single, evaluation).reason


def test_the_interval_of_a_ratio():
    """Equal changes everywhere have no spread; one seed gives one interval."""
    before = np.array([0.2, 0.4, 0.6, 0.8])
    half = retained(0.5 * before, before, seed=0)
    assert half.raw == pytest.approx(0.5)
    assert half.interval == pytest.approx((0.5, 0.5))
    assert retained(2 * before, before, seed=0).value == 1.0
    uneven = retained(np.array([0.0, 0.0, 0.6, 0.8]), before, seed=1)
    assert uneven == retained(np.array([0.0, 0.0, 0.6, 0.8]), before, seed=1)
    assert uneven.interval[0] < uneven.raw < uneven.interval[1]


@pytest.fixture(scope="module")
def one_batch(make_wells, embed):
    wells = make_wells(batches=2, plates=4, perturbations=16, controls=8)
    return embed(wells, biology=0.7, batch=1, e=24), wells


def test_a_correction_of_nothing_loses_nothing(one_batch):
    found = pseudo_batch_loss(*one_batch, lambda rows, _: rows, seed=0)
    assert (found.loss, found.interval, found.perturbations) == (0.0, (0.0, 0.0), 16)
    assert found.before == found.after > 0.2


@pytest.mark.parametrize("correct", [standardise, residualise])
def test_plain_corrections_lose_little_for_a_batch_that_is_none(one_batch, correct):
    found = pseudo_batch_loss(*one_batch, correct, seed=0)
    assert abs(found.loss) < 0.05


def test_an_aggressive_correction_loses_much(one_batch):
    """Removing every direction in which the pseudo-batches differ at all, and its neighbours."""

    def aggressive(rows, wells):
        inside = (wells["batch"] == "a").to_numpy()
        differences = rows[inside][:80] - rows[~inside][:80]
        _, _, axes = np.linalg.svd(differences, full_matrices=False)
        return rows - rows @ axes[:18].T @ axes[:18]

    found = pseudo_batch_loss(*one_batch, aggressive, seed=0)
    assert found.loss > 0.1
    assert found.interval[0] > 0


def test_the_pseudo_batches_are_even_on_every_plate(one_batch):
    features, wells = one_batch
    seen = []
    pseudo_batch_loss(features, wells, lambda rows, own: (seen.append(own), rows)[1], seed=3, batch="b1")
    assert len(seen[0]) == (wells["batch"] == "b1").sum()
    counts = seen[0].groupby(["plate", "batch"]).size().unstack()
    assert list(counts.columns) == ["a", "b"]
    assert (counts["a"] - counts["b"]).abs().max() <= 1


def test_pseudo_batches_refuse_what_they_cannot_use(one_batch, make_wells, embed):
    with pytest.raises(InputError, match="no batch 'b9'"):
        pseudo_batch_loss(*one_batch, standardise, seed=0, batch="b9")
    with pytest.raises(InputError, match="gave 1 rows"):
        pseudo_batch_loss(*one_batch, lambda rows, _: rows[:1], seed=0)
    single = make_wells(plates=1)
    with pytest.raises(InputError, match="replicates on two plates"):
        pseudo_batch_loss(embed(single), single, standardise, seed=0)
