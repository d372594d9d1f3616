"""The tidy table as one trade-off curve: a biological and a technical composite for every strength and seed.

Each metric is anchored, (value − floor) / (ceiling − floor), so that 0 is chance and 1 the best this data allows, then
averaged over folds within a seed, then over the primary metrics of its role, unweighted. Anchored values are *not*
clipped to [0, 1]: clipping would make the noise one-sided at the ends and pull level means away from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.arms.arm import read_name
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import (
    LABEL_SHUFFLED,
    LOST,
    ROLES,
    InvalidTableError,
    Selection,
)

Array = NDArray[np.float64]
Untrained = Mapping[str, Mapping[str, Mapping[float, float]]]
"""Control → metric → seed → value."""


@dataclass(frozen=True)
class MetricUse:
    """A metric of a composite and its anchors.

    Attributes:
        floor: value at chance, as stated; for a biological metric the measured mean of the label-shuffled control where
            that is higher. (Shuffling labels does not say how bad batch can be.)
        floor_source: "label_shuffled" or "stated".
        ceiling: best value on this data, as stated in the table.
    """

    name: str
    role: str
    floor: float
    floor_source: str
    ceiling: float


@dataclass(frozen=True)
class LeftOut:
    """A primary metric that is in no composite at any strength, and why."""

    name: str
    role: str
    reason: str


@dataclass(frozen=True, eq=False)
class Curve:
    """One trade-off curve of L strengths and S seeds.

    Attributes:
        strengths: (L,) distinct λ, ascending.
        seeds: (S,) distinct seeds, ascending.
        status: (L, S) "ok", "collapsed", "failed", "oom", "incomplete" (a primary metric is missing) or "absent".
        biological: (L, S) composite; NaN unless ok.
        technical: (L, S) composite; NaN unless ok.
        by_metric: metric name → (L, S) anchored values; NaN unless ok.
        metrics: what the composites are made of.
        left_out: primary metrics that could be measured nowhere.
        controls: control name → role → composite of that untrained embedding, None where a metric is missing.
        control_runs: the same for each seed, (S,); NaN where a metric is missing.
    """

    strengths: tuple[float, ...]
    seeds: tuple[int, ...]
    status: NDArray[np.str_]
    biological: Array
    technical: Array
    by_metric: Mapping[str, Array]
    metrics: tuple[MetricUse, ...]
    left_out: tuple[LeftOut, ...]
    controls: Mapping[str, Mapping[str, float | None]]
    control_runs: Mapping[str, Mapping[str, Array]]


def build_curve(selection: Selection, settings: DecisionSettings) -> Curve:
    """Anchor, average over folds, average over metrics.

    A (metric, fold) measurable in no cell is left out for all strengths; one missing in some cells only makes those
    runs incomplete. Nothing is imputed.

    Raises:
        InvalidTableError: a group has no usable primary metric, so the other would decide alone; a named metric is
            absent or of the other role; two seeds are copies of each other.
    """
    rows = selection.trained
    wanted = {role: _primary(rows, role, settings) for role in ROLES}
    status = _statuses(rows)
    ok = rows[(rows["status"] == "ok") & np.isfinite(rows["value"])]
    used: list[MetricUse] = []
    left_out: list[LeftOut] = []
    untrained = _by_control(selection.controls)
    for role in ROLES:
        for name in wanted[role]:
            use = _anchor(name, role, ok[ok["metric"] == name], untrained)
            if isinstance(use, MetricUse):
                used.append(use)
                left_out += _empty_folds(use, rows, ok)
            elif (status == "ok").any(axis=None):
                reasons = sorted({text for text in rows.loc[rows["metric"] == name, "reason"] if text})
                left_out.append(LeftOut(name, role, use if use else "; ".join(reasons) or "not measurable in any cell"))
    if bool((status == "ok").any(axis=None)):
        for role in ROLES:
            if not any(use.role == role for use in used):
                gone = "; ".join(f"{item.name}: {item.reason}" for item in left_out if item.role == role)
                raise InvalidTableError(f"no {role} metric could be measured ({gone}); one group alone never decides")
    by_metric = {use.name: _by_seed(ok, use, status) for use in used}
    shape = status.shape
    cells = status.to_numpy(dtype=object).astype("U10")
    whole = np.isfinite(list(by_metric.values())).all(axis=0) if by_metric else np.zeros(shape, dtype=bool)
    cells[(cells == "ok") & ~whole] = "incomplete"
    composites = {}
    for role in ROLES:
        members = [by_metric[use.name] for use in used if use.role == role]
        mean = np.mean(members, axis=0) if members else np.full(shape, np.nan)
        composites[role] = np.where(cells == "ok", mean, np.nan)
    seeds = tuple(int(seed) for seed in status.columns)
    _refuse_copies(seeds, composites["biological"], composites["technical"])
    return Curve(
        strengths=tuple(float(strength) for strength in status.index),
        seeds=seeds,
        status=cells,
        biological=composites["biological"],
        technical=composites["technical"],
        by_metric={name: np.where(cells == "ok", values, np.nan) for name, values in by_metric.items()},
        metrics=tuple(used),
        left_out=tuple(left_out),
        controls=_controls(untrained, used),
        control_runs=_control_runs(untrained, used, seeds),
    )


def _primary(rows: pd.DataFrame, role: str, settings: DecisionSettings) -> list[str]:
    """Names of the role's primary metrics, sorted, from the settings or else from the table."""
    named = settings.primary_biological if role == "biological" else settings.primary_technical
    if named is None:
        names = sorted(set(rows.loc[rows["primary"] & (rows["role"] == role), "metric"]))
        if not names:
            raise InvalidTableError(f"no primary {role} metric in the results; one group alone never decides")
        return names
    for name in named:
        roles = set(rows.loc[rows["metric"] == name, "role"])
        if role not in roles:
            what = f"is {roles.pop()}" if roles else "is not in the results"
            raise InvalidTableError(f"primary_{role} names {name!r}, which {what}")
    return sorted(named)


def _statuses(rows: pd.DataFrame) -> pd.DataFrame:
    """(L, S) status of each run over all its cells: the worst that occurs; "absent" where no cell was recorded."""
    names = (*LOST, "ok")
    ranked = rows.assign(rank=rows["status"].map(names.index))
    worst = ranked.pivot_table(index="adversarial_weight", columns="seed", values="rank", aggfunc="min")
    return worst.map(lambda rank: "absent" if pd.isna(rank) else names[int(rank)])


def _anchor(name: str, role: str, ok: pd.DataFrame, untrained: Untrained) -> MetricUse | str:
    """The metric's anchors on this curve, or why it cannot be anchored ("" when it has no value at all)."""
    if ok.empty:
        return ""
    stated, ceiling = ok["floor"].mean(), ok["ceiling"].mean()
    measured = _mean_over_seeds(untrained, LABEL_SHUFFLED, name) if role == "biological" else None
    # Shuffled labels on an embedding that still holds the batch can lie below chance (replicates in other batches are
    # then farther than anything on the own plate). A floor below chance would make every loss look smaller.
    from_control = measured is not None and not measured < stated
    floor = float(measured if from_control and measured is not None else stated)
    if not (np.isfinite(floor) and np.isfinite(ceiling)):
        return "its floor or ceiling is not stated"
    if floor >= ceiling:
        return f"its floor {floor:.3g} is not below its ceiling {ceiling:.3g}"
    return MetricUse(name, role, floor, "label_shuffled" if from_control else "stated", float(ceiling))


def _by_control(controls: pd.DataFrame) -> Untrained:
    """Every control's measured metrics by seed, folds averaged."""
    rows = controls[(controls["status"] == "ok") & np.isfinite(controls["value"])]
    means = rows.groupby(["trainer", "metric", "seed"], dropna=False)["value"].mean()
    found: dict[str, dict[str, dict[float, float]]] = {trainer: {} for trainer in sorted(set(controls["trainer"]))}
    for (trainer, metric, seed), value in means.items():
        found[trainer].setdefault(metric, {})[seed] = float(value)
    return found


def _mean_over_seeds(untrained: Untrained, control: str, metric: str) -> float | None:
    """Mean of a control's metric; None where it was not measured."""
    values = untrained.get(control, {}).get(metric)
    return None if not values else float(np.mean(list(values.values())))


def _empty_folds(use: MetricUse, rows: pd.DataFrame, ok: pd.DataFrame) -> list[LeftOut]:
    """Folds in which a metric could be measured in no finished cell, though it could in others."""
    finished = rows[(rows["metric"] == use.name) & (rows["status"] == "ok")]
    empty = sorted(set(finished["split"]) - set(ok.loc[ok["metric"] == use.name, "split"]))
    reasons = [sorted(set(finished.loc[finished["split"] == split, "reason"]) - {""}) for split in empty]
    return [
        LeftOut(f"{use.name} in {split}", use.role, "; ".join(texts) or "not measurable in any cell")
        for split, texts in zip(empty, reasons, strict=True)
    ]


def _by_seed(ok: pd.DataFrame, use: MetricUse, status: pd.DataFrame) -> Array:
    """(L, S) anchored metric, averaged over its folds; NaN where any fold that exists elsewhere is missing."""
    rows = ok[ok["metric"] == use.name]
    folds, fold = np.unique(rows["split"].to_numpy(dtype=str), return_inverse=True)
    values = np.full((*status.shape, len(folds)), np.nan)
    at = np.searchsorted(status.index.to_numpy(dtype=float), rows["adversarial_weight"].to_numpy(dtype=float))
    of = np.searchsorted(status.columns.to_numpy(dtype=float), rows["seed"].to_numpy(dtype=float))
    values[at, of, fold] = rows["value"].to_numpy(dtype=float)
    return np.asarray((values.mean(axis=2) - use.floor) / (use.ceiling - use.floor))


def _controls(untrained: Untrained, used: list[MetricUse]) -> dict[str, dict[str, float | None]]:
    """Where the untrained embeddings lie on the two composites, over all their seeds."""
    found: dict[str, dict[str, float | None]] = {}
    for trainer in untrained:
        placed = _placed({use.name: _mean_over_seeds(untrained, trainer, use.name) for use in used}, used)
        found[read_name(trainer).trainer] = {role: None if np.isnan(value) else value for role, value in placed.items()}
    return found


def _control_runs(untrained: Untrained, used: list[MetricUse], seeds: tuple[int, ...]) -> dict[str, dict[str, Array]]:
    """The same, for each seed of the curve."""
    found: dict[str, dict[str, Array]] = {}
    for trainer, metrics in untrained.items():
        runs = [_placed({use.name: _of_seed(metrics.get(use.name), seed) for use in used}, used) for seed in seeds]
        found[read_name(trainer).trainer] = {role: np.array([run[role] for run in runs]) for role in ROLES}
    return found


def _of_seed(values: Mapping[float, float] | None, seed: int) -> float | None:
    """A control without seeds has its one value in every seed."""
    if not values:
        return None
    return next(iter(values.values())) if all(np.isnan(key) for key in values) else values.get(seed)


def _placed(values: Mapping[str, float | None], used: list[MetricUse]) -> dict[str, float]:
    """Role → mean of its anchored metrics; NaN where one is missing."""
    placed: dict[str, float] = {}
    for role in ROLES:
        found = [(values[use.name], use) for use in used if use.role == role]
        anchored = [
            np.nan if value is None else (value - use.floor) / (use.ceiling - use.floor) for value, use in found
        ]
        placed[role] = float(np.mean(anchored)) if anchored else np.nan
    return placed


def _refuse_copies(seeds: tuple[int, ...], biological: Array, technical: Array) -> None:
    """Two seeds with identical values at every strength are one run recorded twice: they would halve the noise."""
    for j in range(len(seeds)):
        for i in range(j):
            shared = np.isfinite(biological[:, i]) & np.isfinite(biological[:, j])
            pairs = [(values[shared, i], values[shared, j]) for values in (biological, technical)]
            varies = shared.sum() > 1 and any(np.ptp(one) > 1e-9 for one, _ in pairs)
            if varies and all(np.array_equal(one, other) for one, other in pairs):
                raise InvalidTableError(
                    f"seeds {seeds[i]} and {seeds[j]} gave identical values at every strength; copies are not seeds"
                )
