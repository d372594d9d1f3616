"""The sweep's own arm beyond its grid: strengths and seeds that a search adds to the curve, round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.arms import locate
from sweeper.arms.arm import Arm
from sweeper.arms.observed import strength_composites
from sweeper.arms.optuna_rounds import SAMPLER, propose_strengths
from sweeper.arms.proposal import Block, Proposal, Upcoming
from sweeper.decision.words.numbers import counted

if TYPE_CHECKING:
    from sweeper.arms.standing import Standing
    from sweeper.planning.prepared import Prepared


TITLES = {"optuna": "Optuna proposes", "locate": "towards the point"}


def propose(standing: Standing) -> Proposal | None:
    """The next round of the configured search; None when it has made its rounds, or is settled."""
    config = standing.prepared.config
    made = standing.made(Arm.SWEEP, config.search)
    if config.search == "optuna":
        return _optuna_round(standing, len(made) + 1) if len(made) < config.optuna.rounds else None
    if len(made) >= config.locate.rounds:
        return None
    curve, points = standing.deciding
    if curve is None:
        return None
    return locate.propose(
        points,
        curve,
        options=config.locate,
        trainer=config.how,
        view=config.decision.deciding_view,
        spent=sum(len(standing.prepared.cells_of(proposal)) for proposal in made),
    )


def _optuna_round(standing: Standing, number: int) -> Proposal:
    from sweeper.installed import versions

    config = standing.prepared.config
    view = config.decision.deciding_view
    strengths = propose_strengths(
        strength_composites(standing.own_results, view=view, trainer=config.trainer),
        options=config.optuna,
        margins=config.optuna.margin or config.strengths.margin,
        round_number=number,
        study_name=standing.prepared.sweep_id,
        log=config.how.dials[0].scale == "log",
    )
    return Proposal(
        kind="optuna",
        trainer=config.trainer,
        blocks=(Block(strengths=tuple(strengths)),),
        how={"sampler": SAMPLER, "options": config.optuna.model_dump(mode="json"), "versions": versions()},
    )


def upcoming(prepared: Prepared, made: int) -> Upcoming | None:
    """What the search may add to the grid."""
    config, seeds = prepared.config, len(prepared.config.seeds)
    if config.search == "locate" and config.locate.rounds:
        options = config.locate
        each = options.strengths_per_round * seeds * prepared.folds[config.decision.deciding_view]
        budget = "" if options.max_cells is None else f", {options.max_cells} in all"
        line = f"locate:    until settled: {counted(options.rounds, 'round')} at most, about {each} cells each{budget}"
        most = each * max(0, options.rounds - made)
        return Upcoming(line, most if options.max_cells is None else min(most, options.max_cells))
    if config.search == "optuna" and config.optuna.rounds:
        each = config.optuna.strengths_per_round * seeds * sum(prepared.folds.values())
        line = f"optuna:    {counted(config.optuna.rounds, 'round')}, up to {each} further cells each"
        return Upcoming(line, each * max(0, config.optuna.rounds - made))
    return None
