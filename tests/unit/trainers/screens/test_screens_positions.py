from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.screens.names import first_few, nearest
from trainers.screens.positions import parse_index, parse_well, row_letters, row_number, well_name


@pytest.mark.parametrize(
    ("name", "position"),
    [("B01", (2, 1)), ("b1", (2, 1)), ("P24", (16, 24)), ("AA01", (27, 1)), ("AF48", (32, 48)), ("Z9", (26, 9))],
)
def test_well_names_of_every_plate_layout(name: str, position: tuple[int, int]) -> None:
    assert parse_well(name) == position


@pytest.mark.parametrize("name", ["", "B", "01", "B00", "slide_7", "AAA01", "B123", "B-01", " B01"])
def test_other_names_are_no_positions(name: str) -> None:
    assert parse_well(name) is None


@given(st.integers(1, 702), st.integers(1, 99))
def test_a_position_survives_its_name(row: int, column: int) -> None:
    assert parse_well(well_name(row, column)) == (row, column)
    assert row_number(row_letters(row)) == row


@pytest.mark.parametrize(
    ("text", "number"),
    [("B", 2), ("aa", 27), ("7", 7), ("7.0", 7), ("0", None), ("1.5", None), ("x7", None), ("nan", None)],
)
def test_rows_given_as_letters_or_numbers(text: str, number: int | None) -> None:
    assert parse_index(text) == number


def test_messages_name_the_nearest() -> None:
    assert nearest("metadata_batch", ["Metadata_Batch", "Other"]) == "nearest: 'Metadata_Batch'"
    assert nearest("zzz", ["Area", "Count"]) == "existing: 'Area', 'Count'"
    assert nearest("zzz", []) == "there are none"
    assert first_few("abcde") == "'a', 'b', 'c' and 2 more"
    assert first_few("ab") == "'a', 'b'"
