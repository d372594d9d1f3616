"""The gate refuses collapse of every kind, and nothing that is only small or well separated."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.metrics.gate import effective_rank, gate, median_cosine
from trainers.errors import InputError

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(300, 16))


def one_direction():
    return NOISE[:, :1] * np.arange(1.0, 17.0)


def changed(rows, value):
    rows = rows.copy()
    rows[3] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (changed(NOISE, np.nan), "1 of 300 rows are not finite"),
        (changed(NOISE, np.inf), "1 of 300 rows are not finite"),
        (changed(NOISE, 0.0), "1 of 300 rows are zero"),
        (np.repeat(NOISE[:150], 2, axis=0), "50.0% of the rows are duplicates"),
        (np.ones((300, 16)), "duplicates"),
        (10 + 0.01 * NOISE, "median cosine"),
        (one_direction(), "effective rank is 1.00, below 2.00"),
        (one_direction()[:, :2], "effective rank is 1.00, below 1.50"),
        (one_direction() + 0.1 * NOISE, "effective rank"),
    ],
)
def test_collapse_is_named(rows, reason):
    found = gate(rows.astype(np.float32))
    assert found is not None
    assert found.startswith("collapsed: ")
    assert reason in found


@pytest.mark.parametrize("dimensions", [2, 3, 16])
def test_noise_passes(dimensions):
    assert gate(NOISE[:, :dimensions]) is None


def test_an_encoder_of_eight_classes_passes():
    """Tight classes at the corners of a simplex have effective rank 7, with or without a reference of high rank."""
    centres = np.eye(8, 64)
    rows = np.repeat(centres - centres.mean(axis=0), 40, axis=0) + 0.003 * RNG.normal(size=(320, 64))
    assert effective_rank(rows) == pytest.approx(7, abs=0.2)
    assert gate(rows) is None
    assert gate(rows, reference=RNG.normal(size=(320, 64))) is None


def test_a_reference_raises_the_rank_asked_for_and_excuses_its_own_duplicates():
    plane = RNG.normal(size=(300, 3)) @ RNG.normal(size=(3, 64))
    reference = RNG.normal(size=(300, 64))
    assert gate(plane) is None
    assert "below" in (gate(plane, reference=reference) or "")
    doubled = np.repeat(NOISE[:150], 2, axis=0)
    assert gate(doubled, reference=doubled) is None


def test_effective_rank_of_known_spectra():
    """k orthogonal directions of equal variance have rank k; shares 3/4 and 1/4 have exp(entropy)."""
    axes = np.concatenate([np.eye(5, 9), -np.eye(5, 9)])
    assert effective_rank(axes) == pytest.approx(5)
    two = np.array([[3**0.5, 0], [-(3**0.5), 0], [0, 1], [0, -1.0]])
    assert effective_rank(two) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    assert effective_rank(np.full((10, 3), 0.1)) == 0


def test_median_cosine_looks_at_pairs_of_different_rows():
    assert median_cosine(np.eye(4)) == 0
    assert median_cosine(np.repeat(np.eye(4), 600, axis=0)) == pytest.approx(0)


@pytest.mark.parametrize("shape", [(2, 4), (10, 0), (10,)])
def test_too_few_rows_are_an_input_error(shape):
    with pytest.raises(InputError, match="gate"):
        gate(np.zeros(shape))
