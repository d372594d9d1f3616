"""K cells trained together as stacked parameters: `CpDistillerPack`, a trainers.base.Pack.

A cell's result does not depend on its companions: the loss is a sum over cells, the optimiser is elementwise, every
draw comes from the cell's own seed, and matrix products are batched, not merged. Cells may have different training
rows: each has its own epochs, and those with fewer steps wait for the others at the end.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.abra.draws import Purpose, generator
from trainers.abra.stacked import StackedParameters
from trainers.base import FloatArray, Inputs, IntArray, TrainingCell
from trainers.cpdistiller.cpdistiller_settings import CpDistillerSettings
from trainers.cpdistiller.discriminators import EffectLevels, discriminator_shapes, initial_discriminators
from trainers.cpdistiller.distiller_cells import check_distiller_cell, triplets_of
from trainers.cpdistiller.distiller_objective import DistillerBatch, DistillerObjective
from trainers.cpdistiller.distiller_schedule import DistillerSchedule
from trainers.cpdistiller.epochs import EpochSampler
from trainers.cpdistiller.latent_noise import LatentNoise
from trainers.cpdistiller.levels import effect_codes
from trainers.cpdistiller.mixture_vae import ENCODER, encoder_layers, infer, initial_linear, vae_shapes
from trainers.errors import InputError
from trainers.kept import Fitted
from trainers.screens.normalise import location_and_scale
from trainers.threads import torch_threads

_EMBED_ROWS = 8192  # rows embedded at a time


class CpDistillerPack:
    """K cells with any λ, triplet weight, seed and training rows.

    Args:
        inputs: the screen; each cell standardises by the mean and standard deviation of its own training rows.
        cells: the cells.
        device: where to train.
        threads: torch threads while training and embedding; None = as they are.

    Raises:
        InputError: features, positions or cells that do not fit.
    """

    def __init__(
        self,
        inputs: Inputs,
        cells: Sequence[TrainingCell],
        settings: CpDistillerSettings,
        *,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        features = inputs.features
        assert features is not None  # noqa: S101 - what it reads
        if not cells:
            raise InputError("pack: no cells; give at least one")
        self._cells, self._settings = tuple(cells), settings
        self._device, self._threads = torch.device(device), threads
        codes = [
            effect_codes(inputs.wells, inputs.batches if cell.batches is None else cell.batches, settings.effects)
            for cell in cells
        ]
        for cell, own in zip(cells, codes, strict=True):
            check_distiller_cell(cell, own, settings)

        count, trains = len(cells), [cell.train for cell in cells]
        self._features = torch.from_numpy(np.require(features, np.float32, ["C", "W"])).to(self._device)
        moments: dict[bytes, tuple[Tensor, Tensor]] = {}
        samplers: dict[tuple[int, bytes, bytes], int] = {}
        self._samplers: list[EpochSampler] = []
        self._sampler_of = np.empty(count, np.int64)
        for index, cell in enumerate(cells):
            rows = cell.train.tobytes()
            if rows not in moments:
                mean, std = location_and_scale(features[cell.train])
                moments[rows] = (self._row(mean), self._row(1.0 / std))
            # cells that differ in strength alone see the same mini-batches: draw them once
            key = (cell.seed, rows, b"" if cell.batches is None else cell.batches.tobytes())
            if key not in samplers:
                samplers[key] = len(self._samplers)
                triplets = triplets_of(inputs, cell, codes[index], settings)
                self._samplers.append(EpochSampler(cell.train, triplets, size=settings.mini_batch, seed=cell.seed))
            self._sampler_of[index] = samplers[key]
        self._mean = torch.stack([moments[train.tobytes()][0] for train in trains])  # (K, 1, D)
        self._inverse_std = torch.stack([moments[train.tobytes()][1] for train in trains])

        levels: dict[str, EffectLevels] = {
            effect: EffectLevels([own[effect] for own in codes], trains, settings.true_level_share, device)
            for effect in settings.effects
        }
        width = settings.embedding_dim
        shapes = vae_shapes(
            features.shape[1], hidden=settings.hidden_width, latent=width, categories=settings.categories
        )
        own_shapes = discriminator_shapes(levels, latent=width, width=settings.discriminator_width)
        self._vae = StackedParameters(shapes, count, self._device)
        self._discriminators = StackedParameters(own_shapes, count, self._device)
        for index, cell in enumerate(cells):
            self._vae.fill(index, initial_linear(shapes, generator(cell.seed, Purpose.INIT)))
            self._discriminators.fill(index, initial_discriminators(own_shapes, settings.effects, cell.seed))
        weights, triplet_weights = (self._column([cell.dials[dial] for cell in cells])[:, 0] for dial in (0, 1))
        self._strengths = weights
        self._objective = DistillerObjective(settings, levels, triplet_weights)
        steps = np.array([self._samplers[number].steps for number in self._sampler_of], np.int64)
        self._schedule = DistillerSchedule(settings, steps)
        self._noise = LatentNoise(
            [cell.seed for cell in cells],
            rows=3 * settings.mini_batch,
            latent=width,
            categories=settings.categories,
            device=self._device,
        )
        self._average = torch.zeros_like(self._vae.values)
        self._step = 0
        self._healthy = torch.ones(count, dtype=torch.bool, device=self._device)
        self._failed_at = torch.full((count,), -1, dtype=torch.int64, device=self._device)
        self._histories: list[list[dict[str, float]]] = [[] for _ in cells]

    @property
    def step(self) -> int:
        """Optimiser steps done so far."""
        return self._step

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the cell with most."""
        return int(self._schedule.steps.max())

    @property
    def checkpoint_steps(self) -> int:
        """A tenth of a training, which takes minutes on a CPU."""
        return max(1, self.total_steps // 10)

    def advance(self, steps: int) -> None:
        """Train up to `steps` further optimiser steps (fewer at the end)."""
        with torch_threads(self._threads):
            for _ in range(min(steps, self.total_steps - self._step)):
                self._train_step()

    def embed(self, index: int, rows: IntArray) -> FloatArray:
        """(len(rows), e) means of the latent, by the averaged weights and without noise."""
        return self._embed(index, self._features[torch.from_numpy(np.require(rows, np.int64)).to(self._device)])

    def embed_features(self, index: int, features: FloatArray) -> FloatArray:
        """(len(features), e) means of the latent for new rows with the screen's d features, by cell `index`."""
        if features.ndim != 2 or features.shape[1] != self._features.shape[1]:
            raise InputError(
                f"features: shape {features.shape}; the encoder was trained on (n, {self._features.shape[1]})"
            )
        return self._embed(index, torch.from_numpy(np.require(features, np.float32, ["C", "W"])).to(self._device))

    def fitted(self, index: int) -> Fitted:
        """Cell `index` as layers: its own standardisation and the encoder, by the averaged weights."""
        values = self._vae.split(self._weights(index))
        names = [f"{name}.{part}" for name in ENCODER for part in ("weight", "bias")]
        arrays = {name: values[name][0].cpu().numpy().copy() for name in names}
        arrays |= {"location": self._mean[index].cpu().numpy(), "factor": self._inverse_std[index].cpu().numpy()}
        return Fitted(encoder_layers(location="location", factor="factor"), arrays)

    def history(self, index: int) -> list[dict[str, float]]:
        """The training curve of cell `index`, one dict per recorded mini-batch.

        Keys: step (updates done), loss; reconstruction, latent, category (nats), triplets; batch, row, column (the
        discriminators' smoothed cross-entropy, nats); strength in force and temperature.
        """
        return [dict(record) for record in self._histories[index]]

    def diverged(self, index: int) -> str | None:
        """Why cell `index` failed, or None. A failed cell is left as it was at that step."""
        step = int(self._failed_at[index])
        total = int(self._schedule.steps[index])
        return None if step < 0 else f"loss or gradient not finite at step {step + 1} of {total}"

    def state_dict(self) -> dict[str, Any]:
        """Everything a bit-exact resume on CPU needs: tensors and plain values only."""
        return {
            "fingerprint": self._fingerprint(),
            "step": self._step,
            "vae": self._vae.state_dict(),
            "discriminators": self._discriminators.state_dict(),
            "average": self._average.clone(),
            "healthy": self._healthy.clone(),
            "failed_at": self._failed_at.clone(),
            "histories": [self.history(index) for index in range(len(self._cells))],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of a pack of the same cells and settings; raises InputError otherwise."""
        if state.get("fingerprint") != self._fingerprint():
            raise InputError(
                "checkpoint: it belongs to a pack of other cells, settings or data dimensions; start this pack afresh"
            )
        self._step = state["step"]
        self._vae.load_state_dict(state["vae"])
        self._discriminators.load_state_dict(state["discriminators"])
        self._average.copy_(state["average"])
        self._healthy.copy_(state["healthy"])
        self._failed_at.copy_(state["failed_at"])
        self._histories = [[dict(record) for record in history] for history in state["histories"]]

    def _train_step(self) -> None:
        settings, step, schedule = self._settings, self._step, self._schedule
        temperature = self._column(schedule.temperature(step))[:, 0]
        reversal = self._strengths * self._column(schedule.reversal(step))[:, 0]
        terms = self._objective.terms(
            self._vae.views,
            self._discriminators.views,
            self._mini_batch(step),
            temperature=temperature,
            reversal=reversal,
        )
        loss = self._objective.total(terms, self._features.shape[1])
        own = list(self._vae.views.values())
        gradients = torch.autograd.grad(loss.sum(), own + list(self._discriminators.views.values()))
        share = self._column(schedule.rate_share(step))
        running = self._healthy & torch.from_numpy(step < schedule.steps).to(self._device)
        finite = running
        for parameters, part, rate in (
            (self._vae, gradients[: len(own)], settings.learning_rate),
            (self._discriminators, gradients[len(own) :], settings.discriminator_learning_rate),
        ):
            finite = parameters.update(
                part,
                count=step + 1,
                rate=rate * share,
                weight_decay=settings.weight_decay,
                clip_norm=math.inf,
                loss=loss.detach(),
                training=finite,
            )
        failed = running & ~finite
        self._failed_at.masked_fill_(failed, step)
        self._healthy &= ~failed
        self._step = step + 1
        self._take_average(finite & torch.from_numpy(self._step % schedule.epoch_steps == 0).to(self._device))
        if step == 0 or self._step % settings.curve_every == 0 or (self._step >= schedule.steps).any():
            self._record({"loss": loss, **terms, "strength": reversal, "temperature": temperature}, finite)

    @torch.no_grad()
    def _take_average(self, ended: Tensor) -> None:
        """Take the weights of cells that `ended` (K,) an epoch into their average."""
        if ended.any():
            new = (1.0 - self._settings.average_decay) * ended.to(self._average.dtype)[:, None]
            self._average.lerp_(self._vae.values, new)

    def _mini_batch(self, step: int) -> DistillerBatch:
        # a cell that is through sees its last mini-batch again, and learns nothing from it
        last = [self._settings.epochs * sampler.steps - 1 for sampler in self._samplers]
        drawn = [sampler.at(min(step, end)) for sampler, end in zip(self._samplers, last, strict=True)]
        rows = torch.from_numpy(np.stack([part for part, _ in drawn])[self._sampler_of]).to(self._device)  # (K, 3, B)
        weights = torch.from_numpy(np.stack([part for _, part in drawn])[self._sampler_of]).to(self._device)
        x = self._features.index_select(0, rows.flatten()).view(len(rows), -1, self._features.shape[1])
        return DistillerBatch(
            x.sub_(self._mean).mul_(self._inverse_std), rows[:, 0].contiguous(), weights, *self._noise.at(step)
        )

    def _record(self, values: dict[str, Tensor], finite: Tensor) -> None:
        told = {name: value.tolist() for name, value in values.items()}
        for index, trains in enumerate(finite.tolist()):
            own = int(self._schedule.steps[index])
            if trains and (self._step in (1, own) or self._step % self._settings.curve_every == 0):
                self._histories[index].append(
                    {"step": float(self._step), **{name: value[index] for name, value in told.items()}}
                )

    @torch.no_grad()
    def _weights(self, index: int) -> Tensor:
        """(1, P) averaged weights of a cell, without the part of the average that is still its start."""
        epochs = int(self._schedule.epoch(self._step)[index])
        if not epochs:
            return self._vae.values[index : index + 1]
        return self._average[index : index + 1] / (1.0 - self._settings.average_decay**epochs)

    @torch.no_grad()
    def _embed(self, index: int, features: Tensor) -> FloatArray:
        values = self._vae.split(self._weights(index))
        with torch_threads(self._threads):
            parts = [
                infer(values, ((part - self._mean[index]) * self._inverse_std[index])[None]).mean[0]
                for part in torch.split(features, _EMBED_ROWS)
            ]
        return np.ascontiguousarray(torch.cat(parts).cpu().numpy(), np.float32)

    def _row(self, values: Any) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32)[None]).to(self._device)

    def _column(self, values: Any) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32)[:, None]).to(self._device)

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self._settings.model_dump_json().encode())
        digest.update(repr((tuple(self._features.shape), self._discriminators.values.shape[1])).encode())
        for cell in self._cells:
            digest.update(repr((cell.key, *cell.dials, cell.seed)).encode())
            for rows in (cell.train, cell.batches):
                digest.update(b"|" if rows is None else np.ascontiguousarray(rows, np.int64).tobytes() + b"|")
        return f"sha256:{digest.hexdigest()}"


__all__ = ["CpDistillerPack"]
