"""Rounds of a sweep, in words: what may follow the grid, and what has followed it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.arms.proposal import Proposal
    from sweeper.planning.prepared import Prepared
    from sweeper.store.store import Store


@dataclass(frozen=True)
class Upcoming:
    """What may still follow: a line for people, and its cells at most."""

    line: str
    cells: int


def upcoming_rounds(prepared: Prepared) -> list[Upcoming]:
    """What may follow the grid, one entry a kind; cells of rounds that have been proposed already are not counted."""
    from sweeper.arms.pseudo import NONE

    config, deciding = prepared.config, prepared.folds[prepared.config.decision.deciding_view]
    made = Counter(proposal.kind for proposal in prepared.store.proposals())
    seeds, found = len(config.seeds), []
    if config.search == "locate" and config.locate.rounds:
        options = config.locate
        each = options.strengths_per_round * seeds * deciding
        budget = "" if options.max_cells is None else f", {options.max_cells} in all"
        line = f"locate:    until settled: {options.rounds} rounds at most, about {each} cells each{budget}"
        most = each * max(0, options.rounds - made["locate"])
        found.append(Upcoming(line, most if options.max_cells is None else min(most, options.max_cells)))
    elif config.search == "optuna" and config.optuna.rounds:
        each = config.optuna.strengths_per_round * seeds * sum(prepared.folds.values())
        line = f"optuna:    {config.optuna.rounds} rounds, up to {each} further cells each"
        found.append(Upcoming(line, each * max(0, config.optuna.rounds - made["optuna"])))
    if config.sham.enabled and any(weight for weight, _ in config.strengths.grid()):
        movable = prepared.designs[config.decision.deciding_view].movable
        if movable == 0:
            line = "sham arm:  none: every perturbation is in one training batch, so labels cannot be permuted"
            found.append(Upcoming(line, 0))
        else:
            cells = (config.sham.strengths + 1) * len(config.sham.seeds or config.seeds) * deciding
            share = "" if movable == 1 else f"; {movable:.0%} of the training wells can take another label"
            line = f"sham arm:  {cells} cells with batch labels permuted within perturbation{share}"
            found.append(Upcoming(line, 0 if made["sham"] else cells))
    if config.pseudo.enabled:
        if prepared.pseudo_batch is None:
            found.append(Upcoming(f"pseudo:    none: {NONE}", 0))
        else:
            cells = (config.pseudo.strengths + 1) * len(config.pseudo.seeds or config.seeds) * deciding
            line = f"pseudo:    {cells} cells on batch {prepared.pseudo_batch}, split into two at random"
            found.append(Upcoming(line, 0 if made["pseudo"] else cells))
    if config.confirm.seeds:
        cells = 5 * config.confirm.seeds * deciding
        line = f"confirm:   up to {cells} cells with fresh seeds at λ = 0, the bounds and the largest"
        found.append(Upcoming(line, 0 if made["confirm"] else cells))
    return found


def kept_rounds(proposals: Sequence[Proposal], done: Sequence[tuple[int, int]]) -> list[str]:
    """The rounds proposed so far; `done`: finished and planned cells of each."""
    from sweeper.running.sweep import TITLES

    lines = []
    for number, (proposal, (finished, planned)) in enumerate(zip(proposals, done, strict=True), start=1):
        weights = ", ".join(f"{weight:g}" for weight, _ in proposal.strengths)
        why = f" ({proposal.why})" if proposal.why else ""
        what = f"λ = {weights}" if weights else "nothing new"
        lines.append(f"round {number}:  {TITLES[proposal.kind]}: {what}; {finished} of {planned} cells done{why}")
    return lines


def proposed_next(store: Store) -> str:
    """What the decision would have trained next, and its cost: as decided, or by the cells finished so far.

    A sweep's decision.json has no seconds: it comes out equal however often the sweep was interrupted. Returns "" where
    nothing is proposed, or nothing is decided yet.
    """
    from sweeper.decision.words.advice import next_text
    from sweeper.findings.stored import stored_decision
    from sweeper.planning.estimate import finished_seconds

    decision = stored_decision(store)
    if decision is None:
        return ""
    points = decision.next_points
    known = finished_seconds(store) if points.seconds is None else None
    return next_text(points if known is None else replace(points, seconds=points.cells * known[0]))
