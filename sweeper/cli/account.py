"""The account of how a table was read, as the verbs print it, and the arguments that change how it is read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.screens.screen_account import Account


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Arguments that say how a table is read; in a configuration these are keys of `screen`."""
    parser.add_argument(
        "--features", metavar="PATTERN", nargs="+", default=[], help="only columns of these patterns, e.g. 'emb_*'"
    )
    parser.add_argument(
        "--exclude-features", metavar="PATTERN", nargs="+", default=[], help="no column of these patterns"
    )
    parser.add_argument(
        "--missing",
        choices=("refuse", "drop_features", "drop_rows", "median"),
        default="refuse",
        help="what to do with features that lack values (default: refuse)",
    )
    parser.add_argument(
        "--matrix", metavar="NAME", help="of an .h5ad: X, layers/NAME or obsm/KEY; of an .npz: an array (default: X)"
    )
    parser.add_argument(
        "--control-words",
        metavar="WORD=MEANING",
        nargs="+",
        default=[],
        help="what further words of the control column mean: treatment, negative, positive or drop, e.g. empty=drop",
    )
    parser.add_argument("--separator", metavar="MARK", help="between the fields of a CSV; found when left out")
    parser.add_argument("--decimal", choices=(".", ","), help="before a fraction in a CSV; found when left out")


def reading_keys(options: argparse.Namespace) -> dict[str, Any]:
    """Keys of `ScreenSpec` beside path, columns and controls; raises `InputError`."""
    from typing import get_args

    from sweeper.errors import InputError
    from trainers.screens.screen_spec import FeaturePatterns, Meaning

    words: dict[str, str] = {}
    for given in options.control_words:
        word, _, meaning = given.rpartition("=")
        if not word or meaning not in get_args(Meaning):
            raise InputError(f"--control-words {given!r}: expected WORD=MEANING, one of {', '.join(get_args(Meaning))}")
        words[word] = meaning
    if options.separator is not None and len(options.separator) != 1:
        raise InputError(f"--separator {options.separator!r}: expected one character")
    patterns = FeaturePatterns(include=tuple(options.features), exclude=tuple(options.exclude_features))
    return {
        "features": patterns if patterns.include or patterns.exclude else None,
        "missing": options.missing,
        "matrix": options.matrix,
        "control_words": words,
        "separator": options.separator,
        "decimal": options.decimal,
    }


def account_lines(account: Account) -> list[str]:
    """What counts as a feature, what was left out and why, which column says what, and what was done on the way."""
    families = ", ".join(f"{count} {_shown(family)}" for family, count in account.families.items())
    lines = [f"features:  {account.features} ({families})"]
    for reason, names in account.left_out.items():
        lines.append(f"left out:  {len(names)} {reason}: {', '.join(map(_shown, names))}")
    if account.columns:
        lines.append("columns:   " + ", ".join(f"{name} {_shown(column)}" for name, column in account.columns.items()))
    return lines + [f"read:      {note}" for note in account.notes]


def _shown(name: str) -> str:
    """A name of the file for a terminal: what cannot be printed is escaped."""
    return name if name.isprintable() else repr(name)
