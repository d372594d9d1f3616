"""`decide`: one trade-off curve in, everything known about its over-correction point out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeper.decision.inference.best_of import entrants
from sweeper.decision.inference.bracket import (
    Bracket,
    baseline_bracket,
    detectable_drop,
    drawdown_bracket,
    max_t_quantile,
)
from sweeper.decision.inference.fitted import NOTHING, POWER, Fitted, Points, drawn_summaries, fit, peak_of
from sweeper.decision.inference.noise import level_errors, signal_lower_bound
from sweeper.decision.inference.perturbations import NoPerturbationsError, curve_covariances
from sweeper.decision.inference.technical import Technical, assess_technical, technical_falls
from sweeper.decision.input.collapse_screen import Screened, screen
from sweeper.decision.input.curve import Curve, build_curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import InvalidTableError, prepare, select
from sweeper.decision.input.shortage import shortage
from sweeper.decision.verdict.advised import Range, advise
from sweeper.decision.verdict.bounds import Ends, contradiction, early_metric, ends, fallback, lowest
from sweeper.decision.verdict.confounded import Nesting, withheld
from sweeper.decision.verdict.states import Conditions, State, bracket_state, located_state
from sweeper.decision.verdict.values import Estimate, Interval, JudgedCurve, Level, LevelMean, Run, Sensitivity
from sweeper.decision.words.reasons import reasons

Array = NDArray[np.float64]
NEW_PERTURBATIONS = (
    "The bounds are about new perturbations of the same kind: those screened are taken as a sample of them, resampled"
    " as clusters, and their noise is added to that of the seeds."
)
USABLE = (
    State.IDENTIFIED,
    State.IDENTIFIED_WIDE,
    State.CONFLICTING_METRICS,
    State.CONFLICTING_METHODS,
    State.BRACKET_ONLY,
    State.NOT_REACHED,
    State.UNSTABLE,
    State.NOT_OVERCORRECTION,
)
"""States whose bounds allow a strength above 0."""
ZERO_AT_LEAST = (State.NO_TECHNICAL_EFFECT, State.BELOW_RANGE)
"""States in which λ = 0 can be advised although no strength above it was shown to be safe."""


def judge_curve(
    results: pd.DataFrame,
    *,
    view: str,
    margin: float,
    settings: DecisionSettings,
    units: pd.DataFrame | None = None,
    nesting: Nesting | None = None,
) -> JudgedCurve:
    """Judge one trade-off curve: by the drawdown bracket or, if so declared, by the posterior of its point.

    The order of the steps is the order of the exclusions: validate, anchor, count what failed, screen for collapse,
    drop strengths that lost too many runs and seeds that are missing at half of the others, and only then look at the
    curve. Nothing is imputed.

    Args:
        results: tidy table, one row a metric of a cell (`table.COLUMNS`); any order.
        view: evaluation view.
        margin: angular margin of the curve.
        units: as `sweeper.store.results.units`; needed, and read, for the target "new_perturbations" only.
        nesting: how many perturbations and targets of the screen lie in several batches, where that is known.

    Returns:
        A decision; a table that cannot be judged gives the state INVALID_INPUT with a reason, never an exception.
    """
    return withheld(_judged(results, view, margin, settings, units), nesting, settings)


def _judged(
    results: pd.DataFrame, view: str, margin: float, settings: DecisionSettings, units: pd.DataFrame | None
) -> JudgedCurve:
    """The curve, whatever the design confounds."""
    blank = refusal(view, margin, "", settings)
    try:
        selection = select(prepare(results), view=view, margin=margin)
        blank = replace(blank, trainer=selection.trainer, margin=float(selection.trained["margin"].iloc[0]))
        curve = build_curve(selection, settings)
    except InvalidTableError as refused:
        return replace(blank, reasons=(f"{refused}.",))
    screened = screen(curve, settings)
    usable = screened.usable()
    known = replace(
        blank,
        levels=_levels(curve, screened),
        runs=_runs(curve, screened, usable),
        seeds=tuple(curve.seeds[place] for place in np.flatnonzero(usable.any(axis=0))),
        metrics=curve.metrics,
        left_out=curve.left_out,
        controls=curve.controls,
        control_runs={
            name: {role: values[usable.any(axis=0)] for role, values in places.items()}
            for name, places in curve.control_runs.items()
        },
        lambda_unstable=screened.lambda_unstable,
    )
    lacking = shortage(curve, screened, settings)
    if lacking is not None:
        return replace(known, state=lacking[0], reasons=(f"{lacking[1]}.",))
    if settings.target == "this_screen":
        return _judge(known, curve, screened, settings, {})
    try:
        extra = curve_covariances(units, curve, screened, known, settings)
    except NoPerturbationsError as missing:
        why = f"The target is new perturbations, but {missing}."
        return replace(known, state=State.INSUFFICIENT_DATA, reasons=(why,))
    judged = _judge(known, curve, screened, settings, extra)
    return replace(judged, reasons=(*judged.reasons, NEW_PERTURBATIONS))


def refusal(view: str, margin: float | None, reason: str, settings: DecisionSettings) -> JudgedCurve:
    """INVALID_INPUT: nothing about the curve could be read."""
    return JudgedCurve(view, margin, None, settings.delta, settings.confidence, State.INVALID_INPUT, (reason,))


def _judge(
    known: JudgedCurve, curve: Curve, screened: Screened, settings: DecisionSettings, extra: Mapping[str, Array]
) -> JudgedCurve:
    """The estimate and its state, from the usable runs at the kept strengths.

    `extra` is the further level covariance of each biological metric and, under "", of their composite.
    """
    usable = screened.usable()
    cells = np.ix_(screened.kept, usable.any(axis=0))
    gaps = ~usable[cells]
    strengths = tuple(s for s, keep in zip(curve.strengths, screened.kept, strict=True) if keep)
    biology = fit(np.where(gaps, np.nan, curve.biological[cells]), strengths, settings, stream=0, extra=extra.get(""))
    removal = fit(np.where(gaps, np.nan, curve.technical[cells]), strengths, settings, stream=1)
    technical = assess_technical(
        strengths,
        removal.means,
        removal.noise,
        removal.draws,
        epsilon_technical=settings.epsilon_technical,
        epsilon_effective=settings.epsilon_effective,
        confidence=settings.confidence,
    )
    signal_lower = signal_lower_bound(biology.means, biology.noise, biology.draws, settings.confidence)
    varies = np.ptp(curve.biological[cells][~gaps]) > NOTHING  # the same number in every run measures nothing
    has_signal = bool(varies and signal_lower > NOTHING)
    names = [use.name for use in curve.metrics if use.role == "biological"]
    metrics = {
        name: fit(
            np.where(gaps, np.nan, curve.by_metric[name][cells]),
            strengths,
            settings,
            stream=2 + place,
            extra=extra.get(name),
        )
        for place, name in enumerate(names)
    }
    curves = _Curves(strengths, biology, removal, metrics, Points.of(strengths, biology, metrics, settings))
    sensitivity = tuple(
        _sensitivity(curves, delta, technical, has_signal, settings, known) for delta in settings.all_deltas
    )
    chosen = next(entry for entry in sensitivity if entry.delta == settings.delta)
    at_chance = not technical.has_effect and _at_chance(curve, usable, settings)
    estimate = _estimate(curves, chosen, technical, settings, signal_lower, known.lambda_unstable, at_chance=at_chance)
    drawn = _intervals(biology, settings.confidence), _intervals(removal, settings.confidence)
    placed = dict(zip(strengths, zip(*drawn, strict=True), strict=True))
    levels = []
    for level in known.levels:
        biological_mean, technical_mean = placed.get(level.weight, (None, None))
        levels.append(replace(level, biological=biological_mean, technical=technical_mean))
    decided = replace(known, state=chosen.state, levels=tuple(levels), estimate=estimate, sensitivity=sensitivity)
    return replace(decided, reasons=reasons(decided))


def _estimate(
    curves: _Curves,
    chosen: Sensitivity,
    technical: Technical,
    settings: DecisionSettings,
    signal_lower: float,
    unstable: float | None,
    *,
    at_chance: bool,
) -> Estimate:
    """What is known of the curve, at the δ that decides (`chosen`)."""
    strengths, biology, removal = curves.strengths, curves.biology, curves.removal
    points, by_metric, inside = curves.points, chosen.metric_brackets, chosen.effective
    at_effective, effective_upper = (inside.lambda_effective, inside.lambda_effective_upper) if inside else (None, None)
    established = {name: item.unsafe_from for name, item in by_metric.items() if item.unsafe_from is not None}
    peak = peak_of(biology)
    return Estimate(
        peak=peak,
        lambda_peak=strengths[int(np.argmax(biology.means))],
        signal_lower=signal_lower,
        sigma=biology.noise.sigma / peak if peak > 0 else float("inf"),
        safe_up_to=chosen.safe_up_to,
        unsafe_from=chosen.unsafe_from,
        bracket=chosen.bracket,
        location=chosen.location,
        fallback=chosen.fallback,
        interval=Interval.of(chosen, settings.p_identify),
        families=points.composite.posterior.families if points.composite else {},
        lof_p=points.composite.posterior.lof_p if points.composite else None,
        lambda_ni=baseline_bracket(
            strengths,
            biology.means,
            biology.noise,
            delta=settings.delta,
            confidence=settings.confidence,
            below=unstable,
        ),
        contradiction=chosen.contradiction,
        early=chosen.early,
        limit=chosen.limit,
        advised=chosen.advised,
        technical=replace(technical, lambda_effective=at_effective, lambda_effective_upper=effective_upper),
        technical_falls=chosen.technical_falls,
        at_chance=at_chance,
        moves=_moves(curves, technical, chosen, settings),
        window=chosen.window,
        recommended=chosen.recommended,
        biology_at_effective=None if at_effective is None else float(biology.means[strengths.index(at_effective)]),
        detectable_drop=chosen.detectable_drop,
        psi=chosen.psi,
        **drawn_summaries(strengths, biology, removal, points.composite, chosen, settings),
        range=chosen.range,
        metric_brackets=by_metric,
        metric_locations=points.of_metrics(settings.delta, settings),
        crossings=points.crossings(settings),
        earliest_metric=chosen.earliest or min(established, key=lambda name: (established[name], name), default=None),
    )


def _bracket(
    strengths: tuple[float, ...], fitted: Fitted, delta: float, settings: DecisionSettings, known: JudgedCurve
) -> tuple[Bracket, float]:
    """The drawdown bracket at δ, and the critical value behind it."""
    critical = max_t_quantile(fitted.noise, fitted.draws, delta=delta, confidence=settings.confidence)
    bracket = drawdown_bracket(
        strengths,
        fitted.means,
        fitted.noise,
        critical,
        delta=delta,
        confidence=settings.confidence,
        below=known.lambda_unstable,
    )
    return bracket, critical


@dataclass(frozen=True, eq=False)
class _Curves:
    """What is fitted to one curve at its kept strengths."""

    strengths: tuple[float, ...]
    biology: Fitted
    removal: Fitted
    metrics: Mapping[str, Fitted]
    points: Points


def _sensitivity(
    curves: _Curves,
    delta: float,
    technical: Technical,
    has_signal: bool,
    settings: DecisionSettings,
    known: JudgedCurve,
) -> Sensitivity:
    """Location, bracket, state, advice and power of the curve at one δ."""
    strengths, biology, points = curves.strengths, curves.biology, curves.points
    bracket, critical = _bracket(strengths, biology, delta, settings, known)
    by_metric = {
        name: _bracket(strengths, fitted, delta, settings, known)[0] for name, fitted in curves.metrics.items()
    }
    conflict = points.conflict(delta, settings)
    location = conflict[1] if conflict else points.composite.at(delta, settings) if points.composite else None
    because = fallback(location, points.composite, settings)
    placed = None if because else location
    clash = None
    if placed is not None:
        clash = contradiction(strengths, bracket, placed, same=conflict is None, p_identify=settings.p_identify)
    unstable = known.lambda_unstable
    bounds = ends(strengths, bracket, placed, contradicts=clash is not None, unstable=unstable, settings=settings)
    locations = points.of_metrics(delta, settings)
    early = early_metric(strengths, bounds, placed, by_metric, locations, settings.p_identify)
    given = _conditions(curves, bounds, technical, has_signal, settings, unstable)
    if placed is None:
        state = bracket_state(given)
    else:
        state = located_state(
            given,
            placed,
            conflicting=conflict is not None,
            contradicted=clash is not None,
            tested=settings.method == "combined",
            p_identify=settings.p_identify,
            p_not_reached=settings.p_not_reached,
        )
    limit = bounds.safe if early is None else lowest(bounds.safe, early.safe_up_to)
    safe, effective = _range(curves, state, bounds, limit, known.margin or 0.0, settings)
    found = None
    if safe is not None:
        found = advise(
            [safe], epsilon_technical=settings.epsilon_technical, confidence=settings.confidence, seed=settings.seed
        )
    peak, error = peak_of(biology), float(np.sqrt((level_errors(biology.noise) ** 2).mean()))
    return Sensitivity(
        delta=delta,
        state=state,
        safe_up_to=bounds.safe,
        unsafe_from=bounds.unsafe,
        bracket=bracket,
        location=location,
        fallback=because,
        contradiction=clash,
        earliest=conflict[0] if conflict and because is None else None,
        early=early,
        limit=limit,
        technical_falls=given.technical_falls,
        window=(found.kept[0], limit) if found is not None and limit is not None else None,
        advised=found,
        recommended=found.weight if found is not None else None,
        detectable_drop=detectable_drop(biology.noise, biology.draws, critical, peak=peak, delta=delta, power=POWER),
        psi=delta * peak / error if error > 0 and peak > 0 else None,
        metric_brackets=by_metric,
        effective=effective,
        range=safe,
    )


def _conditions(
    curves: _Curves,
    bounds: Ends,
    technical: Technical,
    has_signal: bool,
    settings: DecisionSettings,
    unstable: float | None,
) -> Conditions:
    removal, falls = curves.removal, False
    if bounds.unsafe is not None:
        falls = technical_falls(
            removal.means,
            removal.noise,
            removal.draws,
            at=curves.strengths.index(bounds.unsafe),
            epsilon_technical=settings.epsilon_technical,
            confidence=settings.confidence,
        )
    return Conditions(
        strengths=curves.strengths,
        safe_up_to=bounds.safe,
        unsafe_from=bounds.unsafe,
        lambda_unstable=unstable,
        has_signal=has_signal,
        has_technical_effect=technical.has_effect,
        technical_saturated=technical.saturated,
        technical_falls=falls,
    )


def _range(
    curves: _Curves, state: State, bounds: Ends, limit: float | None, margin: float, settings: DecisionSettings
) -> tuple[Range | None, Technical | None]:
    """The strengths among which one may be advised, and what batch removal does among them; None without any."""
    if state not in (*USABLE, *ZERO_AT_LEAST) or (bounds.safe is None and state not in ZERO_AT_LEAST):
        return None, None
    inside = curves.strengths[: 1 if limit is None else curves.strengths.index(limit) + 1]
    effective = None
    if len(inside) > 1:
        effective = assess_technical(
            inside,
            curves.removal.means,
            curves.removal.noise,
            curves.removal.draws,
            epsilon_technical=settings.epsilon_technical,
            epsilon_effective=settings.epsilon_effective,
            confidence=settings.confidence,
        )
    gains = effective is not None and effective.has_effect
    return Range(margin, inside, curves.biology, curves.removal, gains), effective


def _at_chance(curve: Curve, usable: NDArray[np.bool_], settings: DecisionSettings) -> bool:
    """Whether at λ = 0 every technical metric is within ε_T of its ceiling, in the mean of the used runs."""
    names = [use.name for use in curve.metrics if use.role == "technical"]
    return all(curve.by_metric[name][0][usable[0]].mean() >= 1 - settings.epsilon_technical for name in names)


def _moves(curves: _Curves, technical: Technical, chosen: Sensitivity, settings: DecisionSettings) -> bool:
    """Whether strength is shown to change anything: batch removal, or biology in either direction."""
    if technical.has_effect or chosen.unsafe_from is not None:
        return True
    return any(
        bool((entrants([(fitted, len(curves.strengths))], confidence=settings.confidence, seed=0).least() > 0).any())
        for fitted in (curves.biology, curves.removal)
    )


def _intervals(fitted: Fitted, confidence: float) -> list[LevelMean]:
    """Two-sided intervals whose ends are each a one-sided bound at `confidence`."""
    half = stdtrit(fitted.noise.degrees, confidence) * level_errors(fitted.noise)
    return [LevelMean(float(m), float(m - h), float(m + h)) for m, h in zip(fitted.means, half, strict=True)]


def _levels(curve: Curve, screened: Screened) -> tuple[Level, ...]:
    rows = zip(curve.strengths, screened.kept, screened.recorded, screened.lost, screened.rates, strict=True)
    return tuple(Level(s, bool(kept), int(n), int(lost), float(rate)) for s, kept, n, lost, rate in rows)


def _runs(curve: Curve, screened: Screened, usable: NDArray[np.bool_]) -> tuple[Run, ...]:
    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return tuple(
        Run(
            weight=strength,
            seed=seed,
            status=str(screened.status[i, j]),
            used=bool(usable[i, j]),
            biological=number(curve.biological[i, j]),
            technical=number(curve.technical[i, j]),
        )
        for i, strength in enumerate(curve.strengths)
        for j, seed in enumerate(curve.seeds)
        if screened.status[i, j] != "absent"
    )
