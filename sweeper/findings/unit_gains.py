"""Where a correction helps and where it hurts: paired gains by held-out batch, cell type and perturbation.

A unit's gain at a strength is the mean over runs (seed × fold) of its value minus the baseline's in the same run. Its
distribution over units, and the share of units where it is a loss, say what the mean over them hides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from sweeper.decision import Decision
from sweeper.metrics.unit_axes import PERTURBATION

Array = NDArray[np.float64]

RAW = "control:raw"
UNCORRECTED, RAW_FEATURES = "uncorrected", "raw"
BASELINES = (UNCORRECTED, RAW_FEATURES)
"""What gains are against: λ = 0 at the same margin, and the features before any training."""

CURVE = ("view", "margin", "metric", "axis", "baseline")
UNIT_COLUMNS = (*CURVE, "adversarial_weight", "unit", "gain", "error", "runs", "wells")
"""Columns of `unit_gains`: `error` is the standard error of `gain` over its `runs`, NaN for one."""

VALUE_COLUMNS = ("view", "metric", "axis", "unit", "margin", "adversarial_weight", "mean", "sd", "runs", "wells")
"""Columns of `unit_values`."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SUMMARY_COLUMNS = (
    *CURVE,
    "adversarial_weight",
    "units",
    "runs",
    "lost_runs",
    *(f"q{round(100 * level):02d}" for level in QUANTILES),
    "losses",
    "failure_rate",
    "failure_lower",
    "failure_upper",
    "clear_losses",
    "large_losses",
    "worst_unit",
    "worst_gain",
)
"""Columns of `summarise`."""


def unit_gains(units: pd.DataFrame, *, trainer: str) -> pd.DataFrame:
    """Gain of every unit at every strength, against both baselines.

    Runs are paired by seed and fold; a run that either side lacks (lost, or the perturbation was not held out in it)
    is left out for that unit, so a strength at which runs were lost shows the survivors only: see `lost_runs`.

    Args:
        units: as `sweeper.store.results.units`.
        trainer: whose cells; other trainers and controls except the raw features are set aside.

    Returns:
        `UNIT_COLUMNS`, one row a unit of a strength of a curve, in sorted order; λ = 0 is not compared with itself.
    """
    wanted = units[units["trainer"].isin([trainer, RAW])]
    parts = [
        part.assign(view=str(view), metric=str(metric), axis=str(axis))
        for (view, metric, axis), rows in wanted.groupby(["view", "metric", "axis"], observed=True, sort=True)
        for part in _gains(rows)
    ]
    if not parts:
        return pd.DataFrame(columns=list(UNIT_COLUMNS))
    table = pd.concat(parts, ignore_index=True)[list(UNIT_COLUMNS)]
    return table.sort_values([*CURVE, "adversarial_weight", "unit"], kind="stable", ignore_index=True)


def summarise(gains: pd.DataFrame, *, ranges: pd.Series, delta: float, confidence: float = 0.95) -> pd.DataFrame:
    """The distribution of gains over units: one row a strength of a curve, `SUMMARY_COLUMNS`.

    Units are the sample: the interval of the failure rate (Wilson, J Am Stat Assoc 1927,
    doi:10.1080/01621459.1927.10502953) takes them as independent, and says how far the share would differ with other
    batches or perturbations.

    Columns: q05 … q95 quantiles of the gain over units; losses, units with a gain below 0, and failure_rate their share
    with its two-sided interval; clear_losses, those of them whose upper one-sided bound over runs (t, each unit for
    itself) is below 0 too; large_losses, those of more than `delta` of the metric's range; runs, the fewest and
    lost_runs, the most runs missing of a unit against the other strengths.

    Args:
        gains: as `unit_gains`.
        ranges: by (view, metric), ceiling minus floor; NaN or absent where not known (no large loss is then claimed).
        delta: share of the range that counts, in (0, 1).
        confidence: of the interval and, one-sided, of the clear losses.
    """
    rows = []
    for key, of in gains.groupby(list(CURVE), sort=True):
        unit, names = pd.factorize(of["unit"], sort=True)
        gain, error, runs, weight = (
            of[name].to_numpy(dtype=np.float64) for name in ("gain", "error", "runs", "adversarial_weight")
        )
        expected = np.zeros(len(names))
        np.maximum.at(expected, unit, runs)
        limit = -delta * float(ranges.get((key[0], key[2]), np.nan))
        for strength in np.unique(weight):
            at = np.flatnonzero(weight == strength)
            found = np.zeros(len(names))
            found[unit[at]] = runs[at]
            distribution = _distribution(gain[at], error[at], runs[at], limit, confidence)
            counts = len(at), int(runs[at].min()), int((expected - found).max())
            worst = at[gain[at].argmin()]
            rows.append((*key, strength, *counts, *distribution, str(names[unit[worst]]), float(gain[worst])))
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def unit_values(units: pd.DataFrame, *, trainer: str) -> pd.DataFrame:
    """The metric itself by batch, cell type or further column at every strength; raw features have no strength (NaN).

    Perturbations are left out: there are too many to read. Mean and sample standard deviation (NaN for one) are over
    runs, seed × fold, each counted once.

    Args:
        units: as `sweeper.store.results.units`.
        trainer: whose cells, beside the raw features.

    Returns:
        `VALUE_COLUMNS`, in sorted order, raw features first.
    """
    wanted = units[units["trainer"].isin([trainer, RAW]) & (units["axis"] != PERTURBATION)]
    names = ["view", "metric", "axis", "unit"]
    texts = {name: wanted[name].astype(str) for name in names}
    plain = wanted.assign(**texts, value=wanted["value"].astype("float64"))
    keys = [*names, "margin", "adversarial_weight"]
    table = plain.groupby(keys, dropna=False, as_index=False).agg(
        mean=("value", "mean"), sd=("value", "std"), runs=("value", "size"), wells=("wells", "max")
    )
    return table.sort_values(keys, kind="stable", na_position="first", ignore_index=True)[list(VALUE_COLUMNS)]


@dataclass(frozen=True, eq=False)
class Gains:
    """Gains, their distribution and the values behind them, for the report and the mirror."""

    by_unit: pd.DataFrame
    summary: pd.DataFrame
    values: pd.DataFrame


def gains(units: pd.DataFrame, results: pd.DataFrame, *, trainer: str, delta: float) -> Gains:
    """`unit_gains`, their `summarise` and `unit_values`; the metrics' ranges are those of the trainer's own cells."""
    measured = results[results["value"].notna() & (results["trainer"] == trainer)]
    ranges = (measured["ceiling"] - measured["floor"]).groupby([measured["view"], measured["metric"]]).mean()
    by_unit = unit_gains(units, trainer=trainer)
    return Gains(by_unit, summarise(by_unit, ranges=ranges, delta=delta), unit_values(units, trainer=trainer))


def pointed(
    trained: Iterable[float], *, recommended: float | None, safe_up_to: float | None, best: float | None
) -> tuple[str, float] | None:
    """The trained λ > 0 that a decision points at, and how: where gains are looked at first.

    The recommended strength; without one the largest at or below the safe bound; without that the one of best biology;
    else the largest. None when only λ = 0 was trained.
    """
    positive = sorted(weight for weight in trained if weight > 0)
    for label, strength in (("recommended", recommended), ("safe bound", safe_up_to), ("best biology", best)):
        below = [weight for weight in positive if strength is not None and weight <= strength * (1 + 1e-9)]
        if below:
            return label, below[-1]
    return ("largest", positive[-1]) if positive else None


def headline(gains: Gains, decision: Decision) -> dict[str, float]:
    """What the rule's strength does by unit, for a run's summary: share of losses and worst gain against λ = 0.

    Keys "gain/<metric>.<axis>_failure_rate" and "gain/<metric>.worst_<axis>" for the biological metrics of the
    deciding curve; none without a recommended strength, for then nothing is advised that could fail.
    """
    curve = decision.curve
    if curve is None or curve.margin is None or curve.recommended is None:
        return {}
    view, margin, strength, metrics = curve.view, curve.margin, curve.recommended, curve.uses("biological")
    of = gains.summary
    # A decision's numbers have 12 significant digits.
    at = np.isclose(of["margin"], margin, rtol=1e-9) & np.isclose(of["adversarial_weight"], strength, rtol=1e-9)
    of = of[at & (of["view"] == view) & (of["baseline"] == UNCORRECTED) & of["metric"].isin(metrics)]
    found: dict[str, float] = {}
    for row in of.to_dict("records"):
        found[f"gain/{row['metric']}.{row['axis']}_failure_rate"] = float(row["failure_rate"])
        found[f"gain/{row['metric']}.worst_{row['axis']}"] = float(row["worst_gain"])
    return found


def _gains(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The gains of one metric on one axis in one view: a table a margin and baseline."""
    unit, names = pd.factorize(rows["unit"].astype(str), sort=True)
    run = rows.groupby(["seed", "fold"], observed=True, sort=True).ngroup().to_numpy()
    columns, column = np.unique(unit * (run.max() + 1) + run, return_inverse=True)
    starts = np.searchsorted(columns // (run.max() + 1), np.arange(len(names)))
    wells = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(wells, unit, rows["wells"].to_numpy())
    value, margin = rows["value"].to_numpy(dtype=np.float64), rows["margin"].to_numpy(dtype=np.float64)
    weight = rows["adversarial_weight"].to_numpy(dtype=np.float64)
    is_raw = (rows["trainer"] == RAW).to_numpy()
    raw = np.full(len(columns), np.nan)
    raw[column[is_raw]] = value[is_raw]
    for one in np.unique(margin[~is_raw]):
        mine = ~is_raw & (margin == one)
        strengths, level = np.unique(weight[mine], return_inverse=True)
        table = np.full((len(strengths), len(columns)), np.nan)
        table[level, column[mine]] = value[mine]
        zero = table[0] if strengths[0] == 0 else np.full(len(columns), np.nan)
        for baseline, reference, first in ((UNCORRECTED, zero, int(strengths[0] == 0)), (RAW_FEATURES, raw, 0)):
            gain, error, runs = _over_runs(table[first:] - reference, starts)
            at, of = np.nonzero(runs)
            yield pd.DataFrame(
                {
                    "margin": one,
                    "baseline": baseline,
                    "adversarial_weight": strengths[first:][at],
                    "unit": names[of],
                    "gain": gain[at, of],
                    "error": error[at, of],
                    "runs": runs[at, of],
                    "wells": wells[of],
                }
            )


def _over_runs(difference: Array, starts: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Mean, its standard error and number over the runs of each unit, (L, U) each; of (L, C) and C's first columns."""
    present = np.isfinite(difference)
    runs = np.add.reduceat(present, starts, axis=1, dtype=np.int64)
    mean = np.add.reduceat(np.where(present, difference, 0.0), starts, axis=1) / np.maximum(runs, 1)
    sizes = np.diff(np.append(starts, difference.shape[1]))
    apart = np.where(present, difference - np.repeat(mean, sizes, axis=1), 0.0)
    variance = np.add.reduceat(apart**2, starts, axis=1) / np.where(runs > 1, runs - 1, np.nan)
    return mean, np.sqrt(variance / np.maximum(runs, 1)), runs


def _distribution(gain: Array, error: Array, runs: Array, limit: float, confidence: float) -> tuple[float, ...]:
    """Quantiles and losses of the units at one strength: columns q05 to large_losses of `summarise`."""
    losses = int((gain < 0).sum())
    lower, upper = wilson(losses, len(gain), confidence)
    # One run has no error of its own: its loss is never clear.
    bound = gain + stdtrit(np.maximum(runs - 1, 1), confidence) * error
    clear, large = int((bound < 0).sum()), int((gain < limit).sum())  # a limit of NaN is below nothing
    return (*np.quantile(gain, QUANTILES).tolist(), losses, losses / len(gain), lower, upper, clear, large)


def wilson(count: int, of: int, confidence: float) -> tuple[float, float]:
    """Two-sided score interval of a share, within [0, 1]; `of` ≥ 1."""
    z = float(ndtri(0.5 + confidence / 2))
    share, spread = count / of, z * z / of
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


__all__ = [
    "BASELINES",
    "QUANTILES",
    "RAW_FEATURES",
    "SUMMARY_COLUMNS",
    "UNCORRECTED",
    "UNIT_COLUMNS",
    "Gains",
    "gains",
    "headline",
    "pointed",
    "summarise",
    "unit_gains",
    "wilson",
]
