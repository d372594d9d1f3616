"""Which strengths are kept, from the decision: `keep: advised | bounds | all | none`."""

from __future__ import annotations

from typing import Literal

from sweeper.arms.arm import Arm
from sweeper.config.sweep_config import SweepConfig
from sweeper.decision import Decision
from sweeper.errors import InputError
from sweeper.findings.stored import stored_config
from sweeper.spoken import strength_text
from sweeper.store.store import Store

Keep = Literal["advised", "bounds", "all", "none"]
Strength = tuple[float, float]


def advised_strength(decision: Decision) -> Strength | None:
    """(first dial, second dial) that the decision advises; None where it advises none."""
    weight = decision.rule.advice.recommended
    return None if weight is None else (weight, decision.rule.margin or 0.0)


def kept_strengths(which: Keep, decision: Decision, trained: tuple[Strength, ...]) -> tuple[Strength, ...]:
    """The strengths that are kept; bounds are those of the deciding curve."""
    if which == "none":
        return ()
    if which == "all":
        return trained
    advised = advised_strength(decision)
    found = [] if advised is None else [advised]
    if which == "bounds":
        margin, bounds = decision.rule.margin or 0.0, decision.rule.estimate
        found += [(weight, margin) for weight in (bounds.safe_up_to, bounds.unsafe_from) if weight is not None]
    return tuple(dict.fromkeys(found))


def trained_strengths(store: Store, config: SweepConfig) -> tuple[Strength, ...]:
    """The grid and what was proposed beside it, ascending."""
    proposed = [
        strength
        for proposal in store.proposals()
        if proposal.arm is Arm.SWEEP
        for block in proposal.blocks
        for strength in block.strengths
    ]
    return tuple(sorted({*config.strengths.grid(), *proposed}))


def parse_strength(text: str, store: Store) -> Strength:
    """A trained strength as a user writes it: "3" or "3,0.2".

    Raises:
        InputError: no number, or a strength that the sweep has not trained.
    """
    config = stored_config(store)
    trained = trained_strengths(store, config)
    parts = text.replace(" ", "").split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2:
        first, *further = config.how.dials
        form = f"{first.symbol} or {first.symbol},{further[0].symbol}" if further else first.symbol
        raise InputError(f"--strength {text!r}: expected {form}, e.g. {trained[-1][0]:g}")
    fitting = [each for each in trained if each[0] == numbers[0] and numbers[1:] in ([], [each[1]])]
    if not fitting:
        known = ", ".join(strength_text(config.trainer, *each) for each in trained)
        raise InputError(f"--strength {text}: not one that the sweep trained; there are {known}")
    if len(fitting) > 1:
        margins = " or ".join(f"{numbers[0]:g},{each[1]:g}" for each in fitting)
        raise InputError(f"--strength {text}: trained with several settings of the second dial; give {margins}")
    return fitting[0]


__all__ = ["Keep", "Strength", "advised_strength", "kept_strengths", "parse_strength", "trained_strengths"]
