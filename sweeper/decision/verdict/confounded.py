"""Perturbations nested in batches: no strength can be judged, as what tells perturbations apart may be the batch.

An encoder that removes the batch from such a screen removes what its perturbations differ in along with it, and no
metric that compares perturbations with themselves, or recognises them in a batch, can tell the one from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.verdict.states import State
from sweeper.metrics.catalogue import BETWEEN_TARGETS

if TYPE_CHECKING:
    from sweeper.decision.verdict.values import JudgedCurve

FEWEST = 2
"""Perturbations, or targets, in several batches that a metric needs to compare."""


@dataclass(frozen=True, kw_only=True)
class Nesting:
    """How many treated perturbations of a screen, and how many of their targets, lie in several batches.

    Attributes:
        batches: of the screen.
        perturbations, spanning: of them, and those in two batches or more; negative controls are not counted.
        targets, spanning_targets: the same of targets, each of which lies where its perturbations do.
    """

    batches: int
    perturbations: int
    spanning: int
    targets: int
    spanning_targets: int

    @property
    def nested(self) -> bool:
        """Phenotype cannot be told from batch by comparing perturbations with themselves."""
        return self.batches > 1 and self.spanning < FEWEST

    @property
    def targets_nested(self) -> bool:
        """Nor by comparing perturbations that share a target."""
        return self.batches > 1 and self.spanning_targets < FEWEST

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def confounded(nesting: Nesting | None, biology: Sequence[str]) -> str | None:
    """Why biology judged by these metrics cannot be told from batch, and what to do; None where it can.

    Args:
        nesting: of the whole screen; None where it is not known.
        biology: the metrics that decide; () for those of perturbations.
    """
    if nesting is None or not nesting.nested:
        return None
    bridge = "add plates that repeat perturbations in other batches"
    few = "each" if nesting.spanning == 0 else f"{nesting.perturbations - nesting.spanning}"
    where = f"{few} of {nesting.perturbations} perturbations lies in one of {nesting.batches} batches only"
    if nesting.spanning:
        where = where.replace(" lies", " lie")
    why = f"{where}, so what tells perturbations apart may be the batch"
    spanning = f"{nesting.spanning_targets} of {nesting.targets} targets lie in several batches"
    if nesting.targets_nested:
        also = f", and {spanning}" if nesting.targets else ""
        return f"{why}{also}: {bridge}"
    if biology and set(biology) <= set(BETWEEN_TARGETS):
        return None
    return f"{why}: judge biology between perturbations that share a target (biology: target; {spanning}), or {bridge}"


def withheld(curve: JudgedCurve, nesting: Nesting | None, settings: DecisionSettings) -> JudgedCurve:
    """The curve without estimate or advice where the design confounds it."""
    biology = [use.name for use in curve.metrics if use.role == "biological"] or settings.primary_biological or ()
    why = confounded(nesting, biology)
    if why is None:
        return curve
    return replace(
        curve,
        state=State.CONFOUNDED_BY_DESIGN,
        reasons=(f"{why[0].upper()}{why[1:]}.",),
        estimate=None,
        sensitivity=(),
    )


__all__ = ["FEWEST", "Nesting", "confounded", "withheld"]
