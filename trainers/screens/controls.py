"""Control types: the words that files have for them, and names that look like controls without being marked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import pandas as pd

from trainers.screens.names import first_few, nearest
from trainers.screens.text import described_text

CONTROL_TYPES = ("treatment", "negative", "positive")
DROP = "drop"
"""What `control_words` may say of a word beside a control type: its rows are left out."""

ControlWords = Mapping[str, str]
"""Word of a file → one of CONTROL_TYPES, or DROP."""

_WORDS = {
    "trt": "treatment",
    "negcon": "negative",
    "negative_control": "negative",  # RxRx1's words
    "positive_control": "positive",
} | {name: name for name in CONTROL_TYPES}
_FLAGS = {"true": "negative", "1": "negative", "yes": "negative", "false": "treatment", "0": "treatment"} | {
    "no": "treatment"
}
_NEGATIVE_NAMES = re.compile(
    r"(dmso|untreated|mock|vehicle|empty|unstained|negative|neg|negcon|nc|ctrl|control|solvent|water|pbs|"
    r"non[ _-]?targeting|scramble[d]?|intergenic)"
    r"([ _.-]?(control|ctrl|well|[\d.,]+ ?%?|\(?[\d.,]+ ?%\)?))*",
    re.IGNORECASE,
)
_CERTAIN = frozenset({"dmso", "untreated", "vehicle", "mock"})
EMBEDDED_CONTROLS = ("EMPTY_control", "CRISPR_control")
"""RxRx3's negative controls, which its tables mark by name alone."""


def control_type(value: str, words: ControlWords = {}) -> str | None:  # noqa: B006 - never changed
    """The control type of a file's word for it (DROP where `words` says so), or None."""
    given = {word.casefold(): meaning for word, meaning in words.items()}
    word = value.casefold()
    if word in given:
        return given[word]
    return "positive" if word.startswith("poscon") else _WORDS.get(word)


def control_types(
    column: str | None,
    values: pd.Series | None,
    perturbation: pd.Series[str],
    negative_controls: Collection[str],
    words: ControlWords,
) -> tuple[pd.Series[str], list[str]]:
    """The control type of every row, and what is wrong, one line each.

    A row counts as treatment where its word is missing. A column that says only "control" is read where all it marks
    are called like negative controls (DMSO). A column named control may hold truth values (cpDistiller): true is
    a negative control.

    Args:
        column: name of the file's column, None where there is none.
        values: (n,) its values.
        perturbation: (n,) perturbations.
        negative_controls: perturbations that are negative controls whatever the column says.
        words: what further words mean.
    """
    existing = sorted(perturbation.dropna().unique())
    problems = [
        f"negative control {name!r} does not exist; {nearest(name, existing)}"
        for name in negative_controls
        if name not in existing
    ]
    named = perturbation.isin(list(negative_controls)).astype(bool)
    if column is None or values is None:
        types = pd.Series("treatment", index=perturbation.index, dtype=object)
        return types.mask(named, "negative"), problems
    text = described_text(values)
    meaning: dict[str, str | None] = {str(value): control_type(str(value), words) for value in text.dropna().unique()}
    if set(map(str.casefold, meaning)) <= set(_FLAGS):
        meaning = {value: _FLAGS[value.casefold()] for value in meaning}
    for value in [value for value, kind in meaning.items() if kind is None and value.casefold() == "control"]:
        if perturbation[(text == value).fillna(False) & ~named].map(_called_negative).all():
            meaning[value] = "negative"
    unknown = sorted(value for value, kind in meaning.items() if kind is None)
    if unknown:
        row = int(text.eq(unknown[0]).fillna(False).to_numpy(dtype=bool).argmax()) + 1
        problems.append(
            f"column {column!r} holds {unknown[0]!r} (first: row {row}); expected trt, negcon, poscon* or "
            f"{', '.join(CONTROL_TYPES)}; say what it means: control_words: {{{unknown[0]}: negative}} "
            f"(or positive, treatment, drop)" + (f"; also {first_few(unknown[1:])}" if unknown[1:] else "")
        )
    types = text.astype(object).map(meaning).fillna("treatment")
    return types.mask(named, "negative"), problems


def lookalikes(perturbation: pd.Series[str], types: pd.Series[str]) -> list[str]:
    """Warnings: perturbations called like a negative control that are none, and spellings that differ in case only."""
    lines: list[str] = []
    negative = set(perturbation[types == "negative"].dropna().unique())
    others = sorted(set(perturbation[types == "treatment"].dropna().unique()))
    stems = {_stem(name) for name in negative}
    alike = [name for name in others if _stem(name) in stems or _CERTAIN & {_stem(name)} or _embedded(name)]
    if alike:
        beside = f" beside {first_few(sorted(negative))}" if negative else ""
        lines.append(
            f"{first_few(alike)} look{'s' if len(alike) == 1 else ''} like a negative control{beside} and "
            f"count{'s' if len(alike) == 1 else ''} as treatment: name in negative_controls what is one"
        )
    if len(negative) > 1:
        by_stem: dict[str, list[str]] = {}
        for name in sorted(negative):
            by_stem.setdefault(_stem(name), []).append(name)
        several = [names for names in by_stem.values() if len(names) > 1]
        lines += [f"{first_few(names)} are negative controls of one kind under {len(names)} names" for names in several]
    return lines


def _stem(name: str) -> str:
    """What is left of a control's name without dose, case and "control": "DMSO_0.1%" → "dmso"."""
    match = _NEGATIVE_NAMES.fullmatch(name.strip())
    return match[1].casefold() if match else name.strip().casefold()


def _embedded(name: str) -> bool:
    return name in EMBEDDED_CONTROLS


def _called_negative(name: object) -> bool:
    return isinstance(name, str) and _NEGATIVE_NAMES.fullmatch(name.strip()) is not None


__all__ = [
    "CONTROL_TYPES",
    "DROP",
    "EMBEDDED_CONTROLS",
    "ControlWords",
    "control_type",
    "control_types",
    "lookalikes",
]
