"""`decide`: one trade-off curve in, everything known about its over-correction point out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeper.decision.inference.bracket import (
    Bracket,
    baseline_bracket,
    detectable_drop,
    drawdown_bracket,
    max_t_quantile,
)
from sweeper.decision.inference.fitted import NOTHING, POWER, Fitted, Point, Points, drawn_summaries, fit, peak_of
from sweeper.decision.inference.noise import level_errors, signal_lower_bound
from sweeper.decision.inference.perturbations import NoPerturbationsError, curve_covariances
from sweeper.decision.inference.posterior import Location
from sweeper.decision.inference.technical import Technical, assess_technical, technical_falls
from sweeper.decision.input.collapse_screen import Screened, screen
from sweeper.decision.input.curve import Curve, build_curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import InvalidTableError, prepare, select
from sweeper.decision.input.shortage import shortage
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
    State.BRACKET_ONLY,
    State.NOT_REACHED,
    State.UNSTABLE,
    State.NOT_OVERCORRECTION,
)


def judge_curve(
    results: pd.DataFrame,
    *,
    view: str,
    margin: float,
    settings: DecisionSettings,
    units: pd.DataFrame | None = None,
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

    Returns:
        A decision; a table that cannot be judged gives the state INVALID_INPUT with a reason, never an exception.
    """
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
    points = Points.of(strengths, biology, metrics if len(names) > 1 else {}, settings)
    sensitivity = tuple(
        _sensitivity(strengths, biology, removal, points, delta, technical, has_signal, settings, known)
        for delta in settings.all_deltas
    )
    chosen = next(entry for entry in sensitivity if entry.delta == settings.delta)
    by_metric = {
        name: _bracket(strengths, fitted, settings.delta, settings, known)[0] for name, fitted in metrics.items()
    }
    established = {name: item.unsafe_from for name, item in by_metric.items() if item.unsafe_from is not None}
    at_effective = technical.lambda_effective
    peak = peak_of(biology)
    estimate = Estimate(
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
            below=known.lambda_unstable,
        ),
        technical=technical,
        technical_falls=chosen.technical_falls,
        window=chosen.window,
        recommended=chosen.recommended,
        biology_at_effective=None if at_effective is None else float(biology.means[strengths.index(at_effective)]),
        detectable_drop=chosen.detectable_drop,
        psi=chosen.psi,
        **drawn_summaries(strengths, biology, removal, points.composite, chosen, settings),
        metric_brackets=by_metric,
        metric_locations=points.of_metrics(settings.delta, settings),
        crossings=points.crossings(settings),
        earliest_metric=chosen.earliest or min(established, key=lambda name: (established[name], name), default=None),
    )
    drawn = _intervals(biology, settings.confidence), _intervals(removal, settings.confidence)
    placed = dict(zip(strengths, zip(*drawn, strict=True), strict=True))
    levels = []
    for level in known.levels:
        biological_mean, technical_mean = placed.get(level.weight, (None, None))
        levels.append(replace(level, biological=biological_mean, technical=technical_mean))
    decided = replace(known, state=chosen.state, levels=tuple(levels), estimate=estimate, sensitivity=sensitivity)
    return replace(decided, reasons=reasons(decided))


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


def _sensitivity(
    strengths: tuple[float, ...],
    biology: Fitted,
    removal: Fitted,
    points: Points,
    delta: float,
    technical: Technical,
    has_signal: bool,
    settings: DecisionSettings,
    known: JudgedCurve,
) -> Sensitivity:
    """Location, bracket, state, window and power of the curve at one δ."""
    bracket, critical = _bracket(strengths, biology, delta, settings, known)
    conflict = points.conflict(delta, settings)
    location = conflict[1] if conflict else points.composite.at(delta, settings) if points.composite else None
    fallback = _fallback(strengths, bracket, location, points.composite, settings)
    safe, unsafe = bracket.safe_up_to, bracket.unsafe_from
    if location is not None and fallback is None:
        safe, unsafe = _trained(strengths, location, bracket, settings, known.lambda_unstable)
    given = Conditions(
        strengths=strengths,
        safe_up_to=safe,
        unsafe_from=unsafe,
        lambda_unstable=known.lambda_unstable,
        has_signal=has_signal,
        has_technical_effect=technical.has_effect,
        technical_saturated=technical.saturated,
        technical_falls=unsafe is not None
        and technical_falls(
            removal.means,
            removal.noise,
            removal.draws,
            at=strengths.index(unsafe),
            epsilon_technical=settings.epsilon_technical,
            confidence=settings.confidence,
        ),
    )
    if location is None or fallback is not None:
        state = bracket_state(given)
    else:
        state = located_state(
            given,
            location,
            conflicting=conflict is not None,
            p_identify=settings.p_identify,
            p_not_reached=settings.p_not_reached,
        )
    window = _window(state, technical.lambda_effective_upper, safe)
    peak, error = peak_of(biology), float(np.sqrt((level_errors(biology.noise) ** 2).mean()))
    return Sensitivity(
        delta=delta,
        state=state,
        safe_up_to=safe,
        unsafe_from=unsafe,
        bracket=bracket,
        location=location,
        fallback=fallback,
        earliest=conflict[0] if conflict and fallback is None else None,
        technical_falls=given.technical_falls,
        window=window,
        recommended=window[0] if window else None,
        detectable_drop=detectable_drop(biology.noise, biology.draws, critical, peak=peak, delta=delta, power=POWER),
        psi=delta * peak / error if error > 0 and peak > 0 else None,
    )


def _fallback(
    strengths: tuple[float, ...],
    bracket: Bracket,
    location: Location | None,
    composite: Point | None,
    settings: DecisionSettings,
) -> str | None:
    """Why the posterior does not decide; a loss proven at or below its safe bound is the error that does harm."""
    if settings.method == "bracket":
        return "declared"
    if location is None or composite is None:
        return "no_signal"
    if composite.posterior.lof_p < settings.lack_of_fit:
        return "poor_fit"
    proven, safe = bracket.unsafe_from, location.lower
    beyond = safe is None or safe > strengths[1]  # at the smallest λ > 0 the bound stands for that or less
    return "conflict" if proven is not None and beyond and (safe is None or proven <= safe) else None


def _trained(
    strengths: tuple[float, ...],
    location: Location,
    bracket: Bracket,
    settings: DecisionSettings,
    unstable: float | None,
) -> tuple[float | None, float | None]:
    """Largest trained λ > 0 below the safe bound; smallest at or above the interval's upper end.

    Between "located" and "not reached" the quantiles rest on the prior as much as on the data: the bracket's bounds.
    """
    if location.lower is None:
        unsafe: list[float] = []
    elif location.upper is not None and location.p_detect >= settings.p_identify:
        unsafe = [s for s in strengths[1:] if s >= location.upper * (1 - 1e-9)]
    else:
        return bracket.safe_up_to, bracket.unsafe_from
    limits = [limit for limit in (location.lower, unstable) if limit is not None]
    safe = [s for s in strengths[1:] if all(s < limit for limit in limits)]
    return safe[-1] if safe else None, unsafe[0] if unsafe else None


def _window(state: State, effective: float | None, safe: float | None) -> tuple[float, float] | None:
    """[upper bound of λ_E, safe bound], where the state allows a recommendation and the two do not cross."""
    if state not in USABLE or effective is None or safe is None or effective > safe:
        return None
    return effective, safe


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
