"""What a trainer says of itself, so that a sweep of it can be configured, planned, run, scored and reported.

A trainer is named once, in `trainers.registry` or by an entry point of the group `sweeper.trainers`; nothing else knows
its name.
"""

# ruff: noqa: ARG002, B027 - what a trainer may say beyond its packs has an answer here that most can keep
from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from trainers.base import Inputs, Pack, TrainingCell

Scale = Literal["log", "linear"]


@dataclass(frozen=True, kw_only=True)
class Spaced:
    """`count` settings from `low` to `high`, ends included, spaced by the dial's scale."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Dial:
    """One thing that is turned to correct more.

    Attributes:
        name: in words, "adversarial weight".
        short: the same where there is little room, "margin"; "": `name`.
        by: what of the trainer corrects, where another can be set: "critic". Advice names it; "": it says to try
            another method.
        symbol: as it stands in sentences and axes, "λ".
        low, high: the smallest and the largest setting; both may be set, `high` only with `closed`.
        closed: whether `high` itself may be set.
        scale: how settings are spaced, and drawn.
        none: the setting that corrects nothing; None where no setting of this dial does.
        published: the setting that its authors publish; None where there is none.
        grid: what is swept unless the configuration says; `none` is added to the first dial's.
    """

    name: str
    symbol: str
    low: float = 0.0
    high: float = math.inf
    closed: bool = True
    scale: Scale = "log"
    none: float | None = 0.0
    published: float | None = None
    grid: Spaced | tuple[float, ...]
    short: str = ""
    by: str = ""

    @property
    def word(self) -> str:
        """The name as sentences and tables say it: "margin"."""
        return self.short or self.name

    @property
    def title(self) -> str:
        """Name and symbol: "adversarial weight λ"."""
        return f"{self.name} {self.symbol}"

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and largest setting above 0 of `grid`: where a search looks unless the configuration says."""
        ends = (self.grid.low, self.grid.high) if isinstance(self.grid, Spaced) else self.grid
        above = [setting for setting in ends if setting > 0]
        return min(above), max(above)

    def allows(self, setting: float) -> bool:
        """Whether it can be set so."""
        below = setting <= self.high if self.closed else setting < self.high
        return math.isfinite(setting) and self.low <= setting and below

    def refusal(self, setting: float) -> str:
        """For people: why a setting that is not allowed is refused."""
        return f"expected {self.title} of {self.range_text}, got {setting:g}"

    @property
    def range_text(self) -> str:
        """For people: "0 or more", "0 or more and at most 1", "0 or more and less than 1.5708"."""
        above = "at most" if self.closed else "less than"
        return f"{self.low:g} or more" + ("" if math.isinf(self.high) else f" and {above} {self.high:.5g}")


class Trainer(ABC):
    """One way to correct: what it reads, its settings and dials, and packs of cells that it trains.

    Attributes:
        name: in configurations, tables and ids: lower case, digits and _; the settings stand under it.
        summary: what it is, in a few words.
        settings: what is fixed over a sweep.
        dials: one or two. The first is the strength, and 0 of it must correct nothing; it is stored as
            `adversarial_weight`, the second as `margin` (0 where there is none).
        reads: profiles, or the images themselves.
        classifies: whether its packs are `Classifies`; a ladder is read from plain accuracies and needs it.
        embeds_features: whether its packs are `EmbedsFeatures`: a phenotype can then be planted and read again.
        reads_scored_rows: whether the rows that are scored are corrected by their own batch labels: an arm that
            permutes labels then permutes theirs as well.
        one_at_a_time: whether the cells of a pack train one after another; each is then finished before the next.
        pack_size: cells of a pack unless the configuration says; None: as many as keep the workers busy.
        trial_steps: steps to warm up and steps to time in a dry run's estimate.
        sweep_wide: settings that no rung of a ladder may change.
        as_published: settings, other than the defaults, under which the dials' `published` is what people run.
        files: settings that name files; their content is in `identity`, their path in no id.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    settings: ClassVar[type[BaseModel]]
    dials: ClassVar[tuple[Dial, ...]]
    reads: ClassVar[Literal["profiles", "images"]] = "profiles"
    classifies: ClassVar[bool] = False
    embeds_features: ClassVar[bool] = False
    reads_scored_rows: ClassVar[bool] = False
    one_at_a_time: ClassVar[bool] = False
    pack_size: ClassVar[int | None] = None
    trial_steps: ClassVar[tuple[int, int]] = (2, 6)
    sweep_wide: ClassVar[tuple[str, ...]] = ()
    as_published: ClassVar[Mapping[str, Any]] = {}
    files: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def pack(
        self, inputs: Inputs, cells: Sequence[TrainingCell], settings: Any, *, device: str = "cpu", threads: int = 1
    ) -> Pack:
        """The cells, ready to be trained together.

        Args:
            inputs: the screen; `features` or `images` as the trainer reads.
            cells: in the order in which the pack numbers them.
            settings: an instance of the class's `settings`.

        Raises:
            InputError: inputs, cells or settings that do not fit.
        """

    def inductive(self, settings: Any) -> bool:
        """Whether batches that it never saw can be embedded.

        A transductive trainer corrects the screen it was fitted on, and serves views within its batches alone.
        """
        return True

    def reads_batches(self, settings: Any) -> bool:
        """Whether batch labels matter to it; where they do not, permuted ones would train the same cells again."""
        return True

    def identity(self, settings: Any) -> dict[str, Any]:
        """The settings as the sweep's identity holds them: files by their content.

        Raises:
            InputError: a file that is not there.
        """
        found: dict[str, Any] = settings.model_dump(mode="json")
        return found

    def located(self, settings: Any, folder: Path) -> Any:
        """The settings with relative paths taken from `folder`, that of the configuration."""
        return settings

    def check(self, settings: Any, strengths: Iterable[tuple[float, float]]) -> None:
        """Raise ValueError, one line with the key, for settings that do not go with the dials."""

    def check_rung(self, changes: Mapping[str, Any], strengths: Sequence[tuple[float, float]]) -> None:
        """Raise ValueError where what a rung of a ladder changes would do nothing at its strengths."""

    def try_out(self, inputs: Inputs, settings: Any) -> None:
        """Raise InputError for what only shows when a cell is made, before anything is written."""

    def not_kept(self, settings: Any) -> str | None:
        """Why a fitted cell cannot be kept and given other rows, in words after "cannot be kept:"; None: it can.

        One that can gives packs that are `trainers.kept.Keepable`.
        """
        return "it does not say how a fitted cell is written down"

    def stops_early(self, settings: Any) -> bool:
        """Whether it looks at validation rows while it trains."""
        return False

    def width(self, settings: Any) -> int | None:
        """Dimension of an embedding; None where it is known only when a cell is made."""
        return None


__all__ = ["Dial", "Scale", "Spaced", "Trainer"]
