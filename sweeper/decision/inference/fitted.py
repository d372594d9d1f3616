"""What is fitted to a curve before anything is decided: level means with their noise, and posteriors of the point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sweeper.decision.inference.noise import Draws, Noise, draw, fit_levels, positions
from sweeper.decision.inference.posterior import Location, Posterior, crossings, fit_posterior, locate
from sweeper.decision.inference.summaries import effective, locatable_drop, onset, technical_kept
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.verdict.states import State

if TYPE_CHECKING:
    from sweeper.decision.verdict.values import Sensitivity

Array = NDArray[np.float64]
POWER = 0.80
NOTHING = 1e-9  # rounding error of a composite that lies exactly at its floor
APART = 0.5  # decades between the intervals of metrics that conflict


@dataclass(frozen=True, eq=False)
class Fitted:
    """A composite at the kept strengths over the usable runs: level means, their noise and its draws."""

    means: Array
    noise: Noise
    draws: Draws


def fit(
    values: Array, strengths: tuple[float, ...], settings: DecisionSettings, *, stream: int, extra: Array | None = None
) -> Fitted:
    """Level means, noise and draws of (L, S) values; `stream` keeps the draws of different composites apart."""
    means, noise = fit_levels(values, positions(strengths), settings.kernel_width, extra=extra)
    return Fitted(means, noise, draw(noise, settings.draws, (settings.seed, stream)))


@dataclass(frozen=True, eq=False)
class Point:
    """The posterior of one composite or metric; its drawdown serves every δ."""

    posterior: Posterior
    drawdown: Array

    def at(self, delta: float, settings: DecisionSettings) -> Location:
        return locate(self.posterior, self.drawdown, delta, settings.confidence)


@dataclass(frozen=True, eq=False)
class Points:
    """Posteriors of the biological composite (None without a peak above the floor) and of metrics that fit."""

    top: float
    composite: Point | None
    metrics: dict[str, Point]

    @staticmethod
    def of(
        strengths: tuple[float, ...], biology: Fitted, metrics: dict[str, Fitted], settings: DecisionSettings
    ) -> Points:
        made: dict[str, Point] = {}
        if settings.method == "bracket":
            return Points(strengths[-1], None, {})
        compared = metrics if len(metrics) > 1 else {}
        for stream, (name, fitted) in enumerate({"": biology, **compared}.items()):
            peak = peak_of(fitted)
            if peak <= NOTHING:
                continue
            posterior = _posterior(strengths, fitted, peak, settings, stream=1000 + stream)
            if not name or posterior.lof_p >= settings.lack_of_fit:
                made[name] = Point(posterior, posterior.drawdown())
        return Points(strengths[-1], made.pop("", None), made)

    def of_metrics(self, delta: float, settings: DecisionSettings) -> dict[str, Location]:
        return {name: point.at(delta, settings) for name, point in self.metrics.items()}

    def crossings(self, settings: DecisionSettings) -> tuple[float, ...]:
        """Draws of log10 λ_OC at the δ that decides: of the composite or, in a conflict, of the earliest metric."""
        conflict = self.conflict(settings.delta, settings)
        point = self.metrics[conflict[0]] if conflict else self.composite
        return tuple(crossings(point.posterior, point.drawdown, settings.delta).tolist()) if point else ()

    def conflict(self, delta: float, settings: DecisionSettings) -> tuple[str, Location] | None:
        """The earliest metric, where its interval ends more than `APART` decades before another's begins."""
        located = self.of_metrics(delta, settings)
        early = [
            (item.upper, name)
            for name, item in located.items()
            if item.upper is not None and item.p_detect >= settings.p_identify
        ]
        if not early:
            return None
        end, name = min(early)
        latest = max(item.lower or self.top for item in located.values())
        return (name, located[name]) if np.log10(latest / end) > APART else None


def peak_of(biology: Fitted) -> float:
    """Median of the three best level means: a unit, not an estimate."""
    return float(np.median(np.sort(biology.means)[-3:]))


def _posterior(
    strengths: tuple[float, ...], fitted: Fitted, peak: float, settings: DecisionSettings, *, stream: int
) -> Posterior:
    """The posterior of a composite's curve; `stream` keeps its draws apart from the others'."""
    return fit_posterior(
        strengths,
        fitted.means,
        fitted.noise,
        peak=peak,
        discrepancy=settings.discrepancy,
        draws=settings.curves,
        seed=(settings.seed, stream),
    )


def drawn_summaries(
    strengths: tuple[float, ...],
    biology: Fitted,
    removal: Fitted,
    composite: Point | None,
    chosen: Sensitivity,
    settings: DecisionSettings,
) -> dict[str, Any]:
    """What only the drawn curves tell; None where there are none."""
    found: dict[str, Any] = dict.fromkeys(("onset", "effective", "p_technical_kept", "locatable_drop"))
    if composite is None:
        return found
    found["onset"] = onset(composite.posterior, settings.confidence)
    top = peak_of(removal)
    if top > NOTHING:
        drawn = _posterior(strengths, removal, top, settings, stream=999)
        if chosen.limit is not None:
            found["effective"] = effective(drawn, settings.epsilon_effective, settings.confidence, up_to=chosen.limit)
        kept = technical_kept(composite.posterior, drawn, settings.delta, settings.epsilon_technical / top)
        found["p_technical_kept"] = kept
    if chosen.fallback is None and chosen.state in (State.NOT_REACHED, State.INCONCLUSIVE):
        found["locatable_drop"] = locatable_drop(
            strengths,
            biology.noise,
            peak=peak_of(biology),
            discrepancy=settings.discrepancy,
            delta=settings.delta,
            p_identify=settings.p_identify,
            power=POWER,
            seed=(settings.seed, 998),
        )
    return found
