"""Targets as sets: order does not matter, one target each changes nothing, a shared one counts."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.metrics.biological.target import nsc_accuracy, nscb_accuracy, target_consistency, target_recall
from sweeper.metrics.biological.target_sets import count_targets, split_targets, target_sets

METRICS = [target_consistency, target_recall, nsc_accuracy, nscb_accuracy]


def test_what_a_text_names() -> None:
    assert split_targets("B | A|") == split_targets("A|B") == {"A", "B"}
    found = target_sets(np.array(["A|B", "C", "B|A", "A", "|"]))
    assert found.members[found.code[0]] == found.members[found.code[2]]
    shared = found.shared[np.ix_(found.code, found.code)]
    expected = np.eye(5, dtype=bool)
    for one, other in ((0, 2), (0, 3), (2, 3)):
        expected[one, other] = expected[other, one] = True
    np.testing.assert_array_equal(shared, expected)
    places, targets = found.by_target(np.array([0, 1, 3]))
    assert places.tolist() == [0, 0, 1, 2]
    assert targets[0] == targets[3] != targets[1]


@pytest.mark.parametrize("metric", METRICS)
def test_order_and_blanks_do_not_matter(metric, make_wells, embed, evaluation) -> None:
    wells = make_wells()
    rows = embed(wells, biology=1.0, batch=0.5)
    several = wells["target"].where(wells["target"].isna(), wells["target"] + "|common of " + wells["target"].str[-1])
    turned = several.map(lambda text: text if text is None or text != text else " | ".join(text.split("|")[::-1]))
    mixed = several.where(np.arange(len(wells)) % 2 == 0, turned)
    found = [metric(evaluation(rows, wells.assign(target=column))) for column in (several, turned, mixed)]
    assert found[0].value is not None
    assert found[0].value == found[1].value == found[2].value


@pytest.mark.parametrize("metric", METRICS)
def test_a_second_target_that_nobody_shares_only_counts_as_a_target(metric, make_wells, embed, evaluation) -> None:
    """Matches are those of the first target; a mean over targets counts the further ones beside it."""
    wells = make_wells()
    rows = embed(wells, biology=1.0, batch=0.5)
    alone = wells["target"].where(wells["target"].isna(), wells["target"] + "|only " + wells["perturbation"])
    plain, found = (metric(evaluation(rows, wells.assign(target=column))) for column in (wells["target"], alone))
    if metric is target_recall:
        assert found.value == plain.value
    else:
        assert found.raw == pytest.approx(plain.raw, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_a_target_of_all_tells_nothing_apart_and_equal_sets_count(metric, make_wells, embed, evaluation) -> None:
    wells = make_wells()
    rows = embed(wells, biology=1.0, batch=0.5)
    everywhere = wells["target"].where(wells["target"].isna(), wells["target"] + "|x")
    plain, found = (metric(evaluation(rows, wells.assign(target=column))) for column in (wells["target"], everywhere))
    assert (found.value, found.raw) == (plain.value, plain.raw)
    assert (plain.reason, found.reason) == (
        None,
        "any two perturbations share a target: equal sets of targets count instead",
    )
    assert count_targets(everywhere) == count_targets(wells["target"]) + 1


def test_a_shared_target_makes_a_pair(make_wells, embed, evaluation) -> None:
    """Of 8 perturbations in 4 pairs one pair gets a second target of another: 4 more pairs are known."""
    wells = make_wells()
    crossed = wells["target"].replace({"t0": "t0|t1"})
    embedding = embed(wells, biology=1.0)
    known = []
    for column in (wells["target"], crossed):
        found = target_sets(column[wells["target"].notna()].groupby(wells["perturbation"]).first().to_numpy(dtype=str))
        shared = found.shared[np.ix_(found.code, found.code)]
        known.append(int(np.triu(shared, 1).sum()))
        assert target_recall(evaluation(embedding, wells.assign(target=column))).value is not None
    assert known == [4, 8]
