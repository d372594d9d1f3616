"""The whole panel on designs of every kind: a finite number or a reason, never an exception, never a warning."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.metrics.panel import score_table
from sweeper.metrics.registry import REGISTRY
from trainers.errors import InputError


@st.composite
def tables(draw):
    """3 … 60 wells with labels drawn at random: singletons, nesting, no controls, no targets, repeated rows."""
    n = draw(st.integers(3, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    batch = rng.integers(0, draw(st.integers(1, 5)), n)
    perturbation = rng.integers(0, draw(st.integers(1, 30)), n)
    if draw(st.booleans()):
        perturbation = perturbation * 10 + batch  # nested: a perturbation is in one batch
    wells = pd.DataFrame(
        {
            "batch": [f"b{number}" for number in batch],
            "plate": [f"b{number}/{plate}" for number, plate in zip(batch, rng.integers(0, 3, n), strict=True)],
            "well": [f"{'ABCDEFGH'[number % 8]}{number // 8 + 1:02d}" for number in rng.integers(0, 96, n)],
            "perturbation": [f"p{number}" for number in perturbation],
        }
    )
    if draw(st.booleans()):
        wells["control_type"] = np.where(perturbation % 5 == 0, "negative", "treatment")
    if draw(st.booleans()):
        wells["target"] = [None if number % 7 == 0 else f"t{number % 4}" for number in perturbation]
    features = rng.normal(size=(n, draw(st.integers(2, 12)))) * 10.0 ** draw(st.integers(-6, 6))
    return features, wells


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(tables())
def test_a_number_or_a_reason(table):
    panel = score_table(*table)
    if panel.status == "collapsed":
        assert panel.reason.startswith("collapsed: ")
        assert panel.rows == ()
        return
    assert [row["metric"] for row in panel.rows] == list(REGISTRY)
    for row in panel.rows:
        if row["value"] is None:
            assert row["reason"], row["metric"]
        else:
            numbers = [row[key] for key in ("value", "floor", "ceiling", "raw", "chance")]
            assert all(math.isfinite(number) for number in numbers), row
            assert row["floor"] <= row["ceiling"], row
            assert row["value"] <= 1 + 1e-9, row


@pytest.mark.slow
def test_scale_does_not_matter(make_wells, embed):
    wells = make_wells(controls=12)
    rows = embed(wells, biology=0.5, batch=0.5).astype(float)
    for factor in (1e-4, 1e4):
        for one, other in zip(score_table(rows, wells).rows, score_table(factor * rows, wells).rows, strict=True):
            assert one["metric"] == other["metric"]
            if one["value"] is not None:
                assert one["value"] == pytest.approx(other["value"], abs=0.02), one["metric"]


def test_a_table_that_does_not_fit(make_wells, embed):
    wells = make_wells()
    rows = embed(wells)
    with pytest.raises(InputError, match="features have shape"):
        score_table(rows[1:], wells)
    with pytest.raises(InputError, match="wells lack the columns"):
        score_table(rows, wells.drop(columns="plate"))
    broken = rows.copy()
    broken[7, 3] = np.nan
    with pytest.raises(InputError, match="embedding: value at row 7, column 3 is not finite"):
        score_table(broken, wells)
    with pytest.raises(InputError, match="reference: value at row 7, column 3 is not finite"):
        score_table(rows, wells, reference=broken)
    with pytest.raises(InputError, match=r"reference: shape \(159, 16\); expected \(160 rows"):
        score_table(rows, wells, reference=rows[1:])
    with pytest.raises(InputError, match=r"unknown metric 'ilis'; nearest: .*ilisi"):
        score_table(rows, wells, metrics=["ilis"])
    with pytest.raises(InputError, match="n ≥ 3"):
        score_table(rows[:2], wells[:2])
