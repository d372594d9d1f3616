"""What the ladder found: plain accuracy by rung, on the batches that select, on those that test, and in distribution.

An accuracy on several batches is the share over their rows together, as WILDS pools its images. Everything is averaged
over seeds, with their standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from sweeper.metrics.catalogue import PLAIN_ACCURACIES

if TYPE_CHECKING:
    from sweeper.arms.rungs import ResolvedRung

PLAIN, IN_DISTRIBUTION = PLAIN_ACCURACIES
VALIDATION, TEST, INSIDE, GAP = "validation", "test", "in_distribution", "gap"
"""Batches that select, batches that test, batches of training, and the drop from the last to the second."""


@dataclass(frozen=True)
class Score:
    """Mean and sample standard deviation (None for one) over `seeds` runs."""

    mean: float
    sd: float | None
    seeds: int


@dataclass(frozen=True, kw_only=True)
class RungScore:
    """A rung at one strength.

    Attributes:
        scores: `VALIDATION`, `TEST`, `INSIDE` and `GAP` (in distribution minus test), of those measured.
        by_cell_type: the test by cell type, of those tested.
        done, planned: cells with a panel, and all.
        selected: whether it is the rung's best strength on the selecting batches.
    """

    rung: str
    adversarial_weight: float
    margin: float
    scores: Mapping[str, Score]
    by_cell_type: Mapping[str, Score]
    done: int
    planned: int
    selected: bool


@dataclass(frozen=True, kw_only=True)
class LadderTable:
    """The ladder from the bottom.

    Attributes:
        view: scored in.
        rungs: every rung and strength, in order.
        best: name of the rung that is best on the selecting batches; "" where none was measured.
        classes: number of classes the heads chose from; None where nothing was measured.
        rows: rows tested.
        selects, tests: batches that select, and that test.
        unit: what a row is: "image", or "row" of a table of profiles.
    """

    view: str
    rungs: tuple[RungScore, ...]
    best: str
    classes: int | None
    rows: int
    selects: tuple[str, ...]
    tests: tuple[str, ...]
    unit: str

    @property
    def cell_types(self) -> tuple[str, ...]:
        """Cell types with a test score, sorted; none where there is one alone."""
        found = sorted({name for rung in self.rungs for name in rung.by_cell_type})
        return tuple(found) if len(found) > 1 else ()


def ladder_table(
    rungs: Sequence[ResolvedRung],
    units: pd.DataFrame,
    results: pd.DataFrame,
    *,
    view: str,
    parts: Mapping[str, str],
    cell_types: Mapping[str, str],
    seeds: int,
    unit: str,
) -> LadderTable:
    """The ladder's numbers.

    Args:
        rungs: from the bottom.
        units: as `sweeper.store.results.units`.
        results: the tidy table.
        view: scored in.
        parts: held-out batch → `VALIDATION` or `TEST`.
        cell_types: batch → cell type, of batches with a single one.
        seeds: how many were planned.
        unit: what a row is.
    """
    trainers = [rung.trainer for rung in rungs]
    mine = units[(units["view"] == view) & (units["axis"] == "batch") & units["trainer"].isin(trainers)]
    mine = mine[mine["metric"].isin(PLAIN_ACCURACIES)]
    mine = mine.assign(**{name: mine[name].astype(str) for name in ("trainer", "metric", "unit")})
    inside = mine["metric"] == IN_DISTRIBUTION
    mine["part"] = mine["unit"].map(parts).mask(inside, INSIDE)
    mine["cell_type"] = mine["unit"].map(cell_types)
    mine["hits"] = mine["value"].astype("float64") * mine["wells"]
    found = []
    for rung in rungs:
        own = mine[mine["trainer"] == rung.trainer]
        scored = []
        for weight, margin in rung.strengths:
            at = own[own["adversarial_weight"] == weight]
            scores = {str(part): _score(of) for part, of in at.groupby("part", sort=True)}
            tested = at[at["part"] == TEST]
            types = {str(name): _score(of) for name, of in tested.groupby("cell_type", sort=True)}
            if gap := _gap(at):
                scores[GAP] = gap
            done = int(at.loc[at["metric"] == PLAIN, "cell_id"].nunique())
            scored.append((weight, margin, scores, types, done))
        measured = [entry for entry in scored if VALIDATION in entry[2]]
        best = max(measured, key=lambda entry: entry[2][VALIDATION].mean, default=None)  # the first, smallest λ of ties
        found += [
            RungScore(
                rung=rung.name,
                adversarial_weight=entry[0],
                margin=entry[1],
                scores=entry[2],
                by_cell_type=entry[3],
                done=entry[4],
                planned=seeds,
                selected=entry is best,
            )
            for entry in scored
        ]
    chosen = [rung for rung in found if rung.selected]
    top = max(chosen, key=lambda rung: rung.scores[VALIDATION].mean, default=None)
    chance = results.loc[results["trainer"].isin(trainers) & (results["metric"] == PLAIN), "chance"].dropna()
    one_run = mine[(mine["part"] == TEST) & (mine["cell_id"] == mine["cell_id"].iloc[0])] if len(mine) else mine
    return LadderTable(
        view=view,
        rungs=tuple(found),
        best="" if top is None else top.rung,
        classes=None if chance.empty else round(1.0 / float(chance.iloc[0])),
        rows=int(one_run["wells"].sum()),
        selects=tuple(sorted(name for name, part in parts.items() if part == VALIDATION)),
        tests=tuple(sorted(name for name, part in parts.items() if part == TEST)),
        unit=unit,
    )


def _runs(rows: pd.DataFrame) -> pd.Series:
    """Accuracy over the rows of each seed together."""
    sums = rows.groupby("seed", sort=True)[["hits", "wells"]].sum()
    accuracy: pd.Series = sums["hits"] / sums["wells"]
    return accuracy


def _score(rows: pd.DataFrame) -> Score:
    return _over_seeds(_runs(rows))


def _gap(rows: pd.DataFrame) -> Score | None:
    drop = (_runs(rows[rows["part"] == INSIDE]) - _runs(rows[rows["part"] == TEST])).dropna()
    return _over_seeds(drop) if len(drop) else None


def _over_seeds(values: pd.Series) -> Score:
    return Score(float(values.mean()), float(values.std()) if len(values) > 1 else None, len(values))


__all__ = ["GAP", "INSIDE", "TEST", "VALIDATION", "LadderTable", "RungScore", "Score", "ladder_table"]
