"""Before and after: the embeddings that are compared in words and in the batch probe's chart."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.dial import letter
from dashboards.figures.tradeoff import TradeOff
from dashboards.formatting import number
from sweeper.decision import JudgedCurve


@dataclass(frozen=True)
class Stage:
    """One embedding: the raw features (`strength` None) or the level of a strength, with its two composites."""

    label: str
    strength: float | None
    biological: float | None
    technical: float | None


def stages(curve: JudgedCurve, numbers: TradeOff) -> tuple[Stage, ...]:
    """Raw features, λ = 0, the strength the rule points at, and the largest strength that has a mean.

    The rule points at the recommended strength; without one at the safe bound, without that at the best biology.
    """
    means = {panel.role: {mean.strength: mean.mean for mean in panel.means} for panel in numbers.panels}
    raw = (curve.controls or {}).get("raw", {})
    pointed = (
        ("recommended", curve.recommended),
        ("safe bound", curve.safe_up_to),
        ("best biology", curve.best_weight),
    )
    chosen = next(((label, strength) for label, strength in pointed if strength), None)
    measured = sorted({strength for of in means.values() for strength in of})
    wanted = [("no correction", 0.0)] if 0.0 in measured else []
    wanted += [chosen] if chosen else []
    if measured and measured[-1] > max((strength for _, strength in wanted), default=0.0):
        wanted.append(("largest", measured[-1]))
    found = [Stage("raw features", None, raw.get("biological"), raw.get("technical"))] if curve.controls else []
    return (
        *found,
        *(
            Stage(
                f"{label}, {letter()}\u00a0=\u00a0{number(strength)}",
                strength,
                means["biological"].get(strength),
                means["technical"].get(strength),
            )
            for label, strength in wanted
        ),
    )
