"""Average precisions are those of copairs, to 1e-4, on irregular designs; only ties are counted otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd
from copairs.map import average_precision
from copairs.matching import UnpairedException, assign_reference_index
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.metrics.biological.retrieval import activity_ranking, replicate_ranking
from sweeper.metrics.biological.target import target_consistency
from sweeper.metrics.evaluation import unit_rows


@st.composite
def designs(draw):
    """A small irregular screen: unequal batches, plates, positions and controls; every plate keeps two controls."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = []
    for batch in range(draw(st.integers(1, 3))):
        for plate in range(draw(st.integers(1, 3))):
            size = draw(st.integers(2, 8))
            labels = ["dmso"] * draw(st.integers(2, 4)) + [f"p{i}" for i in rng.integers(0, 4, size)]
            rows += [(f"b{batch}", f"b{batch}/{plate}", f"A{rng.integers(1, 4)}", label) for label in labels]
    wells = pd.DataFrame(rows, columns=["batch", "plate", "well", "perturbation"])
    wells["control_type"] = np.where(wells["perturbation"] == "dmso", "negative", "treatment")
    return wells, rng.normal(size=(len(wells), 5)).astype(np.float32)


def assert_equal_to_copairs(found, meta, features, **pairs):
    """Same queries, M, L, AP and normalised AP as copairs, which clips at -1 and keeps queries without negatives."""
    try:
        table = average_precision(meta, features.astype(np.float64), progress_bar=False, **pairs)
    except UnpairedException:
        assert len(found.queries) == 0
        return
    known = (table["n_pos_pairs"] > 0) & (table["n_total_pairs"] > table["n_pos_pairs"]) & (meta["query"])
    table = table[known]
    np.testing.assert_array_equal(found.queries, table.index)
    np.testing.assert_array_equal(found.positives, table["n_pos_pairs"])
    np.testing.assert_array_equal(found.candidates, table["n_total_pairs"])
    np.testing.assert_allclose(found.precision, table["average_precision"], atol=1e-4)
    normalised = np.maximum(found.normalised, -1)
    np.testing.assert_allclose(normalised, table["normalized_average_precision"], atol=1e-4)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(designs())
def test_activity_equals_copairs(evaluation, drawn):
    wells, features = drawn
    meta = assign_reference_index(wells, "perturbation == 'dmso'", reference_col="reference", default_value=-1)
    found, borrowed = activity_ranking(evaluation(features, wells))
    assert borrowed == 0
    assert_equal_to_copairs(
        found,
        meta.assign(query=meta["perturbation"] != "dmso"),
        features,
        pos_sameby=["perturbation", "reference"],
        pos_diffby=["batch", "well"],
        neg_sameby=["plate"],
        neg_diffby=["perturbation", "reference"],
    )


@settings(max_examples=10, deadline=None, derandomize=True)
@given(designs())
def test_activity_within_a_batch_equals_copairs(evaluation, drawn):
    """Replicates in the same batch, on another plate and at another well position."""
    wells, features = drawn
    meta = assign_reference_index(wells, "perturbation == 'dmso'", reference_col="reference", default_value=-1)
    found, _ = activity_ranking(evaluation(features, wells), within=True)
    assert_equal_to_copairs(
        found,
        meta.assign(query=meta["perturbation"] != "dmso"),
        features,
        pos_sameby=["perturbation", "reference", "batch"],
        pos_diffby=["plate", "well"],
        neg_sameby=["plate"],
        neg_diffby=["perturbation", "reference"],
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(designs())
def test_retrieval_equals_copairs(evaluation, drawn):
    wells, features = drawn
    treated = (wells["perturbation"] != "dmso").to_numpy()
    wells, features = wells[treated].reset_index(drop=True), features[treated]
    assert_equal_to_copairs(
        replicate_ranking(evaluation(features, wells)),
        wells.assign(query=True),
        features,
        pos_sameby=["perturbation"],
        pos_diffby=["batch", "well"],
        neg_sameby=[],
        neg_diffby=["perturbation", "batch", "well"],
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(designs(), st.integers(2, 6))
def test_ties_that_copairs_ranks_positives_first_stand_at_their_expectation_here(evaluation, drawn, kinds):
    """A few distinct rows, each many times: equal where no positive is tied with a negative, else lower here."""
    wells, features = drawn
    treated = (wells["perturbation"] != "dmso").to_numpy()
    wells, features = wells[treated].reset_index(drop=True), features[treated]
    kind = np.arange(len(wells)) % kinds
    rows = features[: min(kinds, len(features))][kind % len(features)]
    found = replicate_ranking(evaluation(rows, wells))
    if not len(found.queries):
        return
    pairs = {"pos_sameby": ["perturbation"], "neg_diffby": ["perturbation", "batch", "well"]}
    table = average_precision(
        wells, rows.astype(np.float64), pos_diffby=["batch", "well"], neg_sameby=[], progress_bar=False, **pairs
    )["average_precision"].to_numpy()[found.queries]
    batch, well, label = (wells[column].to_numpy() for column in ("batch", "well", "perturbation"))
    tied = np.zeros(len(found.queries), dtype=bool)
    for number, query in enumerate(found.queries):
        candidate = (batch != batch[query]) & (well != well[query])
        same = label == label[query]
        tied[number] = np.intersect1d(kind[candidate & same], kind[candidate & ~same]).size > 0
    np.testing.assert_allclose(found.precision[~tied], table[~tied], atol=1e-4)
    assert (found.precision[tied] < table[tied]).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_target_consistency_equals_copairs_on_the_consensus(make_wells, embed, evaluation, seed, targets):
    """Targets of unequal size, one of them with a single perturbation and perturbations without any."""
    rng = np.random.default_rng(seed)
    wells = make_wells(perturbations=14, replicates=1, controls=0)
    number = wells["perturbation"].str[1:].astype(int)
    of = np.r_[0, np.arange(targets), rng.integers(0, targets, 11 - targets), -1, -2]
    wells["target"] = [None if of[i] == -2 else "alone" if of[i] == -1 else f"t{of[i]}" for i in number]
    rows = embed(wells, biology=0.3, seed=seed)
    unit = pd.DataFrame(unit_rows(rows)).groupby(wells["perturbation"]).median()
    meta = wells.groupby("perturbation")[["target"]].first().dropna()
    consensus = unit.loc[meta.index].to_numpy()
    found = target_consistency(evaluation(rows, wells))
    table = average_precision(meta.reset_index(), consensus, ["target"], [], [], ["target"], progress_bar=False)
    scores = table.query("n_pos_pairs > 0").groupby("target")[["average_precision", "normalized_average_precision"]]
    raw, value = scores.mean().mean()
    assert abs(found.raw - raw) < 1e-4
    assert abs(found.value - value) < 1e-4
