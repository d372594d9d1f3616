"""The gate refuses collapse of every kind, names what is at fault, and refuses nothing that is only far off."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.metrics.gate import effective_rank, judge, median_cosine, repeated_rows
from trainers.errors import InputError

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(300, 16))
UNITS = 10.0 ** np.linspace(-6, 6, 16)
OFFSETS = RNG.normal(size=16) * UNITS * 100


def one_direction():
    return NOISE[:, :1] * np.arange(1.0, 17.0)


def changed(rows, value, places=((3, 2),)):
    rows = rows.copy()
    for at in places:
        rows[at] = value
    return rows


def still(rows, columns):
    rows = rows.copy()
    rows[:, columns] = 7.0
    return rows


@pytest.mark.parametrize("own_units", [False, True])
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (changed(NOISE, np.nan), ["1 of 300 rows are not finite", "row 4", "column c3"]),
        (changed(NOISE, -np.inf, [(3, 2), (9, 2), (11, 5)]), ["3 of 300", "row 4, row 10, row 12", "c3, column c6"]),
        (np.repeat(NOISE[:150], 2, axis=0), ["150 of 300 rows repeat", "row 2 = row 1", "and 147 more"]),
        (changed(NOISE, 0.0, range(100, 117)), ["16 of 300 rows repeat", "row 102 = row 101"]),
        (np.ones((300, 16)), ["rows repeat"]),
        (1e4 + 1e-2 * NOISE, ["all 16 columns are constant"]),
        (one_direction(), ["effective rank is 1.00, below 2.00"]),
        (one_direction()[:, :2], ["effective rank is 1.00, below 1.50"]),
        (one_direction() + 0.1 * NOISE, ["effective rank", "one direction, of column c"]),
        (still(NOISE, slice(1, None)), ["effective rank", "of column c1;", "15 of 16 columns are constant (column c2"]),
    ],
)
def test_collapse_is_named_with_its_rows_or_columns(rows, words, own_units):
    names = [f"column c{number + 1}" for number in range(rows.shape[1])]
    found = judge(np.asarray(rows, dtype=np.float32), own_units=own_units, columns=names).collapsed
    assert found is not None
    assert found.startswith("collapsed: ")
    assert [word for word in words if word not in found] == []


@pytest.mark.parametrize("dimensions", [2, 3, 16])
@pytest.mark.parametrize("own_units", [False, True])
def test_noise_passes(dimensions, own_units):
    assert judge(NOISE[:, :dimensions], own_units=own_units) == (None, ())


@pytest.mark.parametrize("offset", [0.0, 10.0, 5000.0])
def test_where_the_cloud_lies_is_no_collapse(offset):
    assert judge((offset + NOISE).astype(np.float32)) == (None, ())


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (NOISE * UNITS, ["standard deviations go from"]),
        (NOISE * UNITS + OFFSETS, ["standard deviations go from"]),
        (NOISE + 1000, ["they lie far from zero"]),
    ],
)
def test_features_in_their_own_units_are_scored_with_a_note(rows, words):
    """The same rows from an encoder, whose dimensions share a unit, have collapsed where one outgrew the others."""
    collapsed, notes = judge(rows.astype(np.float32), own_units=True)
    assert collapsed is None
    assert len(notes) == 1
    assert "not standardised" in notes[0]
    assert [word for word in words if word not in notes[0]] == []
    lone = judge((NOISE * UNITS).astype(np.float32), own_units=False).collapsed
    assert lone is not None
    assert "of dimension 16" in lone


@pytest.mark.parametrize("repeats", [1, 5, 15])
def test_a_few_repeated_rows_are_named_and_scored(repeats):
    rows = NOISE.copy()
    rows[100 : 100 + repeats] = rows[:repeats]
    collapsed, notes = judge(rows)
    assert collapsed is None
    assert len(notes) == 1
    assert notes[0].startswith(f"{repeats} row")
    assert "row 101 = row 1" in notes[0]


def test_zero_rows_are_named():
    notes = judge(changed(NOISE, 0.0, [3, 5, 7, 9]), row_name=lambda row: f"P1 A{row:02d}").notes
    assert notes == (
        "3 rows repeat an earlier one exactly (P1 A05 = P1 A03, P1 A07 = P1 A03, P1 A09 = P1 A03)",
        "4 of 300 rows are zero (P1 A03, P1 A05, P1 A07 and 1 more)",
    )


def test_an_encoder_of_eight_classes_passes():
    """Tight classes at the corners of a simplex have effective rank 7."""
    centres = np.eye(8, 64)
    rows = np.repeat(centres - centres.mean(axis=0), 40, axis=0) + 0.003 * RNG.normal(size=(320, 64))
    assert effective_rank(rows) == pytest.approx(7, abs=0.2)
    assert judge(rows) == (None, ())


def test_repeated_rows_point_at_the_first():
    assert repeated_rows(np.array([[2.0], [1.0], [2.0], [3.0], [1.0], [2.0]])) == [(2, 0), (4, 1), (5, 0)]


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
        judge(np.zeros(shape))
