"""What the arms beside the curve share: which of its strengths they train again, once for every state of the curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator

from sweeper.arms.arm import Arm, stored_name
from sweeper.arms.proposal import Block, Proposal
from sweeper.config.sections import Section, counted_seeds

if TYPE_CHECKING:
    from sweeper.arms.standing import Standing
    from sweeper.decision import JudgedCurve
    from sweeper.planning.prepared import Prepared


class BesideOptions(Section):
    """Options of an arm that trains key strengths of the deciding curve again; a subclass says when it is on."""

    enabled: bool
    strengths: int
    key: ClassVar[int] = 3
    """Key strengths of the curve, all of which are trained."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, min_length=1, description="Seeds of the arm; none: those of the sweep. A number n: 0..n-1."
    )

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        return counted_seeds(value)

    def most_cells(self, prepared: Prepared) -> int:
        """Cells of a round at most, λ = 0 included."""
        config = prepared.config
        seeds, folds = len(self.seeds or config.seeds), prepared.folds[config.decision.deciding_view]
        return (max(self.strengths, self.key) + 1) * seeds * folds


def propose_beside(
    standing: Standing,
    arm: Arm,
    options: BesideOptions,
    curve: JudgedCurve | None,
    *,
    gains: bool = False,
    why: str,
    how: Mapping[str, Any],
) -> Proposal | None:
    """Proposed once for what the real arm holds; again, for strengths the arm lacks, when that has grown.

    Args:
        curve: what the arm explains; None: there is nothing to.
        gains: as `key_strengths`.
        why, how: of the proposal.
    """
    if curve is None or standing.already(arm, curve):
        return None
    config = standing.prepared.config
    have = {strength for proposal in standing.made(arm) for strength in proposal.strengths}
    margin = float(curve.margin or 0.0)
    wanted = [(weight, margin) for weight in (0.0, *key_strengths(curve, options.strengths, gains=gains))]
    new = tuple(strength for strength in wanted if strength not in have)
    if not new or len(wanted) == 1:
        return None
    return Proposal(
        kind=arm.value,
        trainer=stored_name(arm, config.trainer),
        blocks=(Block(strengths=new, seeds=options.seeds),),
        views=(config.decision.deciding_view,),
        why=why,
        how={"basis": standing.basis, "options": options.model_dump(mode="json"), **how},
    )


def key_strengths(curve: JudgedCurve, count: int, *, gains: bool = False) -> tuple[float, ...]:
    """λ > 0 of an arm: those trained ones nearest the safe bound, nearest the loss, and the largest.

    Args:
        curve: the deciding curve.
        count: strengths wanted; what these leave open is filled where the gap, in decades, is largest.
        gains: the arm explains gains as well as losses: the advised strength too or, where none above 0 is, that of the
            best biology.

    Returns:
        Ascending, at least one for a curve with an estimate; none without.
    """
    levels = curve.kept_weights
    if curve.estimate is None or not levels:
        return ()
    interval = curve.estimate.interval
    safe, loss = interval.lower, interval.median or interval.upper
    chosen = {levels[-1]}
    advised = curve.estimate.advised
    gained = advised.weight if advised is not None and advised.weight > 0 else curve.best_weight
    if gains and gained:
        chosen.add(gained)
    if loss is not None:
        chosen.add(_nearest(levels, loss))
        chosen.add(_nearest(levels, safe) if safe is not None else levels[0])
    elif safe is not None:
        chosen.add(_nearest(levels, safe))
    while len(chosen) < min(count, len(levels)):
        left = [level for level in levels if level not in chosen]
        chosen.add(max(left, key=lambda level: (min(abs(log10(level / other)) for other in chosen), -level)))
    return tuple(sorted(chosen))


def _nearest(levels: Sequence[float], strength: float) -> float:
    return min(levels, key=lambda level: (abs(log10(level / strength)), level))


__all__ = ["BesideOptions", "key_strengths", "propose_beside"]
