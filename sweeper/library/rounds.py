"""Rounds of a sweep, in words: what has followed the grid, and what would come next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.arms.proposal import Proposal
    from sweeper.store.store import Store


def kept_rounds(proposals: Sequence[Proposal], done: Sequence[tuple[int, int]]) -> list[str]:
    """The rounds proposed so far; `done`: finished and planned cells of each."""
    from sweeper.arms.arm_rounds import TITLES
    from sweeper.spoken import dial_of

    lines = []
    for number, (proposal, (finished, planned)) in enumerate(zip(proposals, done, strict=True), start=1):
        weights = ", ".join(f"{weight:g}" for weight, _ in proposal.strengths)
        why = f" ({proposal.why})" if proposal.why else ""
        what = f"{dial_of(proposal.own_trainer).symbol} = {weights}" if weights else "nothing new"
        lines.append(f"round {number}:  {TITLES[proposal.kind]}: {what}; {finished} of {planned} cells done{why}")
    return lines


def proposed_next(store: Store) -> str:
    """What the decision would have trained next, and its cost: as decided, or by the cells finished so far.

    A sweep's decision.json has no seconds: it comes out equal however often the sweep was interrupted. Returns "" where
    nothing is proposed, or nothing is decided yet.
    """
    if not store.decision_path.exists():
        return ""
    from sweeper.decision.words.advice import next_text
    from sweeper.findings.stored import readable_decision
    from sweeper.planning.estimate import finished_seconds
    from sweeper.spoken import dials_of, spoken

    decision = readable_decision(store)
    if decision is None:
        return ""
    points = decision.next_points
    known = finished_seconds(store) if points.seconds is None else None
    found = next_text(points if known is None else replace(points, seconds=points.cells * known[0]))
    return spoken(found, dials_of(decision.trainer))
