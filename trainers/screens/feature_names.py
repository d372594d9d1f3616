"""What a column's name says: bookkeeping of the pipelines that wrote it, or one of a family of features."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

_ROW_NUMBER = re.compile(
    r"__index_level_\d+__|__null_dask_index__|Unnamed: ?\d+(_level_\d+)?|level_\d+|index|rownames?|"
    r"row[_ ]?(id|idx|index|nr|num|number)",
    re.IGNORECASE,
)
_BOOKKEEPING: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("row numbers", _ROW_NUMBER),
    (
        "ids and numbers of objects",
        re.compile(
            r"(.*_)?(ImageNumber|ObjectNumber|TableNumber|Object_Number|Object_ID|ObjectID|Parent_.*|TrackObjects_.*)"
            r"|.*_(First|Second)ClosestObjectNumber(_.*)?|(.*[_ .])?(id|ID)|[A-Za-z]+Id|uuid|barcode|label"
        ),
    ),
    (
        "coordinates",
        re.compile(
            r"(.*_)?Location_.*|.*_AreaShape_(Center|BoundingBox(Minimum|Maximum))_[XYZ](_.*)?"
            r"|(.*[_ .-])?(center|centroid|coords?|coordinates?|pos|position|bbox)[_ .-]?[xyz0-2](min|max)?|[xyzXYZ]"
            r"|(.*[_ .])?([Cc]ent(er|re)|[Cc]entroid|[Pp]osition)[XYZ]",
        ),
    ),
    (
        "counts",
        re.compile(
            r"(Image_)?Count_.*|.*_Children_.*_Count|(n|nr|num|number_of|total)_?(cells|nuclei|objects|fields|images|sites)"
            r"|(cells?|nucle(i|us)|cytoplasms?|objects?|fields?|images?|sites?|wells?)_?counts?",
            re.IGNORECASE,
        ),
    ),
    (
        "bookkeeping of images",
        re.compile(
            r"Image_(?!(Granularity|Intensity|Texture|Correlation|Colocalization|ImageQuality|AreaOccupied)_).*"
            r"|(FileName|PathName|URL|MD5Digest|Width|Height|Scaling|ExecutionTime|ModuleError|Group|Series|Frame)_.*"
        ),
    ),
    (
        "what describes a row (name such columns Metadata_*)",
        re.compile(
            r"batch|plate|well|row|col|column|site|field|fov|dose|conc|concentration|time|time_?point|passage|"
            r"replicate|rep|seed|fold|split|cluster|(.*_)?qc|(.*_)?qc_flag",
            re.IGNORECASE,
        ),
    ),
)
_COMPARTMENTS = re.compile(r"(Cells?|Nucle(?:i|us)|Cytoplasm|Image)_.+")
_CATEGORIES = re.compile(
    r"([A-Za-z][A-Za-z0-9]*)_(AreaShape|Intensity|Texture|RadialDistribution|Granularity|Correlation|Neighbors|"
    r"Colocalization|ObjectSkeleton)_.+"
)
_NUMBERED = re.compile(r"(.*?)[_ .:-]?\[?(\d+)\]?")
_TOKENS = re.compile(r"[_ .:/-]+")
_FEWEST = 3  # as many numbered names make a family


def bookkeeping(name: str) -> str | None:
    """Why a column of this name is no feature; None where its name does not say so."""
    return next((reason for reason, pattern in _BOOKKEEPING if pattern.fullmatch(name)), None)


def compartment(name: str) -> str | None:
    """The object that a CellProfiler feature was measured on ("Cells"); None for a name of another kind."""
    match = _COMPARTMENTS.fullmatch(name) or _CATEGORIES.fullmatch(name)
    return match[1] if match else None


def numbered_families(names: Sequence[str]) -> dict[str, str]:
    """Column → its family, for names that differ in a number only: "feature_12" → "feature_*", "7" → "*".

    A family has at least 3 columns, and its numbers reach at most a hundredfold as far as there are columns: selected
    features leave gaps, years and barcodes are no numbering.
    """
    stems: dict[str, list[tuple[str, int]]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match and len(match[2]) <= 9:
            stems.setdefault(name[: match.start(2)], []).append((name, int(match[2])))
    found: dict[str, str] = {}
    for stem, members in stems.items():
        numbers = sorted({number for _, number in members})
        if len(numbers) >= _FEWEST and numbers[-1] - numbers[0] < 100 * len(numbers):
            found |= {name: f"{stem}*" for name, _ in members}
    return found


def akin(names: Collection[str], others: Collection[str]) -> frozenset[str]:
    """Names that begin or end with the same word as 2 of the others: AGP_sat_low beside AGP_mean and AGP_std."""
    first: Counter[str] = Counter()
    last: Counter[str] = Counter()
    for other in others:
        words = _TOKENS.split(other)
        first[words[0]] += 1
        last[words[-1]] += 1
    split = {name: _TOKENS.split(name) for name in names}
    return frozenset(
        name for name, words in split.items() if len(words) > 1 and max(first[words[0]], last[words[-1]]) >= 2
    )


__all__ = ["akin", "bookkeeping", "compartment", "numbered_families"]
