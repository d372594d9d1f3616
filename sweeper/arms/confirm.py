"""The confirming arm: the bounds again, at fixed strengths and with seeds that had no part in finding them."""

from __future__ import annotations

from collections.abc import Iterable
from math import log10
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from sweeper.arms.arm import Arm
from sweeper.arms.proposal import Block, Proposal, Upcoming
from sweeper.config.sections import Section

if TYPE_CHECKING:
    from sweeper.arms.standing import Standing
    from sweeper.decision import JudgedCurve
    from sweeper.planning.prepared import Prepared

TITLE = "confirmation"
FIRST_SEED = 1_000_000
"""Fresh seeds begin here: no sweep counts its own so far."""
MOST_STRENGTHS = 5


class ConfirmOptions(Section):
    """The bounds again, at fixed strengths and with seeds that had no part in finding them."""

    seeds: int = Field(
        default=0,
        ge=0,
        description="Fresh seeds at λ = 0, the recommended strength, the safe bound, the loss and the largest λ of the "
        "deciding curve, after everything else; 0: none. Without them adaptively chosen strengths cost certainty.",
    )

    @field_validator("seeds")
    @classmethod
    def _enough(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one fresh seed confirms nothing; give 2 or more, or 0")
        return value


def confirm_seeds(proposals: Iterable[Proposal]) -> tuple[int, ...]:
    """Fresh seeds of the confirmations, ascending: they take part in nothing that they confirm."""
    confirming = (proposal for proposal in proposals if proposal.arm is Arm.CONFIRM)
    return tuple(sorted({seed for made in confirming for block in made.blocks for seed in block.seeds or ()}))


def propose(standing: Standing) -> Proposal | None:
    """Proposed once for what the real arm holds; when that has grown, again and with seeds that are fresh then."""
    config = standing.prepared.config
    if not config.confirm.seeds or (curve := standing.rule_to_explain) is None:
        return None
    weights = confirm_strengths(curve)
    if not weights or standing.already(Arm.CONFIRM, curve):
        return None
    first = max([FIRST_SEED, *(seed + 1 for seed in confirm_seeds(standing.kept))])
    return Proposal(
        kind=Arm.CONFIRM.value,
        trainer=config.trainer,
        blocks=(
            Block(
                strengths=tuple((weight, float(curve.margin or 0.0)) for weight in weights),
                seeds=tuple(range(first, first + config.confirm.seeds)),
            ),
        ),
        views=(config.decision.deciding_view,),
        why="the bounds on fresh seeds",
        how={"basis": standing.basis, "options": config.confirm.model_dump(mode="json")},
    )


def upcoming(prepared: Prepared, made: int) -> Upcoming | None:
    """What the arm may add to the sweep."""
    config = prepared.config
    if not config.confirm.seeds:
        return None
    cells = MOST_STRENGTHS * config.confirm.seeds * prepared.folds[config.decision.deciding_view]
    nothing = f"{config.how.dials[0].symbol} = 0"
    line = f"confirm:   up to {cells} cells with fresh seeds at {nothing}, the bounds and the largest"
    return Upcoming(line, 0 if made else cells)


def confirm_strengths(curve: JudgedCurve) -> tuple[float, ...]:
    """λ = 0, the recommended strength, the safe bound, the loss and the largest: trained ones, ascending.

    Args:
        curve: the deciding curve.

    Returns:
        None at all for a curve without a bound: there is nothing to confirm.
    """
    levels = curve.kept_weights
    wanted = [bound for bound in (curve.recommended, curve.safe_up_to, curve.unsafe_from) if bound]
    if not wanted or not levels:
        return ()
    nearest = (min(levels, key=lambda level: (abs(log10(level / bound)), level)) for bound in wanted)
    return tuple(sorted({0.0, levels[-1], *nearest}))
