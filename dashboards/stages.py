"""Before and after: the embeddings that are compared in words and in the batch probe's chart."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.dial import letter
from dashboards.figures.tradeoff import TradeOff
from dashboards.formatting import number
from sweeper.decision import JudgedCurve


@dataclass(frozen=True)
class Stage:
    """One embedding: the raw features (`weight` None) or the level of a strength, with its two composites."""

    label: str
    weight: float | None
    biological: float | None
    technical: float | None


def stages(curve: JudgedCurve, numbers: TradeOff) -> tuple[Stage, ...]:
    """Raw features, λ = 0, the strength the rule points at, and the largest strength that has a mean.

    The rule points at the recommended strength; without one at the safe bound, without that at the best biology.
    """
    means = {panel.role: {mean.weight: mean.mean for mean in panel.means} for panel in numbers.panels}
    raw = (curve.controls or {}).get("raw", {})
    pointed = (
        ("recommended", curve.recommended),
        ("safe bound", curve.safe_up_to),
        ("best biology", curve.best_weight),
    )
    chosen = next(((label, weight) for label, weight in pointed if weight), None)
    measured = sorted({weight for of in means.values() for weight in of})
    wanted = [("no correction", 0.0)] if 0.0 in measured else []
    wanted += [chosen] if chosen else []
    if measured and measured[-1] > max((weight for _, weight in wanted), default=0.0):
        wanted.append(("largest", measured[-1]))
    found = [Stage("raw features", None, raw.get("biological"), raw.get("technical"))] if curve.controls else []
    return (
        *found,
        *(
            Stage(
                f"{label}, {letter()}\u00a0=\u00a0{number(weight)}",
                weight,
                means["biological"].get(weight),
                means["technical"].get(weight),
            )
            for label, weight in wanted
        ),
    )
