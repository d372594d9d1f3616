"""From configuration to a plan: content-addressed cells, and packs of them that train together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweeper.arms.arm import Arm, read_name, stored_name
from sweeper.config.sweep_config import SweepConfig
from sweeper.content import content_hash
from sweeper.metrics.catalogue import BETWEEN_TARGETS, CONTROLS, IN_SWEEP, METRICS, OF_TARGETS, PLAIN_ACCURACIES
from sweeper.spoken import strength_text

MAX_PACK = 96
OF_CELL = ("cell_id", "trainer", "adversarial_weight", "margin", "seed", "view", "fold", "split")
"""What names a cell in tables."""

SplitKey = tuple[str, int, int]
"""View, fold, seed."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """trainer × strength × seed × split; `cell_id` is its content hash within the sweep.

    Attributes:
        arm: what it is trained for.
        trainer: name as stored, with the arm (`sweeper.arms.arm`): "abra", "control:raw".
        adversarial_weight, margin: settings of the trainer's first and second dial; None for controls.
    """

    cell_id: str
    arm: Arm
    trainer: str
    adversarial_weight: float | None
    margin: float | None
    seed: int
    view: str
    fold: int

    @property
    def split(self) -> str:
        """Name of the split, "held_out_batches/2"."""
        return f"{self.view}/{self.fold}"

    @property
    def split_key(self) -> SplitKey:
        """What a split is drawn from: view, fold and seed."""
        return self.view, self.fold, self.seed

    @property
    def is_control(self) -> bool:
        """True for embeddings that are not trained."""
        return self.arm is Arm.CONTROL

    @property
    def label(self) -> str:
        """For people: "abra λ=3 m=0.3 seed 1 held_out_plates/0"."""
        where = f"seed {self.seed} {self.split}"
        if self.adversarial_weight is None or self.margin is None:
            return f"{self.trainer} {where}"
        own = read_name(self.trainer).trainer
        return f"{self.trainer} {strength_text(own, self.adversarial_weight, self.margin)} {where}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class PackPlan:
    """Cells of one split family that run as one Ray Tune trial."""

    pack_id: str
    cells: tuple[Cell, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"pack_id": self.pack_id, "cells": [cell.to_json() for cell in self.cells]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PackPlan:
        """Inverse of `to_json`."""
        return cls(
            pack_id=data["pack_id"], cells=tuple(Cell(**{**cell, "arm": Arm(cell["arm"])}) for cell in data["cells"])
        )


def panel_names(config: SweepConfig) -> tuple[str, ...]:
    """Metrics the sweep measures, in the registry's order: those it names, else those marked `in_sweep`.

    Images are scored per image too, as WILDS does; so are the rungs of a ladder, see `cell_metrics`. Where biology is
    judged between targets, what decides is always among them.
    """
    wanted = config.metrics
    if wanted is None:
        wanted = (*IN_SWEEP, *(PLAIN_ACCURACIES if config.images is not None else ()))
    if config.biology == "target":
        deciding = config.decision.primary_biological or ()
        wanted = (*wanted, *(OF_TARGETS if config.metrics is None else BETWEEN_TARGETS[:1]))
        wanted = (*wanted, *(name for name in BETWEEN_TARGETS if name in deciding))
    return tuple(name for name in METRICS if name in wanted)


def as_begun(config: SweepConfig, identity: Mapping[str, Any]) -> SweepConfig:
    """The configuration with the splits and, where it names none itself, the panel that a sweep was begun with.

    A sweep goes on as what it is: what is measured by default, and how splits are drawn, may have changed since.
    """
    update: dict[str, Any] = {"split_draws": identity.get("split_draws", "first")}
    stored = tuple(identity.get("metrics", panel_names(config)))
    if config.biology == "target" and config.decision.primary_biological == BETWEEN_TARGETS:
        named = tuple(name for name in BETWEEN_TARGETS if name in stored)
        config = config.model_copy(
            update={"decision": config.decision.model_copy(update={"primary_biological": named})}
        )
    if config.metrics is None and stored != panel_names(config):
        update["metrics"] = stored
    return config.model_copy(update=update)


def cell_metrics(config: SweepConfig, cell: Cell) -> tuple[str, ...]:
    """The panel of a cell: the sweep's, for a rung with the plain accuracies that the ladder is read from."""
    names = panel_names(config)
    return (*names, *(name for name in PLAIN_ACCURACIES if name not in names)) if cell.arm is Arm.LADDER else names


def settings_identity(config: SweepConfig) -> dict[str, Any]:
    """The trainer's settings as the sweep's identity holds them, with the frozen backbone that feeds it.

    Raises:
        InputError: a backbone that does not exist, or a file that is not there.
    """
    settings = config.how.identity(config.trainer_settings)
    return settings if config.frozen is None else {**settings, "frozen": config.frozen.identity()}


def sweep_identity(config: SweepConfig, fingerprint: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What makes two sweeps the same sweep: data, preparation, splits, trainer settings and panel.

    Strengths and seeds are left out, so that a finished sweep can be extended with more of them. `settings`:
    `settings_identity`, where it is known already.
    """
    # A sweep begun before splits could be drawn again goes on with those that it has.
    drawn = {} if config.split_draws == "first" else {"split_draws": config.split_draws}
    return {
        "schema": "sweep/1",
        **drawn,
        "data": fingerprint,
        "normalise": config.normalise,
        "views": [view.model_dump(mode="json") for view in config.views],
        "held_out_perturbations": config.held_out_perturbations,
        "trainer": config.trainer,
        "settings": settings_identity(config) if settings is None else dict(settings),
        "metrics": list(panel_names(config)),
        # What else is kept, and where it is computed, changes no number.
        "panel": config.panel.model_dump(mode="json", exclude={"units", "device"}),
    }


def make_cells(
    sweep_id: str,
    trainer: str,
    strengths: Iterable[tuple[float, float]],
    seeds: Sequence[int],
    folds: Mapping[str, int],
    *,
    arm: Arm = Arm.SWEEP,
) -> tuple[Cell, ...]:
    """Every strength × seed × split of the trainer in an arm; `folds` maps a view to its number of folds."""
    return tuple(
        _cell(sweep_id, arm, trainer, weight, margin, seed, view, fold)
        for view, count in folds.items()
        for weight, margin in strengths
        for seed in seeds
        for fold in range(count)
    )


def control_cells(sweep_id: str, seeds: Sequence[int], folds: Mapping[str, int]) -> tuple[Cell, ...]:
    """Every control × seed × split."""
    return tuple(
        _cell(sweep_id, Arm.CONTROL, name, None, None, seed, view, fold)
        for view, count in folds.items()
        for name in CONTROLS
        for seed in seeds
        for fold in range(count)
    )


def _cell(
    sweep_id: str, arm: Arm, trainer: str, weight: float | None, margin: float | None, seed: int, view: str, fold: int
) -> Cell:
    stored = stored_name(arm, trainer)
    return Cell(
        cell_id=content_hash([sweep_id, stored, weight, margin, seed, view, fold]),
        arm=arm,
        trainer=stored,
        adversarial_weight=weight,
        margin=margin,
        seed=seed,
        view=view,
        fold=fold,
    )


def make_packs(
    cells: Sequence[Cell],
    *,
    workers: int,
    pack_size: int | None = None,
    training_batches: Mapping[SplitKey, int] | None = None,
) -> tuple[PackPlan, ...]:
    """Group cells that can train together into packs, balanced over `workers`.

    Cells of a family share kind (trained, control, or an arm that packs apart and its trainer), view, fold and, since
    it sets the shape of a mini-batch, the number of training batches (`training_batches`, by `Cell.split_key`;
    the same for all without it). Without `pack_size` a family is cut into as few packs as keep every worker busy and
    none above `MAX_PACK` cells. Which pack a cell is in does not change its result, so the cut is free. Trained packs
    come first: they take longest.
    """
    families: dict[tuple[bool, str, str, int, int], list[Cell]] = {}
    for cell in cells:
        batches = 0 if training_batches is None else training_batches[cell.split_key]
        kind = cell.trainer if cell.arm.packs_apart else ""
        families.setdefault((cell.is_control, kind, cell.view, cell.fold, batches), []).append(cell)
    trained = sum(1 for is_control, *_ in families if not is_control)
    packs = []
    for (is_control, *_), members in sorted(families.items()):
        if pack_size is not None:
            size = pack_size
        else:
            share = 1 if is_control else max(1, -(-workers // max(1, trained)))
            parts = max(share if len(members) >= 2 * share else 1, -(-len(members) // MAX_PACK))
            size = -(-len(members) // parts)
        for start in range(0, len(members), size):
            part = tuple(members[start : start + size])
            packs.append(PackPlan(pack_id=content_hash([c.cell_id for c in part]), cells=part))
    return tuple(packs)
