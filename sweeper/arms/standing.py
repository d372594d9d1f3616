"""Where a sweep stands when a round is proposed: what was kept, and the deciding curve of what is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from sweeper.arms.arm import Arm
from sweeper.arms.confirm import confirm_seeds
from sweeper.arms.proposal import Proposal
from sweeper.content import content_hash
from sweeper.decision import JudgedCurve, decide_sweep
from sweeper.decision.verdict.next_points import NextPoints
from sweeper.decision.verdict.states import State
from sweeper.findings.stored import deciding_units, decision_provenance, results_table
from sweeper.planning.prepared import Prepared, known_cells
from sweeper.store.store import Store

NOTHING_TO_EXPLAIN = (State.NO_BASELINE_SIGNAL, State.NO_TECHNICAL_EFFECT)
"""States without a bound to confirm, and without anything that a correction for nothing could have cost."""


@dataclass(frozen=True, eq=False)
class Standing:
    """A sweep with every known cell finished; what is costly is worked out once, when an arm asks."""

    prepared: Prepared
    store: Store

    @cached_property
    def kept(self) -> Sequence[Proposal]:
        """The rounds proposed so far, in order."""
        return self.store.proposals()

    def made(self, arm: Arm, kind: str | None = None) -> list[Proposal]:
        """The kept rounds of an arm (of one kind)."""
        return [made for made in self.kept if made.arm is arm and (kind is None or made.kind == kind)]

    @cached_property
    def results(self) -> pd.DataFrame:
        """The tidy table of every finished cell."""
        return results_table(self.store)

    @property
    def own_results(self) -> pd.DataFrame:
        """The same without the confirmations."""
        return self.results[~self.results["seed"].isin(confirm_seeds(self.kept))]

    @cached_property
    def basis(self) -> str:
        """Hash of the real arm's cells: what a choice that rests on the decision was made from."""
        prepared, own = self.prepared, self.made(Arm.SWEEP)
        cells = known_cells(prepared.config, own, sweep_id=prepared.sweep_id, folds=prepared.folds)
        return content_hash(sorted(cell.cell_id for cell in cells if cell.arm is not Arm.LADDER))

    def already(self, arm: Arm, curve: JudgedCurve) -> bool:
        """Whether a round of the arm was made from the same cells for the same margin."""
        made = (proposal for proposal in self.made(arm) if proposal.how.get("basis") == self.basis)
        return float(curve.margin or 0.0) in (margin for proposal in made for _, margin in proposal.strengths)

    @cached_property
    def deciding(self) -> tuple[JudgedCurve | None, NextPoints]:
        """The deciding curve as it stands, and its next points; no curve where none can be read."""
        config = self.prepared.config
        view = config.decision.deciding_view
        decision = decide_sweep(
            self.results[self.results["view"] == view],
            settings=config.decision,
            provenance=decision_provenance(self.store.description(), self.kept),
            next_options=config.next_options,
            units=deciding_units(self.store, config.decision),
        )
        return decision.curve, decision.next_points

    @property
    def rule_to_explain(self) -> JudgedCurve | None:
        """The deciding curve, where it has a bound that an arm beside it could explain or confirm."""
        curve, _ = self.deciding
        return None if curve is None or curve.state in NOTHING_TO_EXPLAIN else curve

    @property
    def to_explain(self) -> JudgedCurve | None:
        """The deciding curve, where strength moves anything: gains want an explanation as losses do."""
        curve, _ = self.deciding
        if curve is None or curve.estimate is None or curve.state is State.NO_BASELINE_SIGNAL:
            return None
        return curve if curve.estimate.moves else None


__all__ = ["Standing"]
