"""What a round adds to a sweep: strengths × seeds of one trainer in some views, kept so that a resume is exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Strength = tuple[float, float]
"""(adversarial_weight, margin)."""
Kind = Literal["optuna", "locate", "sham", "pseudo", "confirm"]


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
        kind: what proposed it.
        trainer: whose cells.
        blocks: what is trained; may be empty (nothing new to propose).
        views: None: every view of the sweep.
        why: one clause for people.
        how: what it was made from: options, versions.
    """

    kind: Kind
    trainer: str
    blocks: tuple[Block, ...]
    views: tuple[str, ...] | None = None
    why: str = ""
    how: Mapping[str, Any] = field(default_factory=dict)

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
        return cls(
            kind=data["kind"],
            trainer=data["trainer"],
            blocks=tuple(_block(block) for block in data["blocks"]),
            views=None if data["views"] is None else tuple(data["views"]),
            why=data["why"],
            how=data["how"],
        )


def _block(data: Mapping[str, Any]) -> Block:
    strengths: Sequence[Sequence[float]] = data["strengths"]
    seeds = data["seeds"]
    return Block(
        strengths=tuple((float(weight), float(margin)) for weight, margin in strengths),
        seeds=None if seeds is None else tuple(int(seed) for seed in seeds),
    )
