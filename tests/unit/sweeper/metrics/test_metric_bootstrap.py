"""Intervals of T and B: weights are what they say, and pairing takes out what two embeddings share."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.metrics.bootstrap import (
    COMPOSITE_METRICS,
    COMPOSITES,
    Difference,
    composite_draws,
    differences,
    interval,
)
from sweeper.metrics.composites import BIOLOGICAL, TECHNICAL
from sweeper.metrics.panel import compared_with_baselines, score_table
from sweeper.metrics.registry import REGISTRY, measure
from sweeper.metrics.resampling import draw_weights, weighted_mean
from sweeper.metrics.technical.variance import explained

PLATES = [name for parts in TECHNICAL.values() for names in parts.values() for name in names]
PERTURBATIONS = [name for names in BIOLOGICAL.values() for name in names]


@pytest.fixture
def whole(make_wells, embed, evaluation):
    wells = make_wells(batches=4, perturbations=10)
    return evaluation(embed(wells, biology=0.6, batch=0.5), wells)


@pytest.mark.parametrize("name", COMPOSITE_METRICS)
def test_units_that_count_once_give_the_value(whole, name):
    measured = REGISTRY[name].function(whole)
    column = "plate" if name in PLATES else "perturbation"
    ones = np.ones((2, whole.count(column)))
    np.testing.assert_allclose(measured.weighted(ones), measured.value, atol=1e-12)
    if column == "plate":  # how often counts, not how much; the AMI has a chance that depends on it
        np.testing.assert_allclose(measured.weighted(3 * ones), measured.value, atol=1e-12)


def test_plates_of_weight_0_are_not_there(whole):
    plate = whole.code("plate")
    kept = np.isin(plate, [0, 1, 3, 4, 6])
    weights = np.isin(np.arange(whole.count("plate")), [0, 1, 3, 4, 6]).astype(float)[None]
    share, _ = explained(whole.test[kept], whole.code("batch")[kept])
    own = REGISTRY["batch_variance"].function(whole)
    expected = 1 - np.clip((share - own.chance) / (1 - own.chance), 0, 1)
    np.testing.assert_allclose(own.weighted(weights)[0], expected, atol=1e-9)
    hit = np.random.default_rng(0).random(len(plate)) < 0.6
    found = weighted_mean(hit.astype(float), plate, whole.count("plate"), whole.code("batch"))(weights)
    batch = whole.code("batch")[kept]
    assert found[0] == pytest.approx(np.mean([hit[kept][batch == code].mean() for code in np.unique(batch)]))


def test_variance_of_plates_that_count_twice_is_that_of_their_wells_twice(whole):
    plate, batch = whole.code("plate"), whole.code("batch")
    weights = draw_weights(whole.count("plate"), 4, seed=(0, 0))
    own = REGISTRY["batch_variance"].function(whole)
    for line, found in zip(weights, own.weighted(weights), strict=True):
        rows = np.repeat(np.arange(len(plate)), line[plate].astype(int))
        share, _ = explained(whole.test[rows], batch[rows])
        assert found == pytest.approx(1 - np.clip((share - own.chance) / (1 - own.chance), 0, 1), abs=1e-9)


def test_retrieval_of_some_perturbations_is_the_mean_of_theirs(whole):
    own = REGISTRY["retrieval_map"].function(whole)
    values = {unit.unit: unit.value for unit in own.units if unit.axis == "perturbation"}
    names = np.unique(whole.test_wells["perturbation"].to_numpy(dtype=str))
    weights = np.array([[2.0 if name in ("p0", "p3") else 0.0 for name in names]])
    assert {"p0", "p3"} <= set(values)
    assert own.weighted(weights)[0] == pytest.approx((values["p0"] + values["p3"]) / 2)


def test_intervals_hold_the_composites_and_narrow_with_more_units(make_wells, embed):
    widths = []
    for perturbations, batches in ((6, 2), (40, 8)):
        wells = make_wells(perturbations=perturbations, batches=batches)
        panel = score_table(embed(wells, biology=0.6, batch=0.5), wells, metrics=COMPOSITE_METRICS)
        found = panel.composites
        for name in ("technical", "biological"):
            low, high = found.intervals[name]
            assert low < getattr(found, name) < high
        assert set(found.intervals) == set(COMPOSITES)
        widths.append([high - low for low, high in found.intervals.values()])
    assert (np.array(widths[1]) < np.array(widths[0])).all()


@pytest.mark.parametrize("metric", ["label_ami", "batch_variance", "retrieval_map"])
def test_draws_lie_about_the_estimate(make_wells, embed, evaluation, metric):
    """Of clusters that are right, too: a perturbation drawn twice must not count as two that share a cluster."""
    wells = make_wells(perturbations=12, batches=4)
    own = evaluation(embed(wells, biology=2.5, batch=0.3), wells)
    names = ["label_ami"] if metric == "label_ami" else [metric, *PLATES] if metric in PLATES else [metric]
    found = measure(own, names)
    role = "technical" if metric in PLATES else "biological"
    draws = composite_draws(own, found).of(role)
    panel = score_table(embed(wells, biology=2.5, batch=0.3), wells, metrics=names)
    value = getattr(panel.composites, role)
    assert draws.mean() == pytest.approx(value, abs=0.01)
    low, high = panel.composites.intervals[role]
    assert low <= value <= high


def test_the_influence_of_a_perturbation_on_clusters_is_what_leaving_it_out_changes(make_wells, embed, evaluation):
    """Against the AMI measured without each perturbation: same sign and size where it matters."""
    wells = make_wells(perturbations=10, batches=3, controls=4)
    rows = embed(wells, biology=0.7)
    whole = REGISTRY["label_ami"].function(evaluation(rows, wells))
    treated = [name for name in sorted(set(wells["perturbation"])) if name != "dmso"]
    names = np.unique(wells["perturbation"])
    weights = np.array([[0.0 if other in (name, "dmso") else 1.0 for other in names] for name in treated])
    drawn = whole.weighted(weights) - whole.value
    left = []
    for name in treated:
        kept = (wells["perturbation"] != name).to_numpy()
        without = REGISTRY["label_ami"].function(evaluation(rows[kept], wells[kept].reset_index(drop=True)))
        left.append(without.value - whole.value)
    assert np.corrcoef(drawn, left)[0, 1] > 0.6
    assert 0.4 < np.std(drawn) / np.std(left) < 2.0


def test_an_interval_of_b_is_as_wide_as_perturbations_make_it(make_wells, embed):
    """Against the spread of B over screens that differ in their perturbations alone: within a factor of 2."""
    wells = make_wells(perturbations=12, batches=3)
    code = np.unique(wells["perturbation"], return_inverse=True)[1]
    values, widths = [], []
    for seed in range(24):
        rng = np.random.default_rng([seed, 55])
        profiles = rng.gamma(1.0, 0.5, 13)[:, None] * rng.normal(size=(13, 16))  # strong and weak ones
        rows = embed(wells, batch=0.2) + np.where(wells["control_type"] == "negative", 0, 1)[:, None] * profiles[code]
        panel = score_table(rows, wells, metrics=PERTURBATIONS)
        values.append(panel.composites.biological)
        low, high = panel.composites.intervals["biological"]
        widths.append((high - low) / 3.92)
    assert 0.5 < np.mean(widths) / np.std(values, ddof=1) < 2.0


def test_the_same_embedding_differs_by_nothing_and_a_corrected_one_by_much(make_wells, embed, evaluation):
    wells = make_wells(perturbations=10)
    rows = embed(wells, biology=0.8, batch=1.5)
    options = {"metrics": COMPOSITE_METRICS}
    raw, better = score_table(rows, wells, **options), score_table(embed(wells, biology=0.8), wells, **options)
    same = differences(raw.composites, raw.draws, raw.composites, raw.draws)
    assert all(of == Difference(0.0, (0.0, 0.0)) for of in same.values())
    gain = differences(better.composites, better.draws, raw.composites, raw.draws)["technical"]
    assert gain.interval[0] > 0
    paired = interval(better.draws.technical - raw.draws.technical)
    assert paired == gain.interval


def test_against_raw_features_and_features_centred_on_controls(make_wells, embed):
    wells = make_wells(perturbations=8)
    reference = embed(wells, biology=0.8, batch=1.0)
    panel = score_table(reference, wells)
    found = compared_with_baselines(panel, reference, wells)
    assert set(found) == {"raw", "plate_control_centred"}
    # z-scores move it a little; the baseline is itself otherwise.
    assert abs(found["raw"]["technical"].value) < 0.1
    centred = found["plate_control_centred"]["technical"]
    assert centred.interval[1] < 0, "centring on controls removes what this batch effect is"
    none = compared_with_baselines(panel, reference, wells.assign(control_type="treatment"))
    assert "no negative controls to centre on" in none["plate_control_centred"]["technical"]
    some = score_table(reference, wells, metrics=["retrieval_map"])
    compared = compared_with_baselines(some, reference, wells)["raw"]
    assert abs(compared["biological"].value) < 0.1
    assert compared["technical"] == "not measured"


def test_two_plates_or_two_perturbations_have_no_interval(make_wells, embed, evaluation):
    wells = make_wells(batches=2, perturbations=2)
    wells = wells[wells["plate"].isin(wells["plate"].unique()[:2])].reset_index(drop=True)
    found = composite_draws(own := evaluation(embed(wells, biology=0.5), wells), measure(own, COMPOSITE_METRICS))
    assert found.intervals() == {}
    assert found.units == {"technical": 2, "biological": 2}
