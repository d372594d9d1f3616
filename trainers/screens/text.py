"""Columns that describe rows, as text: what a name is, and which words stand for "nothing known"."""

from __future__ import annotations

import numpy as np
import pandas as pd

MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nil"})
"""Words, in small letters, that stand for an absent description (R writes NA, pandas nan, databases null)."""


def as_text(column: pd.Series) -> pd.Series[str]:
    """A column as nullable string with a fresh index: blanks stripped, empty → null, whole numbers without ".0"."""
    plain = column.reset_index(drop=True)
    if isinstance(plain.dtype, pd.CategoricalDtype) and pd.api.types.is_numeric_dtype(plain.cat.categories.dtype):
        plain = plain.astype("Int64" if pd.api.types.is_integer_dtype(plain.cat.categories.dtype) else "float64")
    if pd.api.types.is_float_dtype(plain.dtype):
        values = plain.dropna().to_numpy(dtype=np.float64)
        whole = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2.0**63)
        if whole.all():  # integers with nulls arrive as float
            plain = plain.astype("Int64")
    text = plain.astype("string").str.strip()
    return text.mask(text == "", pd.NA)


def described_text(column: pd.Series) -> pd.Series[str]:
    """As `as_text` for a column that describes (a target, a kind of control): NA and its kin are null, too.

    A name is another matter: a gene, a compound or a batch may be called NA, and `as_text` keeps it.
    """
    text = as_text(column)
    return text.mask(text.str.casefold().isin(MISSING_WORDS).fillna(False).astype(bool), pd.NA)


__all__ = ["MISSING_WORDS", "as_text", "described_text"]
