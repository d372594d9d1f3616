"""Locate: train where the over-correction point is believed to lie, round by round, until it is settled or paid for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeper.arms.proposal import Block, Proposal
from sweeper.config.sections import LocateSearch
from trainers.trainer import Trainer

if TYPE_CHECKING:
    from sweeper.decision import JudgedCurve
    from sweeper.decision.verdict.next_points import NextPoints


def propose(
    points: NextPoints, curve: JudgedCurve, *, options: LocateSearch, trainer: Trainer, view: str, spent: int
) -> Proposal | None:
    """The round that follows the deciding curve's next points; None when it is settled or the budget is spent.

    Args:
        points: of the deciding curve; strengths beyond the trainer's dial are left out.
        curve: that curve.
        spent: cells of earlier rounds of this kind.
    """
    from sweeper.decision.verdict.next_points import REASONS

    weights = [weight for weight in points.weights if trainer.dials[0].allows(weight)]
    if not weights and not points.seeds:
        return None
    if options.max_cells is not None and spent + points.cells > options.max_cells:
        return None
    margin, seeds = float(curve.margin or 0.0), curve.seeds
    kept = [level.weight for level in curve.levels if level.kept]
    blocks = []
    if weights:
        blocks.append(Block(strengths=_at(weights, margin), seeds=seeds))
    if points.seeds:
        first = max(seeds) + 1
        where = kept if points.seeds_at is None else points.seeds_at
        blocks.append(Block(strengths=_at(where, margin), seeds=tuple(range(first, first + points.seeds))))
    return Proposal(
        kind="locate",
        trainer=trainer.name,
        blocks=tuple(blocks),
        views=(view,),
        why=REASONS[points.why],
        how={"options": options.model_dump(mode="json")},
    )


def _at(weights: Sequence[float], margin: float) -> tuple[tuple[float, float], ...]:
    return tuple((float(weight), margin) for weight in weights)
