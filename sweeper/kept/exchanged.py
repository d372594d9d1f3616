"""Names exchanged: does a unit fit the training units better where the features of two channels trade their names?

Two channels may lie within a unit of each other, so that no distance sees them exchanged; but then the unit fits better
once they are exchanged back, and a unit as it should be fits worse. Asked only of words that every training unit tells
apart, by a margin that a further unit of their kind keeps.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeper.kept.distances import Structure

FEWEST_NAMES = 4
"""Features that two words share, below which they are no families."""
MOST_PAIRS = 64
"""Pairs of words that are asked about, those that share most features first."""
LEVEL = 0.95
"""One-sided level of the limit that a further unit keeps."""
ROWS = 512
"""Of a training unit, of which a margin is taken; evenly spaced."""
_WORD = re.compile(r"[^\W_]+")
Order = NDArray[np.int64]


@dataclass(frozen=True)
class Exchange:
    """Two words of features' names that trade places.

    Attributes:
        words: e.g. ("AGP", "DNA").
        alone: names with a further word of their kind ("corr_AGP_ER") keep theirs: a slip in naming the columns of a
            channel leaves them, one in the order of the channels does not.
    """

    words: tuple[str, str]
    alone: bool


def exchanges(names: Sequence[str]) -> dict[Exchange, Order]:
    """Those of words, numbers apart, that make each other's names of `FEWEST_NAMES` features or more.

    With the (d,) place of the feature that each one is afterwards: its own where it has no counterpart.
    """
    templates: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for name in names:
        for found in _WORD.finditer(name):
            if not found[0].isdigit():
                templates[name[: found.start()], name[found.end() :]].add(found[0])
    counts = Counter(pair for words in templates.values() for pair in combinations(sorted(words), 2))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    pairs = [pair for pair, count in ranked if count >= FEWEST_NAMES][:MOST_PAIRS]
    kin: defaultdict[str, set[str]] = defaultdict(set)
    for one, other in pairs:
        kin[one].add(other)
        kin[other].add(one)
    found_orders = {}
    for pair in pairs:
        kind = kin[pair[0]] | kin[pair[1]]
        single = [len(kind.intersection(_WORD.findall(name))) == 1 for name in names]
        found_orders[Exchange(pair, alone=True)] = _order(names, pair, single)
        if not all(single):
            found_orders[Exchange(pair, alone=False)] = _order(names, pair, [True] * len(names))
    return found_orders


def _order(names: Sequence[str], words: tuple[str, str], moves: Sequence[bool]) -> Order:
    places = {name: place for place, name in enumerate(names) if moves[place]}
    other = {words[0]: words[1], words[1]: words[0]}
    moved = (_WORD.sub(lambda found: other.get(found[0], found[0]), name) for name in names)
    return np.array([places.get(new, at) if moves[at] else at for at, new in enumerate(moved)], np.int64)


def told_apart(features: NDArray[Any], units: NDArray[Any], names: Sequence[str]) -> dict[Exchange, float]:
    """Exchanges that training units tell from their own order, each unit held against the others; none below three.

    With the log of how much worse a unit fits after it, at the least; above 0.

    Args:
        features: (n, d) as they came; units: (n,) the unit of each row.
    """
    known, orders = np.unique(units), exchanges(names)
    if len(known) < 3:
        return {}
    worse: dict[Exchange, list[float]] = {exchange: [] for exchange in orders}
    for name in known:
        own = np.flatnonzero(units == name)
        structure = Structure.of(np.delete(features, own, axis=0), np.delete(units, own))
        some = features[own[:: -(-len(own) // ROWS)]]
        as_it_is = structure.distance(some)
        for exchange, order in orders.items():
            worse[exchange].append(math.log(structure.distance(some, order) / as_it_is))
    reach = float(stdtrit(len(known) - 1, LEVEL)) * math.sqrt(1 + 1 / len(known))
    return {
        exchange: min(found)
        for exchange, found in worse.items()
        if min(found) > 0 and np.mean(found) > reach * np.std(found, ddof=1)
    }


def explaining_exchange(
    known: Mapping[Exchange, float], structure: Structure, features: NDArray[Any], names: Sequence[str], within: float
) -> tuple[Exchange, float] | None:
    """The exchange after which (n, d) rows fit best, and how many times better than as they came.

    None where they fit best as they came, or lie beyond the distance `within` even so: it would explain nothing.
    """
    orders = exchanges(names)
    distances = {exchange: structure.distance(features, orders[exchange]) for exchange in known if exchange in orders}
    best = min(distances, key=lambda exchange: distances[exchange], default=None)
    as_it_is = structure.distance(features)
    if best is None or distances[best] >= as_it_is or distances[best] > within:
        return None
    return best, as_it_is / distances[best]


__all__ = ["Exchange", "exchanges", "explaining_exchange", "told_apart"]
