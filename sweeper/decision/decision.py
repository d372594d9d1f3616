"""`decide`: one trade-off curve in, everything known about its over-correction point out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeper.decision.bracket import Bracket, baseline_bracket, detectable_drop, drawdown_bracket, max_t_quantile
from sweeper.decision.curve import Curve, build_curve
from sweeper.decision.noise import Draws, Noise, draw, fit_noise, level_errors, positions, signal_lower_bound
from sweeper.decision.reasons import reasons
from sweeper.decision.screen import Screen, screen
from sweeper.decision.settings import DecisionSettings
from sweeper.decision.states import State, bracket_state
from sweeper.decision.table import InvalidTableError, prepare, select
from sweeper.decision.technical import Technical, assess_technical, technical_falls
from sweeper.decision.values import Decision, Estimate, Level, LevelMean, Run, Sensitivity

Array = NDArray[np.float64]
POWER = 0.80
NOTHING = 1e-9  # rounding error of a composite that lies exactly at its floor
USABLE = (State.BRACKET_ONLY, State.NOT_REACHED, State.UNSTABLE, State.NOT_OVERCORRECTION)


def decide(results: pd.DataFrame, *, view: str, margin: float, settings: DecisionSettings) -> Decision:
    """Judge one trade-off curve by the drawdown bracket.

    The order of the steps is the order of the exclusions: validate, anchor, count what failed, screen for collapse,
    drop strengths that lost too many runs, keep the seeds that are complete at all others, and only then look at the
    curve. Nothing is imputed.

    Args:
        results: tidy table, one row a metric of a cell (`table.COLUMNS`); any order.
        view: evaluation view.
        margin: angular margin of the curve.

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
    complete = screened.complete()
    known = replace(
        blank,
        levels=_levels(curve, screened),
        runs=_runs(curve, screened, complete),
        seeds=tuple(seed for seed, whole in zip(curve.seeds, complete, strict=True) if whole),
        metrics=curve.metrics,
        left_out=curve.left_out,
        controls=curve.controls,
        lambda_unstable=screened.lambda_unstable,
    )
    shortage = _shortage(curve, screened, settings)
    if shortage is not None:
        return replace(known, state=shortage[0], reasons=(f"{shortage[1]}.",))
    return _judge(known, curve, screened, settings)


def refusal(view: str, margin: float | None, reason: str, settings: DecisionSettings) -> Decision:
    """INVALID_INPUT: nothing about the curve could be read."""
    return Decision(view, margin, None, settings.delta, settings.confidence, State.INVALID_INPUT, (reason,))


def _shortage(curve: Curve, screened: Screen, settings: DecisionSettings) -> tuple[State, str] | None:
    """Why the curve cannot be judged: too little was run, or too much of it was lost."""
    positive = [s for s in curve.strengths if s > 0]
    kept = [s for s, keep in zip(curve.strengths, screened.kept, strict=True) if keep and s > 0]
    lost, recorded = int(screened.lost.sum()), int(screened.recorded.sum())
    if 0.0 not in curve.strengths:
        return State.INSUFFICIENT_DATA, "λ = 0 was not run: there is nothing uncorrected to compare with"
    if len(positive) < settings.min_strengths:
        need = f"{len(positive)} strengths λ > 0 were run and {settings.min_strengths} are needed"
        return State.INSUFFICIENT_DATA, f"{need}: add {settings.min_strengths - len(positive)}"
    if not screened.kept[0] or len(kept) < settings.min_strengths:
        dropped = f"at {len(positive) - len(kept)} of {len(positive)} strengths λ > 0"
        where = dropped if screened.kept[0] else "already at λ = 0"
        return State.UNSTABLE, f"training fails {where} ({lost} of {recorded} runs lost): too little is left to judge"
    complete = int(screened.complete().sum())
    if len(curve.seeds) < settings.min_seeds:
        return State.INSUFFICIENT_DATA, f"{len(curve.seeds)} seeds were run and {settings.min_seeds} are needed"
    if complete < settings.min_seeds:
        gaps = [
            f"λ = {curve.strengths[level]:.3g} seed {curve.seeds[seed]} ({screened.status[level, seed]})"
            for level, seed in np.argwhere((screened.status != "ok") & screened.kept[:, None])
        ]
        shown = ", ".join(gaps[:4]) + (f" and {len(gaps) - 4} more" if len(gaps) > 4 else "")
        have = f"{complete} seeds are complete at every strength and {settings.min_seeds} are needed"
        return State.INSUFFICIENT_DATA, f"{have}: missing are {shown}"
    degrees = len(kept) * (complete - 1)
    if degrees < settings.min_degrees_of_freedom:
        need = f"{degrees} residual degrees of freedom, {settings.min_degrees_of_freedom} needed"
        return State.INSUFFICIENT_DATA, f"{need}: add seeds or strengths"
    return None


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A composite at the kept strengths over the complete seeds: level means, their noise and its draws."""

    means: Array
    noise: Noise
    draws: Draws


def _judge(known: Decision, curve: Curve, screened: Screen, settings: DecisionSettings) -> Decision:
    """The estimate and its state, from the complete seeds at the kept strengths."""
    cells = np.ix_(screened.kept, screened.complete())
    strengths = tuple(s for s, keep in zip(curve.strengths, screened.kept, strict=True) if keep)
    biology = _fit(curve.biological[cells], strengths, settings, stream=0)
    removal = _fit(curve.technical[cells], strengths, settings, stream=1)
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
    sensitivity = tuple(
        _sensitivity(strengths, biology, removal, delta, technical, signal_lower, settings, known)
        for delta in settings.all_deltas
    )
    chosen = next(entry for entry in sensitivity if entry.delta == settings.delta)
    by_metric = {
        use.name: _bracket(
            strengths,
            _fit(curve.by_metric[use.name][cells], strengths, settings, stream=2 + place),
            settings.delta,
            settings,
            known,
        )[0]
        for place, use in enumerate(use for use in curve.metrics if use.role == "biological")
    }
    established = {name: item.unsafe_from for name, item in by_metric.items() if item.unsafe_from is not None}
    effective = technical.lambda_effective
    peak = _peak(biology)
    estimate = Estimate(
        peak=peak,
        lambda_peak=strengths[int(np.argmax(biology.means))],
        signal_lower=signal_lower,
        sigma=biology.noise.sigma / peak if peak > 0 else float("inf"),
        safe_up_to=chosen.safe_up_to,
        unsafe_from=chosen.unsafe_from,
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
        biology_at_effective=None if effective is None else float(biology.means[strengths.index(effective)]),
        detectable_drop=chosen.detectable_drop,
        psi=chosen.psi,
        metric_brackets=by_metric,
        earliest_metric=min(established, key=lambda name: (established[name], name), default=None),
    )
    drawn = _intervals(biology, settings.confidence), _intervals(removal, settings.confidence)
    placed = dict(zip(strengths, zip(*drawn, strict=True), strict=True))
    levels = []
    for level in known.levels:
        biological_mean, technical_mean = placed.get(level.strength, (None, None))
        levels.append(replace(level, biological=biological_mean, technical=technical_mean))
    decided = replace(known, state=chosen.state, levels=tuple(levels), estimate=estimate, sensitivity=sensitivity)
    return replace(decided, reasons=reasons(decided))


def _fit(values: Array, strengths: tuple[float, ...], settings: DecisionSettings, *, stream: int) -> _Fitted:
    """Level means, noise and draws of (L, S) values; `stream` keeps the draws of different composites apart."""
    noise = fit_noise(values, positions(strengths), settings.kernel_width)
    return _Fitted(values.mean(axis=1), noise, draw(noise, settings.draws, (settings.seed, stream)))


def _peak(biology: _Fitted) -> float:
    """Median of the three best level means: a unit, not an estimate."""
    return float(np.median(np.sort(biology.means)[-3:]))


def _bracket(
    strengths: tuple[float, ...], fitted: _Fitted, delta: float, settings: DecisionSettings, known: Decision
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
    biology: _Fitted,
    removal: _Fitted,
    delta: float,
    technical: Technical,
    signal_lower: float,
    settings: DecisionSettings,
    known: Decision,
) -> Sensitivity:
    """Bracket, state, window and power of the curve at one δ."""
    bracket, critical = _bracket(strengths, biology, delta, settings, known)
    falls = bracket.unsafe_from is not None and technical_falls(
        removal.means,
        removal.noise,
        removal.draws,
        at=strengths.index(bracket.unsafe_from),
        epsilon_technical=settings.epsilon_technical,
        confidence=settings.confidence,
    )
    state = bracket_state(
        strengths=strengths,
        safe_up_to=bracket.safe_up_to,
        unsafe_from=bracket.unsafe_from,
        lambda_unstable=known.lambda_unstable,
        has_signal=signal_lower > NOTHING,
        has_technical_effect=technical.has_effect,
        technical_saturated=technical.saturated,
        technical_falls=falls,
    )
    window = _window(state, technical.lambda_effective_upper, bracket.safe_up_to)
    peak, sigma = _peak(biology), biology.noise.sigma
    return Sensitivity(
        delta=delta,
        state=state,
        safe_up_to=bracket.safe_up_to,
        unsafe_from=bracket.unsafe_from,
        technical_falls=falls,
        window=window,
        recommended=window[0] if window else None,
        detectable_drop=detectable_drop(biology.noise, biology.draws, critical, peak=peak, delta=delta, power=POWER),
        psi=delta * np.sqrt(biology.noise.n_seeds) * peak / sigma if sigma > 0 and peak > 0 else None,
    )


def _window(state: State, effective: float | None, safe: float | None) -> tuple[float, float] | None:
    """[upper bound of λ_E, safe bound], where the state allows a recommendation and the two do not cross."""
    if state not in USABLE or effective is None or safe is None or effective > safe:
        return None
    return effective, safe


def _intervals(fitted: _Fitted, confidence: float) -> list[LevelMean]:
    """Two-sided intervals whose ends are each a one-sided bound at `confidence`."""
    half = stdtrit(fitted.noise.degrees, confidence) * level_errors(fitted.noise)
    return [LevelMean(float(m), float(m - h), float(m + h)) for m, h in zip(fitted.means, half, strict=True)]


def _levels(curve: Curve, screened: Screen) -> tuple[Level, ...]:
    rows = zip(curve.strengths, screened.kept, screened.recorded, screened.lost, screened.rates, strict=True)
    return tuple(Level(s, bool(kept), int(n), int(lost), float(rate)) for s, kept, n, lost, rate in rows)


def _runs(curve: Curve, screened: Screen, complete: NDArray[np.bool_]) -> tuple[Run, ...]:
    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return tuple(
        Run(
            strength=strength,
            seed=seed,
            status=str(screened.status[i, j]),
            used=bool(screened.kept[i] and complete[j]),
            biological=number(curve.biological[i, j]),
            technical=number(curve.technical[i, j]),
        )
        for i, strength in enumerate(curve.strengths)
        for j, seed in enumerate(curve.seeds)
        if screened.status[i, j] != "absent"
    )
