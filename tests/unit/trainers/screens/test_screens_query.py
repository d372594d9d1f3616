"""Wells selected by comparisons: what pandas would select, and nothing that is code."""

from __future__ import annotations

import pandas as pd
import pytest

from trainers.errors import InputError
from trainers.screens.query import select_rows

TABLE = pd.DataFrame(
    {
        "compound": ["DMSO", "DMSO", "a", "b", None],
        "dose": ["0", "1.5", "2", "", "10"],
        "pert type": ["negcon", "empty", "trt", "trt", "trt"],
    }
)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("compound == 'DMSO'", [0, 1]),
        ('compound == "DMSO" and dose < 1', [0]),
        ("compound in ['a', 'b']", [2, 3]),
        ("compound != 'DMSO'", [2, 3]),
        ("compound not in ('DMSO', 'a')", [3]),
        ("not compound == 'DMSO'", [2, 3, 4]),
        ("(compound == 'a') | (compound == 'b')", [2, 3]),
        ("~(compound == 'DMSO') & (dose >= 2)", [2, 4]),
        ("`pert type` == 'empty' or compound == '`pert type`'", [1]),
        ("dose == 1.5", [1]),
        ("dose > -1 and dose <= 2", [0, 1, 2]),
        ("compound in []", []),
    ],
)
def test_selected_rows(query: str, rows: list[int]) -> None:
    assert select_rows(TABLE, query).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    "query",
    [
        "__import__('os').system('true')",
        "compound.str.len() == 4",
        "compound == __import__('os').sep",
        "compound == [c for c in 'ab'][0]",
        "@pd.eval('1')",
        "compound == f'{1}'",
        "(lambda: True)()",
        "1 == 1",
        "compound",
        "compound == 'a' == 'a'",
        "compound = 'DMSO'",
        "compound == 'DMSO",
        "",
        "(" * 500 + "compound == 'a'" + ")" * 500,
    ],
)
def test_what_is_not_a_comparison_is_refused(query: str) -> None:
    with pytest.raises(InputError, match="expected comparisons such as"):
        select_rows(TABLE, query)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match=r"there is no column 'compund'.*compound"):
        select_rows(TABLE, "compund == 'DMSO'")
    with pytest.raises(InputError, match="has no order"):
        select_rows(TABLE, "compound < 'b'")
