"""The strongest batch reader: what luck gives it, what it sees, what it is kept from seeing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import readers as study
from sweeper.metrics.biological.retention import uncorrected
from sweeper.metrics.panel import panel_rows, score_table
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.registry import REGISTRY, STANDS_IN, decisive, measure
from sweeper.metrics.technical.batch_probe import batch_probe_knn, batch_probe_linear, batch_probe_spread
from sweeper.metrics.technical.batch_reader import batch_reader, plate_reader
from sweeper.metrics.technical.design import permuted_within
from sweeper.metrics.technical.permuted_maximum import cross_fitting, luck_of_the_best, moments
from sweeper.metrics.technical.readers import READERS, reading, shared_task


def accuracies(predicted, labels):
    weight = 1.0 / (len(np.unique(labels)) * np.bincount(labels))
    return [np.sum(weight[labels] * (own == labels)) for own in predicted]


def test_luck_is_that_of_permutations_inside_strata():
    rng = np.random.default_rng(0)
    labels, strata = rng.choice(5, 600, p=[0.4, 0.2, 0.2, 0.1, 0.1]), rng.integers(0, 30, 600)
    first = np.where(rng.random(600) < 0.3, labels, rng.integers(0, 5, 600))
    predicted = [first, np.where(rng.random(600) < 0.5, first, rng.integers(0, 5, 600)), strata % 5]
    drawn = np.array([accuracies(predicted, own) for own in permuted_within(labels, strata, count=3000, seed=(0, 0))])
    mean, covariance = moments(predicted, labels, strata, np.arange(600))
    np.testing.assert_allclose(mean, drawn.mean(axis=0), atol=0.002)
    np.testing.assert_allclose(covariance, np.cov(drawn.T), atol=0.08 * covariance.max())
    assert covariance[2].max() == pytest.approx(0.0, abs=1e-12)  # one answer a stratum: nothing to permute


def test_luck_is_that_of_whole_plates_where_they_keep_one_batch():
    rng = np.random.default_rng(1)
    plates = np.r_[np.arange(40), rng.integers(0, 40, 560)]
    of_plate = np.r_[np.arange(5), rng.integers(0, 5, 35)]
    labels = of_plate[plates]
    predicted = [rng.integers(0, 5, 40)[plates], rng.integers(0, 5, 600)]
    weight = 1.0 / (5 * np.bincount(labels))
    drawn = []
    for _ in range(3000):
        dealt = rng.permutation(of_plate)[plates]
        drawn.append([np.sum(weight[dealt] * (own == dealt)) for own in predicted])
    mean, covariance = moments(predicted, labels, np.zeros(600, dtype=int), plates)
    np.testing.assert_allclose(mean, np.mean(drawn, axis=0), atol=0.005)
    np.testing.assert_allclose(covariance, np.cov(np.transpose(drawn)), atol=0.1 * covariance.max())
    assert covariance[0, 0] > 4 * covariance[1, 1]  # wells of a plate fail together


def test_rows_that_vote_for_each_other_vary_more():
    """Two labels have a closed form; a kernel classifier of noise varies as much as is said."""
    assert cross_fitting(2) == pytest.approx(1 + 2 / np.pi, abs=1e-6)
    assert cross_fitting(50) < cross_fitting(6) < cross_fitting(2)
    rng, found = np.random.default_rng(2), []
    for _ in range(1500):
        votes = rng.normal(size=(60, 60))
        votes = (votes + votes.T) * (1 - np.eye(60))
        labels = rng.choice([-1.0, 1.0], 60)
        found.append(np.mean(np.sign(votes @ labels) == labels))
    assert np.var(found) / (0.25 / 60) == pytest.approx(cross_fitting(2), rel=0.12)


def test_the_best_of_several_readers_of_noise_is_at_chance(make_wells, embed, evaluation):
    wells = make_wells(replicates=3)
    found = [batch_reader(evaluation(embed(wells, biology=1, seed=seed), wells, seed=seed)) for seed in range(16)]
    raw, chance = np.mean([one.raw for one in found]), np.mean([one.chance for one in found])
    assert chance > 0.26  # the best of five is above 1/4 ...
    assert raw == pytest.approx(chance, abs=0.012)  # ... and that is its chance level
    assert np.mean([one.value for one in found]) > 0.97
    assert sum(one.raw > one.limit for one in found) <= 3
    assert any("nothing is read beyond luck" in one.reason for one in found)


def skewed(wells, seed=0):
    """Batches of the same mean and variance, population-wise, but of other skewness."""
    rng = np.random.default_rng([seed, 9])
    bend = np.array([-0.9, 0.9, 0.0, 0.4])[np.unique(wells["batch"], return_inverse=True)[1], None]
    noise = rng.normal(size=(len(wells), 16))
    return ((noise + bend * (noise**2 - 1)) / np.sqrt(1 + 2 * bend**2)).astype(np.float32)


@pytest.mark.parametrize("effect", ["shift", "scale", "correlation", "shape"])
def test_no_kind_of_batch_effect_escapes(make_wells, embed, evaluation, effect):
    wells = make_wells(replicates=3)
    batch = np.unique(wells["batch"], return_inverse=True)[1]
    rows = skewed(wells) if effect == "shape" else embed(wells, biology=0.5, batch=0.5 if effect == "shift" else 0.0)
    if effect == "scale":
        rows = rows * np.exp(0.5 * np.random.default_rng(3).normal(size=(4, 16)))[batch].astype(np.float32)
    if effect == "correlation":
        rows = np.stack(
            [
                row @ np.linalg.qr(np.random.default_rng(code).normal(size=(16, 16)))[0].astype(np.float32)
                for row, code in zip(rows * np.linspace(0.3, 2, 16, dtype=np.float32), batch, strict=True)
            ]
        )
    found = batch_reader(evaluation(rows, wells))
    assert found.raw > found.limit
    assert found.value < 0.7
    if effect != "shift":
        assert found.raw > batch_probe_linear(evaluation(rows, wells)).raw + 0.1
        assert batch_probe_linear(evaluation(rows, wells)).value > found.value + 0.1


def test_a_forest_reads_what_standardising_each_batch_leaves(make_wells, evaluation):
    """Means and scales are gone, below what a linear probe calls chance; shapes are not."""
    wells = make_wells(replicates=4)
    rows = skewed(wells)
    for batch in wells["batch"].unique():
        own = (wells["batch"] == batch).to_numpy()
        rows[own] = (rows[own] - rows[own].mean(axis=0)) / rows[own].std(axis=0)
    found = batch_reader(evaluation(rows, wells))
    assert found.parts["linear"] < 0.25
    assert found.parts["trees"] > found.limit
    assert found.value < 0.8


def test_the_strongest_counts_and_probes_are_its_parts(make_wells, embed, evaluation):
    wells = make_wells(replicates=3)
    whole = evaluation(embed(wells, biology=0.5, batch=0.3), wells)
    found = batch_reader(whole)
    assert set(found.parts) == set(READERS)
    assert found.raw == max(found.parts.values())
    for probe, name in (
        (batch_probe_linear, "linear"),
        (batch_probe_knn, "neighbours"),
        (batch_probe_spread, "spread"),
    ):
        alone = probe(evaluation(embed(wells, biology=0.5, batch=0.3), wells))
        assert alone.raw == pytest.approx(found.parts[name])
        assert probe(whole).raw == alone.raw


def test_perturbations_of_one_batch_do_not_pass_for_it(make_wells, embed, evaluation):
    """Nested perturbations, phenotypes alike inside a batch, no batch effect: nothing is read, whichever reader."""
    wells = make_wells(batches=4, perturbations=40, replicates=2, controls=8)
    number = wells["perturbation"].str.extract(r"(\d+)")[0].astype(float)
    own = (wells["perturbation"] == "dmso") | (number % 4 == wells["batch"].str[1:].astype(int))
    wells = wells[own].reset_index(drop=True)
    rows = embed(wells, biology=3, e=32)
    assert batch_reader(evaluation(rows, wells)).value > 0.85
    likeness = 3 * np.random.default_rng(0).normal(size=(4, 32))[np.unique(wells["batch"], return_inverse=True)[1]]
    alike = rows + np.where(wells["perturbation"] == "dmso", 0, 1)[:, None] * likeness.astype(np.float32)
    found = batch_reader(evaluation(alike, wells))
    assert batch_probe_linear(evaluation(alike, wells)).value < 0.5  # takes the phenotype for the batch
    assert found.chance > 0.5
    assert found.value > 0.85


def test_controls_tell_their_batch_where_treated_wells_do_not(make_wells, embed, evaluation):
    """Nested perturbations; treated wells are centred to perfection, controls are shifted batch by batch."""
    wells = make_wells(batches=4, plates=3, perturbations=40, replicates=1, controls=10)
    number = wells["perturbation"].str.extract(r"(\d+)")[0].astype(float)
    control = (wells["perturbation"] == "dmso").to_numpy()
    own = control | (number % 4 == wells["batch"].str[1:].astype(int)).to_numpy()
    wells, control = wells[own].reset_index(drop=True), control[own]
    batch = np.unique(wells["batch"], return_inverse=True)[1]
    shift = np.random.default_rng(4).normal(size=(4, 16))[batch] * control[:, None]
    found = batch_reader(evaluation(embed(wells) + shift.astype(np.float32), wells))
    assert found.value < 0.6  # half of the wells are controls
    one_plate = make_wells(plates=1)
    given = evaluation(embed(one_plate), one_plate).once(shared_task("batch"))
    assert len(np.unique(given.groups[(one_plate["perturbation"] == "dmso").to_numpy()])) == 1


def test_trees_never_judge_a_group_they_have_seen(make_wells, evaluation):
    """Every perturbation of a plate is one point: a tree that saw it would know its plate."""
    wells = make_wells(batches=4, plates=1, perturbations=12, replicates=6)
    code = np.unique(wells["batch"] + wells["perturbation"], return_inverse=True)[1]
    rows = (10 * np.random.default_rng(0).normal(size=(code.max() + 1, 16)))[code].astype(np.float32)
    whole = evaluation(rows, wells)
    found = whole.once(reading("trees", "batch"))
    assert np.mean(found == whole.code("batch")) < 0.5


def test_what_is_dealt_into_folds_is_kept_for_all_embeddings_of_the_rows(make_wells, embed, evaluation):
    wells = make_wells()
    reference = uncorrected(embed(wells), wells, view="held_out_plates", seed=0)
    first, second = (evaluation(embed(wells, seed=seed), wells, reference=reference) for seed in (0, 1))
    assert first.once(shared_task("batch")) is second.once(shared_task("batch"))
    alone = evaluation(embed(wells), wells)
    assert batch_reader(alone) == batch_reader(first)
    sham = wells.assign(batch=np.random.default_rng(0).permutation(wells["batch"]))
    other = evaluation(embed(wells), sham, reference=reference)
    assert other.once(shared_task("batch")) is not first.once(shared_task("batch"))


def test_whole_plates_are_held_out_and_dealt_out(make_wells, embed, evaluation):
    wells = make_wells(plates=4)
    found = batch_reader(evaluation(embed(wells, batch=0.8), wells, options=PanelOptions(probe_groups="plate")))
    assert found.raw > found.limit
    single = make_wells(plates=1)
    one = batch_reader(evaluation(embed(single), single, options=PanelOptions(probe_groups="plate")))
    assert one.reason == "not identifiable: holding out a plate leaves a batch without training wells"


def test_plates_are_read_too(make_wells, embed, evaluation):
    wells = make_wells(replicates=3)
    plate = np.unique(wells["plate"], return_inverse=True)[1]
    rows = embed(wells) + np.random.default_rng(0).normal(size=(8, 16))[plate].astype(np.float32)
    assert plate_reader(evaluation(rows, wells)).value < 0.5


def test_a_panel_with_a_reader_has_one_scale(make_wells, embed, evaluation):
    """Mixing is measured against the embedding's own ceiling, so T is at most 1 and equal for equal embeddings."""
    wells = make_wells(replicates=3)
    names = ("batch_reader", "cilisi", "batch_mixing_bras", "retrieval_map")
    measured = measure(evaluation(embed(wells, biology=1, batch=0.2), wells), names)
    found = {row["metric"]: row for row in panel_rows(measured)}
    without = {row["metric"]: row for row in panel_rows(measured[1:])}
    for name in ("cilisi", "batch_mixing_bras"):
        before = without[name]
        assert (found[name]["floor"], found[name]["ceiling"]) == (0.0, 1.0)
        expected = (before["value"] - before["floor"]) / (before["ceiling"] - before["floor"])
        assert found[name]["value"] == pytest.approx(min(expected, 1.0))
        assert before["ceiling"] < 1.0
    assert found["retrieval_map"]["value"] == without["retrieval_map"]["value"]
    panel = score_table(embed(wells, biology=1), wells, metrics=names)
    assert max(row["value"] for row in panel.rows if row["role"] == "technical") <= 1.0


def test_what_decides_in_a_panel_without_a_reader():
    """Sweeps begun before there was one go on with what they decided by."""
    assert decisive(REGISTRY) == {name for name, metric in REGISTRY.items() if metric.primary}
    older = [name for name in REGISTRY if name != "batch_reader"]
    technical = {name for name in decisive(older) if REGISTRY[name].role == "technical"}
    assert technical == set(STANDS_IN)
    assert decisive(["batch_probe_linear", "retrieval_map", "label_nmi"]) == {"batch_probe_linear", "retrieval_map"}


def test_the_study_in_words_is_the_study_in_numbers():
    text = study.README.read_text(encoding="utf-8")
    result = json.loads(Path(study.__file__).with_suffix(".json").read_text(encoding="utf-8"))
    assert study.with_table(text, result) == text, "run: make benchmark-readers"
    assert result["no_effect"][study.STRONGEST]["false_alarm"] <= 0.05
    for row in result["rows"]:  # never far behind the best reader for a kind
        assert row["accuracy"][study.STRONGEST] > max(row["accuracy"].values()) - 0.002


def test_equal_predictions_have_equal_luck(make_wells):
    wells = make_wells()
    labels = np.unique(wells["batch"], return_inverse=True)[1]
    predicted = [np.random.default_rng(number).integers(0, 4, len(wells)) for number in range(3)]
    given = (labels, np.unique(wells["perturbation"], return_inverse=True)[1], np.arange(len(wells)))
    first, again = luck_of_the_best(predicted, *given), luck_of_the_best(predicted, *given)
    assert first[1:] == again[1:]
    assert first.best > luck_of_the_best(predicted[:1], *given).best
    assert first.accuracy(1, float(first.score(np.full(3, 0.4))[1])) == pytest.approx(0.4)
