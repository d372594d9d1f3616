"""One cell's training: network, objective, optimiser and counters, with an exact resume."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.abra import schedule
from trainers.abra.draws import Purpose, generator
from trainers.abra.sampler import CHUNK, GroupSampler, mini_batch_groups
from trainers.base import IntArray, TrainingCell
from trainers.images.augment import augmented, draw
from trainers.images.image_objective import ImageBatch, ImageObjective, ImageTerms
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.inputs import RowReader, in_format
from trainers.images.network import ImageNetwork, to_device


@dataclass(frozen=True)
class _Timeline:
    """The settings with a cell's own number of steps, as `trainers.abra.schedule` reads them."""

    steps: int
    learning_rate: float
    learning_rate_warmup: float
    margin_warmup: float
    strength_schedule: str


def cell_steps(settings: ImageAbraSettings, train_batches: IntArray) -> int:
    """T of a cell: `steps`, or `epochs` times the whole mini-batches that its training rows fill."""
    if settings.steps is not None:
        return settings.steps
    groups = mini_batch_groups(train_batches, settings.groups)
    return settings.epochs * max(1, len(train_batches) // (groups * settings.items * settings.accumulation))


class CellTraining:
    """The training of one cell on a device.

    Args:
        labels, batches: (n,) class and bio-batch indices of every row.
        classes: C over the whole screen.
        image_size: side of a training image, after cropping.
    """

    def __init__(
        self,
        cell: TrainingCell,
        settings: ImageAbraSettings,
        reader: RowReader,
        labels: IntArray,
        batches: IntArray,
        *,
        classes: int,
        shape: tuple[int, int, int],
        device: torch.device,
    ) -> None:
        channels, self._height, self._width = shape
        image_size = settings.augment.crop or self._height
        self.cell = cell
        self.steps = cell_steps(settings, batches[cell.train])
        self.step = 0
        self.history: list[dict[str, float]] = []
        self._settings = settings
        self._reader = reader
        self._labels = labels
        self._batches = batches
        self._device = device
        self._groups = mini_batch_groups(batches[cell.train], settings.groups)
        side = (settings.augment.crop,) * 2 if settings.augment.crop else (self._height, self._width)
        count = self._groups * settings.items
        self._space = torch.empty((count, channels, *side)) if device.type == "cpu" else None
        self._sampler = GroupSampler(cell.train, batches, groups=self._groups, items=settings.items, seed=cell.seed)
        self._chunk = -1
        self._rows = np.empty((0, 0), np.int64)
        self._timeline = _Timeline(
            steps=self.steps,
            learning_rate=settings.learning_rate,
            learning_rate_warmup=settings.learning_rate_warmup,
            margin_warmup=settings.margin_warmup,
            strength_schedule=settings.strength_schedule,
        )
        network = ImageNetwork(settings, channels=channels, image_size=image_size, classes=classes, seed=cell.seed)
        present = np.isin(np.arange(int(batches.max()) + 1), batches[cell.train])
        absent = ~np.isin(np.arange(classes), labels[cell.train])
        self.network = to_device(network, settings, device).train()
        self._objective = ImageObjective(
            settings,
            self.network,
            strength=cell.adversarial_weight,
            seed=cell.seed,
            absent=torch.from_numpy(absent).to(device),
            present=torch.from_numpy(present).to(device),
            groups=self._groups,
            items=settings.items,
            channels=channels,
            image_size=image_size,
        )
        if settings.compile:
            self.network.backbone.compile()
        self._parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self._optimiser = _optimiser(self._parameters, settings, device)
        self._failed_at = torch.full((), -1, dtype=torch.int64, device=device)
        self.failed_step: int | None = None

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train."""
        return self.step >= self.steps or self.failed_step is not None

    def train_step(self) -> None:
        """One optimiser step."""
        settings, step = self._settings, self.step
        margin = self.cell.margin * schedule.margin_factor(step, self._timeline)
        strength = schedule.strength_factor(step, self._timeline)
        # dropout and stochastic depth draw from torch's own stream; the pack restores it
        torch.manual_seed(int(generator(self.cell.seed, Purpose.STOCHASTIC_LAYERS, step).integers(2**63)))
        terms: ImageTerms | None = None
        for number in range(step * settings.accumulation, (step + 1) * settings.accumulation):
            batch = self._mini_batch(number)
            terms = self._objective(batch, margin=margin, strength_factor=strength, number=number)
            (terms.total / settings.accumulation).backward()  # type: ignore[no-untyped-call]
            self._objective.after_backward(terms)
        assert terms is not None  # noqa: S101 - accumulation ≥ 1
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, settings.clip_norm)
        failed = ~(torch.isfinite(norm) & torch.isfinite(terms.total.detach()))
        self._failed_at = torch.where(failed & (self._failed_at < 0), step, self._failed_at)
        for group in self._optimiser.param_groups:
            group["lr"] = schedule.learning_rate(step, self._timeline)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.step = step + 1
        if self.step == 1 or self.step % settings.curve_every == 0 or self.step >= self.steps:
            self._record(terms, margin, strength)

    def state_dict(self) -> dict[str, Any]:
        """Copies, on the CPU: tensors and plain values only. Every draw is a function of the step, so none is kept."""
        return {
            "step": self.step,
            "network": cpu_copies(self.network.state_dict()),
            "optimiser": _copied(self._optimiser.state_dict()),
            "objective": _copied(self._objective.state_dict()),
            "failed_at": int(self._failed_at),
            "history": [dict(record) for record in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` copied."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(_copied(state["optimiser"]))
        self._objective.load_state_dict(state["objective"])
        self._failed_at.fill_(state["failed_at"])
        self.failed_step = None if state["failed_at"] < 0 else state["failed_at"]
        self.history = [dict(record) for record in state["history"]]

    def _mini_batch(self, number: int) -> ImageBatch:
        settings = self._settings
        rows, then = self._rows_at(number), None
        if (number + 1) % CHUNK:
            then = self._rows_at(number + 1)
        rng = generator(self.cell.seed, Purpose.AUGMENTATION, number)
        one = draw(
            rng,
            settings.augment,
            groups=self._groups,
            items=settings.items,
            height=self._height,
            width=self._width,
        )
        x, share = augmented(self._reader.read(rows, then), one, settings.augment, self._space)
        labels = self._labels[rows]
        partner = None if one.partner is None else self._indices(labels[one.partner])
        return ImageBatch(
            in_format(x, settings), self._indices(labels), self._indices(self._batches[rows]), partner, share
        )

    def _rows_at(self, number: int) -> IntArray:
        chunk, offset = divmod(number, CHUNK)
        if chunk != self._chunk:
            self._rows = self._sampler.chunk(chunk)
            self._chunk = chunk
        rows: IntArray = self._rows[offset]
        return rows

    def _indices(self, values: IntArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device, non_blocking=True)

    def _record(self, terms: ImageTerms, margin: float, strength: float) -> None:
        """One record of the curve; the device is waited for here alone, so this is also where failure is seen."""
        failed = int(self._failed_at)
        if failed >= 0:
            self.failed_step = failed
            return
        record = {
            "step": float(self.step),
            "loss": float(terms.total.detach()),
            "arc": float(terms.arc),
            "margin": margin,
            "strength": self.cell.adversarial_weight * strength,
        } | {name: float(value) for name, value in terms.adversarial.items()}
        self.history.append({name: value for name, value in record.items() if math.isfinite(value)})


def cpu_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the tensors on the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(inner) for inner in value)
    return value


def _optimiser(
    parameters: list[torch.nn.Parameter], settings: ImageAbraSettings, device: torch.device
) -> torch.optim.Optimizer:
    fused = device.type in ("cuda", "cpu")
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=decay, fused=fused)
    kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return kind(parameters, rate, weight_decay=decay, fused=fused)


__all__ = ["CellTraining", "cell_steps", "cpu_copies"]
