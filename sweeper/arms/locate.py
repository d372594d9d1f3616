"""Locate: train where the over-correction point is believed to lie, round by round, until it is settled or paid for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.arms.proposal import Block, Proposal
from sweeper.config.sections import LocateSearch
from sweeper.decision.verdict.next_points import REASONS
from trainers.trainer import Trainer


def propose(
    points: Mapping[str, Any],
    curve: Mapping[str, Any],
    *,
    options: LocateSearch,
    trainer: Trainer,
    view: str,
    spent: int,
) -> Proposal | None:
    """The round that follows the deciding curve's next points; None when it is settled or the budget is spent.

    Args:
        points: `next_points` of the deciding curve; strengths beyond the trainer's dial are left out.
        curve: that curve, as in decision.json.
        spent: cells of earlier rounds of this kind.
    """
    strengths = [strength for strength in points["strengths"] if trainer.dials[0].allows(strength)]
    if not strengths and not points["seeds"]:
        return None
    if options.max_cells is not None and spent + points["cells"] > options.max_cells:
        return None
    margin, seeds = float(curve["margin"]), tuple(curve["seeds"])
    kept = [level["strength"] for level in curve["levels"] if level["kept"]]
    blocks = []
    if strengths:
        blocks.append(Block(strengths=_at(strengths, margin), seeds=seeds))
    if points["seeds"]:
        first = max(seeds) + 1
        where = kept if points["seeds_at"] is None else points["seeds_at"]
        blocks.append(Block(strengths=_at(where, margin), seeds=tuple(range(first, first + points["seeds"]))))
    return Proposal(
        kind="locate",
        trainer=trainer.name,
        blocks=tuple(blocks),
        views=(view,),
        why=REASONS[points["why"]],
        how={"options": options.model_dump(mode="json")},
    )


def _at(strengths: Sequence[float], margin: float) -> tuple[tuple[float, float], ...]:
    return tuple((float(strength), margin) for strength in strengths)
