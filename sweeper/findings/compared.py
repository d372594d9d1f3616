"""Sweeps beside each other: what each advises, and where their screens are the same, the difference, paired by seed.

A seed means the same split in two sweeps of the same wells, view and share of held-out perturbations, whatever their
trainers, settings and features. Composites of a run are those that decided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from sweeper.decision import Decision
from sweeper.decision.verdict.decision import RuledCurve
from sweeper.errors import InputError
from sweeper.findings.stored import stored_config, stored_decision
from sweeper.kept.strengths import advised_strength
from sweeper.spoken import strength_text
from sweeper.store.store import Store
from trainers.screens.table import CANONICAL, wells_digest

MIN_SEEDS = 3
Role = Literal["biological", "technical"]


@dataclass(frozen=True)
class Point:
    """Mean composites of one strength: its weight (first dial), batch removal T and biology B."""

    weight: float
    technical: float
    biological: float


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One sweep's row.

    Attributes:
        label: distinct among the sweeps that are compared.
        advised: strength in words, or why there is none.
        technical, biological: T and B at it; None where nothing is advised.
        safe_up_to, unsafe_from: bounds.
        curve: the deciding curve's levels, ascending.
    """

    label: str
    folder: str
    trainer: str
    view: str
    wells: int
    features: int
    seeds: int
    state: str
    firmness: str
    certainty: str | None
    advised: str
    weight: float | None
    technical: float | None
    biological: float | None
    safe_up_to: float | None
    unsafe_from: float | None
    curve: tuple[Point, ...]


@dataclass(frozen=True)
class Difference:
    """Mean over shared seeds of `against` − `base`, with its two-sided interval."""

    role: Role
    mean: float
    lower: float
    upper: float
    seeds: int


@dataclass(frozen=True)
class Pair:
    """Two sweeps at what each advises.

    Attributes:
        reasons: why they are not comparable, one line each; empty: they are.
        level: of the intervals, two-sided.
    """

    base: str
    against: str
    reasons: tuple[str, ...]
    differences: tuple[Difference, ...]
    level: float


@dataclass(frozen=True)
class Comparison:
    """Sweeps beside each other; pairs are of the first with every other."""

    sweeps: tuple[Compared, ...]
    pairs: tuple[Pair, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"schema": "comparison/1", **asdict(self)}


@dataclass(frozen=True, eq=False)
class _Sweep:
    label: str
    store: Store
    decision: Decision
    curve: RuledCurve | None
    wells: pd.DataFrame
    identity: Mapping[str, Any]


def compare_stores(stores: Sequence[Store]) -> Comparison:
    """The first against every other.

    Raises:
        InputError: a store that cannot be read, or without a decision.
    """
    names = [str(store.description()["name"]) for store in stores]
    found = []
    for number, (store, name) in enumerate(zip(stores, names, strict=True)):
        again = names.count(name) > 1
        found.append(_read(store, f"{name} ({number + 1})" if again else name))
    return Comparison(tuple(map(_row, found)), tuple(_pair(found[0], other) for other in found[1:]))


def paired(base: Mapping[int, float], against: Mapping[int, float], role: Role, level: float) -> Difference | None:
    """Over the seeds of both (Student's t); None with fewer than `MIN_SEEDS`."""
    shared = sorted(base.keys() & against.keys())
    if len(shared) < MIN_SEEDS:
        return None
    gaps = np.array([against[seed] - base[seed] for seed in shared])
    reach = float(stdtrit(len(gaps) - 1, 0.5 + level / 2)) * float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    mean = float(gaps.mean())
    return Difference(role, mean, mean - reach, mean + reach, len(gaps))


def _read(store: Store, label: str) -> _Sweep:
    decision = stored_decision(store)
    if decision is None:
        raise InputError(f"{store.where}: no decision yet; finish the sweep, or `sweeper report` it")
    return _Sweep(label, store, decision, decision.curve, store.screen().wells, store.description()["identity"])


def _row(sweep: _Sweep) -> Compared:
    rule, curve = sweep.decision.rule, sweep.curve
    strength = advised_strength(sweep.decision)
    trainer = str(sweep.identity["trainer"])
    levels = () if curve is None else curve.levels
    points = tuple(
        Point(level.weight, level.technical.mean, level.biological.mean)
        for level in levels
        if level.technical is not None and level.biological is not None
    )
    at = None if strength is None else next((point for point in points if point.weight == strength[0]), None)
    screen = sweep.store.description()["screen"]
    return Compared(
        label=sweep.label,
        folder=sweep.store.where,
        trainer=trainer,
        view=sweep.decision.deciding_view,
        wells=int(screen["wells"]),
        features=int(screen["features"]),
        seeds=0 if curve is None else len(curve.seeds),
        state=str(rule.state),
        firmness=rule.firmness,
        certainty=rule.certainty,
        advised="none" if strength is None else strength_text(trainer, *strength),
        weight=None if strength is None else strength[0],
        technical=None if at is None else at.technical,
        biological=None if at is None else at.biological,
        safe_up_to=rule.estimate.safe_up_to,
        unsafe_from=rule.estimate.unsafe_from,
        curve=points,
    )


def _pair(base: _Sweep, against: _Sweep) -> Pair:
    level = 2 * base.decision.settings.confidence - 1
    reasons = list(_reasons(base, against))
    differences: list[Difference] = []
    if not reasons:
        for role in ("technical", "biological"):
            found = paired(_at_advice(base, role), _at_advice(against, role), role, level)
            if found is None:
                reasons.append(f"fewer than {MIN_SEEDS} seeds are ok at the advised strength of both")
                differences = []
                break
            differences.append(found)
    return Pair(base.label, against.label, tuple(reasons), tuple(differences), level)


def _reasons(base: _Sweep, against: _Sweep) -> list[str]:
    """Why a difference would mean nothing."""
    lines = [
        f"{each.label} advises no strength ({each.decision.rule.state})"
        for each in (base, against)
        if advised_strength(each.decision) is None
    ]
    one, other = (wells_digest(each.wells[list(CANONICAL)]) for each in (base, against))
    if one != other:
        lines.append(f"the wells are not the same ({len(base.wells)} and {len(against.wells)})")
    if base.decision.deciding_view != against.decision.deciding_view:
        views = f"{base.decision.deciding_view} and {against.decision.deciding_view}"
        lines.append(f"other views decide ({views})")
    else:
        first, second = (_view(each) for each in (base, against))
        if first != second:
            changed = ", ".join(key for key in first if first[key] != second.get(key))
            lines.append(f"the view {base.decision.deciding_view} holds out otherwise ({changed})")
    for key, what in (("held_out_perturbations", "held-out perturbations"), ("panel", "options of the metrics")):
        if base.identity.get(key) != against.identity.get(key):
            lines.append(f"{what} differ")
    if base.curve is not None and against.curve is not None:
        for role in ("technical", "biological"):
            mine, theirs = base.curve.uses(role), against.curve.uses(role)
            if set(mine) != set(theirs):
                lines.append(f"the {role} composite is of other metrics ({', '.join(sorted(set(mine) ^ set(theirs)))})")
    return lines


def _view(sweep: _Sweep) -> dict[str, Any]:
    config = stored_config(sweep.store)
    spec = next(view for view in config.views if view.view == sweep.decision.deciding_view)
    return spec.model_dump(mode="json")


def _at_advice(sweep: _Sweep, role: Role) -> dict[int, float]:
    """Seed → composite of the run at the advised strength."""
    strength = advised_strength(sweep.decision)
    if strength is None or sweep.curve is None:
        return {}
    values = {
        run.seed: run.technical if role == "technical" else run.biological
        for run in sweep.curve.runs
        if run.weight == strength[0] and run.status == "ok"
    }
    return {seed: value for seed, value in values.items() if value is not None}


__all__ = ["Compared", "Comparison", "Difference", "Pair", "Point", "compare_stores", "paired"]
