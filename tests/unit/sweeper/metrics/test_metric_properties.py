"""What holds for every metric without a random part in its raw number: rows, names and axes do not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.metrics.registry import REGISTRY, measure

DETERMINISTIC = (
    "batch_mixing_bras",
    "activity_map",
    "within_batch_activity",
    "retrieval_map",
    "nn_accuracy",
    "nsc_accuracy",
    "nscb_accuracy",
    "target_retrieval_map",
    "pasw",
    "asw_batch",
    "tasw_batch",
    "tasw_row",
    "tasw_column",
    "ilisi",
    "cilisi",
    "kbet_controls",
    "graph_connectivity",
    "graph_connectivity_directed",
    "batch_variance",
    "plate_variance",
    "pcr",
)
"""Their raw numbers read distances and angles alone; floors and ceilings are drawn."""
BY_COORDINATE = ("target_consistency", "target_recall")
"""A median by coordinate stands before the angles: these know their axes."""
SHARES = tuple(name for name in DETERMINISTIC if not name.startswith("tasw"))

few = settings(max_examples=6, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def screen(make_wells, embed, seed):
    """Unbalanced wells of a small screen and an embedding of random strength."""
    rng = np.random.default_rng(seed)
    wells = make_wells(batches=int(rng.integers(2, 5)), controls=8, seed=seed)
    wells = wells.iloc[np.sort(rng.choice(len(wells), int(0.9 * len(wells)), replace=False))].reset_index(drop=True)
    strength = dict(zip(("biology", "batch"), rng.uniform(0, 1.5, 2), strict=True))
    return rng, wells, embed(wells, e=12, seed=seed, **strength)


def raw(evaluation, names=DETERMINISTIC):
    return {metric.name: found.raw for metric, found in measure(evaluation, names)}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    known = [name for name, value in expected.items() if value is not None]
    assert len(known) > len(expected) // 2
    assert all(found[name] is None for name in expected if name not in known)
    np.testing.assert_allclose([found[name] for name in known], [expected[name] for name in known], atol=1e-5)


@pytest.mark.slow
@few
@given(seeds)
def test_the_order_of_rows_does_not_matter(make_wells, embed, evaluation, seed):
    rng, wells, rows = screen(make_wells, embed, seed)
    order = rng.permutation(len(rows))
    names = DETERMINISTIC + BY_COORDINATE
    shuffled = evaluation(rows[order], wells.iloc[order].reset_index(drop=True))
    assert_same(raw(shuffled, names), raw(evaluation(rows, wells), names))


@few
@given(seeds)
def test_names_do_not_matter(make_wells, embed, evaluation, seed):
    rng, wells, rows = screen(make_wells, embed, seed)
    renamed = wells.copy()
    for column in ("batch", "plate", "perturbation", "target"):
        names = wells[column].dropna().unique()
        renamed[column] = wells[column].map(dict(zip(names, rng.permutation(names), strict=True)))
    names = DETERMINISTIC + BY_COORDINATE
    assert_same(raw(evaluation(rows, renamed), names), raw(evaluation(rows, wells), names))


@few
@given(seeds)
def test_rotation_and_scale_do_not_matter(make_wells, embed, evaluation, seed):
    rng, wells, rows = screen(make_wells, embed, seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    turned = (3.0 * rows.astype(np.float64) @ rotation).astype(np.float32)
    assert_same(raw(evaluation(turned, wells)), raw(evaluation(rows, wells)))


@pytest.mark.slow
@few
@given(seeds)
def test_raw_numbers_and_values_stay_in_their_range(make_wells, embed, evaluation, seed):
    _, wells, rows = screen(make_wells, embed, seed)
    whole = evaluation(rows, wells)
    found = {metric.name: measured for metric, measured in measure(whole, tuple(REGISTRY))}
    for name, measured in found.items():
        numbers = (measured.value, measured.raw, measured.chance, measured.floor, measured.ceiling)
        assert all(math.isfinite(number) for number in numbers if number is not None), name
        assert (measured.value is not None) or measured.reason, name
        assert measured.value is None or measured.value <= 1 + 1e-9, name
    for name in SHARES:
        assert found[name].raw is None or -1e-9 <= found[name].raw <= 1 + 1e-9, name
    for name in ("tasw_batch", "tasw_row", "tasw_column"):
        assert -1 <= found[name].raw <= 1
