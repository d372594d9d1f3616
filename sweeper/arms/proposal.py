"""What a round adds to a sweep: strengths × seeds of one trainer in some views, kept so that a resume is exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sweeper.arms.arm import Arm, read_name

Strength = tuple[float, float]
"""(adversarial_weight, margin)."""
SEARCHES = ("optuna", "locate")
"""Kinds of rounds that add to the curve; every other kind is the name of the arm beside it."""


@dataclass(frozen=True)
class Upcoming:
    """What may still follow: a line for people, and its cells at most."""

    line: str
    cells: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """Every strength with every seed.

    Attributes:
        strengths: (adversarial_weight, margin).
        seeds: None: the sweep's seeds, however many those become.
    """

    strengths: tuple[Strength, ...]
    seeds: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.strengths)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One round.

    Attributes:
        kind: what proposed it: one of `SEARCHES`, or the arm.
        trainer: whose cells, as they are stored.
        blocks: what is trained; may be empty (nothing new to propose).
        views: None: every view of the sweep.
        why: one clause for people.
        how: what it was made from: options, versions.
    """

    kind: str
    trainer: str
    blocks: tuple[Block, ...]
    views: tuple[str, ...] | None = None
    why: str = ""
    how: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arm(self) -> Arm:
        """What its cells are trained for."""
        return Arm.SWEEP if self.kind in SEARCHES else Arm(self.kind)

    @property
    def own_trainer(self) -> str:
        """The trainer's own name, without the arm."""
        return read_name(self.trainer).trainer

    @property
    def strengths(self) -> tuple[Strength, ...]:
        """Every strength of the round, once, in order."""
        return tuple(dict.fromkeys(strength for block in self.blocks for strength in block.strengths))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Proposal:
        """Inverse of `to_json`."""
        made = cls(
            kind=data["kind"],
            trainer=data["trainer"],
            blocks=tuple(_block(block) for block in data["blocks"]),
            views=None if data["views"] is None else tuple(data["views"]),
            why=data["why"],
            how=data["how"],
        )
        _ = made.arm  # a kind that is no search and no arm is refused here
        return made


def _block(data: Mapping[str, Any]) -> Block:
    strengths: Sequence[Sequence[float]] = data["strengths"]
    seeds = data["seeds"]
    return Block(
        strengths=tuple((float(weight), float(margin)) for weight, margin in strengths),
        seeds=None if seeds is None else tuple(int(seed) for seed in seeds),
    )
