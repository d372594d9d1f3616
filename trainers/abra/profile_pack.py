"""K cells trained together as stacked parameters: `AbraPack`, the ABRA reconstruction's trainers.base.Pack.

A cell's result does not depend on its companions: the loss is a sum over cells, the optimiser is elementwise, gradients
are clipped by the cell's own norm, every draw comes from the cell's own seed, and matrix products are batched, not
merged. Measured on CPU (x86-64, one and two threads, 60 steps): the embeddings of a cell trained alone, in packs of
2, 5, 12 and 24, and in any order are bit-identical. A platform whose batched matrix product chooses its kernel by the
number of matrices may differ in the last bits, which training amplifies; the tests allow 1e-4.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainers.abra import schedule
from trainers.abra.abra_settings import AbraSettings
from trainers.abra.draws import Purpose, generator
from trainers.abra.encoder import encode, encoder_shapes, initial_values
from trainers.abra.margin import MarginTerms, arc_loss, class_logits, cosines
from trainers.abra.objective import CLASS_VECTORS, MiniBatch, Objective, Terms
from trainers.abra.sampler import CHUNK, GroupSampler, mini_batch_groups
from trainers.abra.stacked import StackedParameters
from trainers.base import FloatArray, IntArray, TrainingCell
from trainers.checks import check_cell, check_indices
from trainers.errors import InputError
from trainers.kept import Fitted
from trainers.threads import torch_threads

_EMBED_ROWS = 8192  # rows embedded at a time


class AbraPack:
    """K cells with any λ, m, seed and training rows, trained in lockstep.

    Args:
        features: (n, d) float32, finite; shared by the cells. Each cell standardises by the mean and standard deviation
            (0 → 1) of its own training rows.
        labels: (n,) class indices 0 … C−1.
        batches: (n,) bio-batch indices 0 … B−1.
        cells: the cells; all must have the same number of bio-batches in a mini-batch (`mini_batch_groups`).
        device: where to train.
        threads: torch threads while training and embedding; None = as they are.

    Raises:
        InputError: arrays or cells that do not fit.
    """

    def __init__(
        self,
        features: FloatArray,
        labels: IntArray,
        batches: IntArray,
        cells: Sequence[TrainingCell],
        settings: AbraSettings,
        *,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        _check_arrays(features, labels, batches)
        adversary = settings.critic != "none" or settings.statistics != "none"
        for cell in cells:
            check_cell(cell, labels, batches, adversary=adversary)
            if settings.early_stopping and not np.isin(labels[cell.validation], labels[cell.train]).any():
                raise InputError(
                    f"cell {cell.key}: early stopping needs validation rows of classes in training; it has none"
                )
        self._cells = tuple(cells)
        self._settings = settings
        self._device = torch.device(device)
        self._threads = threads
        groups = _common_groups(self._cells, batches, settings)
        self._features = self._floats(features)
        self._labels = self._integers(labels)
        own_batches = [batches if cell.batches is None else cell.batches for cell in cells]
        if all(own is batches for own in own_batches):
            self._batches = self._integers(batches)  # (n,), or (K, n) where a cell has its own
        else:
            self._batches = self._integers(np.stack(own_batches))

        count, classes = len(cells), int(labels.max()) + 1
        shapes = encoder_shapes(features.shape[1], settings.hidden_widths, settings.embedding_dim)
        shapes[CLASS_VECTORS] = (classes, settings.embedding_dim)
        self._parameters = StackedParameters(shapes, count, self._device)
        moments: dict[bytes, tuple[Tensor, Tensor]] = {}
        samplers: dict[tuple[int, bytes, bytes], int] = {}
        self._samplers: list[GroupSampler] = []
        self._sampler_of = np.empty(count, np.int64)
        for index, cell in enumerate(cells):
            self._parameters.fill(index, _initial(shapes, cell.seed))
            rows = cell.train.tobytes()
            if rows not in moments:
                moments[rows] = _moments(self._features[self._integers(cell.train)])
            # cells that differ in strength alone see the same mini-batches: draw them once
            key = (cell.seed, rows, b"" if cell.batches is None else cell.batches.tobytes())
            if key not in samplers:
                samplers[key] = len(self._samplers)
                self._samplers.append(
                    GroupSampler(cell.train, own_batches[index], groups=groups, items=settings.items, seed=cell.seed)
                )
            self._sampler_of[index] = samplers[key]
        self._mean = torch.stack([moments[cell.train.tobytes()][0] for cell in cells])  # (K, 1, d)
        self._inverse_std = torch.stack([moments[cell.train.tobytes()][1] for cell in cells])

        class_absent = np.stack([~np.isin(np.arange(classes), labels[cell.train]) for cell in cells])
        self._absent = torch.from_numpy(class_absent[:, None, :]).to(self._device) if class_absent.any() else None
        known = np.arange(int(batches.max()) + 1)
        present = np.stack([np.isin(known, own[cell.train]) for cell, own in zip(cells, own_batches, strict=True)])
        self._objective = Objective(
            settings,
            strengths=[cell.adversarial_weight for cell in cells],
            seeds=[cell.seed for cell in cells],
            absent=self._absent,
            batches_present=torch.from_numpy(present).to(self._device),
            features=features.shape[1],
            groups=groups,
        )
        self._step = 0
        self._chunk = -1
        self._rows = torch.empty(0, dtype=torch.int64)
        self._training = torch.ones(count, dtype=torch.bool, device=self._device)
        self._failed_at = torch.full((count,), -1, dtype=torch.int64, device=self._device)
        self._best = self._parameters.values.clone()
        self._best_loss = [math.inf] * count
        self._waited = [0] * count
        self._histories: list[list[dict[str, float]]] = [[] for _ in cells]
        self._running = True  # some cell still trains; looked at where the curve is recorded, to spare a GPU the wait

    @property
    def step(self) -> int:
        """Optimiser steps done so far."""
        return self._step

    @property
    def total_steps(self) -> int:
        """Optimiser steps of a whole training."""
        return self._settings.steps

    @property
    def checkpoint_steps(self) -> int:
        """Short trainings: a checkpoint is worth no time unless the configuration says."""
        return 0

    def advance(self, steps: int) -> None:
        """Train up to `steps` further optimiser steps (fewer at the end)."""
        with torch_threads(self._threads):
            for _ in range(min(steps, self._settings.steps - self._step)):
                if self._running:
                    self._train_step()
                else:
                    self._step += 1

    def embed(self, index: int, rows: IntArray) -> FloatArray:
        """(len(rows), e) unit embeddings of the given screen rows by cell `index`."""
        return self._embed(index, self._features[self._integers(rows)])

    def embed_features(self, index: int, features: FloatArray) -> FloatArray:
        """(len(features), e) unit embeddings of new rows with the screen's d features, by cell `index`."""
        if features.ndim != 2 or features.shape[1] != self._features.shape[1]:
            raise InputError(
                f"features: shape {features.shape}; the encoder was trained on (n, {self._features.shape[1]})"
            )
        return self._embed(index, self._floats(features))

    def predict(self, index: int, rows: IntArray) -> IntArray:
        """(len(rows),) the class that cell `index` gives each row, among those it trained on, without a margin."""
        unit = torch.from_numpy(self.embed(index, rows)).to(self._device)[None]
        absent = None if self._absent is None else self._absent[index : index + 1]
        scores = cosines(unit, self._values(index)[CLASS_VECTORS])
        logits = class_logits(scores, scale=self._settings.scale, absent=absent)[0]
        return np.asarray(logits.argmax(1).cpu().numpy(), np.int64)

    def fitted(self, index: int) -> Fitted:
        """Cell `index` as layers: its own standardisation, the encoder, unit length."""
        values = {name: value[0].cpu().numpy() for name, value in self._values(index).items() if name != CLASS_VECTORS}
        depth = sum(name.startswith("weight") for name in values)
        layers: list[dict[str, str]] = [{"op": "standardise", "mean": "mean", "factor": "factor"}]
        for i in range(depth):
            layers.append({"op": "dense", "weight": f"weight{i}", "bias": f"bias{i}"})
            layers += [{"op": "relu"}] if i + 1 < depth else []
        moments = {"mean": self._mean[index].cpu().numpy(), "factor": self._inverse_std[index].cpu().numpy()}
        return Fitted((*layers, {"op": "unit"}), {name: array.copy() for name, array in (values | moments).items()})

    def history(self, index: int) -> list[dict[str, float]]:
        """The training curve of cell `index`, one dict per recorded mini-batch; a term not in force has no key.

        Keys: step (updates done), loss, arc, margin and strength in force; batch (ridge: adjusted R²; mlp: the critic's
        cross-entropy, nats), perturbed (L_arc of the perturbed view), align; validation (margin-free loss).
        """
        return [dict(record) for record in self._histories[index]]

    def diverged(self, index: int) -> str | None:
        """Why cell `index` failed, or None. A failed cell keeps the weights it had before that step."""
        step = int(self._failed_at[index])
        return None if step < 0 else f"loss or gradient not finite at step {step + 1} of {self._settings.steps}"

    def state_dict(self) -> dict[str, Any]:
        """Everything a bit-exact resume on CPU needs: tensors and plain values only."""
        return {
            "fingerprint": self._fingerprint(),
            "step": self._step,
            "parameters": self._parameters.state_dict(),
            "mean": self._mean.clone(),
            "inverse_std": self._inverse_std.clone(),
            "objective": self._objective.state_dict(),
            "training": self._training.clone(),
            "failed_at": self._failed_at.clone(),
            "best": self._best.clone(),
            "best_loss": list(self._best_loss),
            "waited": list(self._waited),
            "histories": [self.history(index) for index in range(len(self._cells))],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of a pack of the same cells and settings; raises InputError otherwise."""
        if state.get("fingerprint") != self._fingerprint():
            raise InputError(
                "checkpoint: it belongs to a pack of other cells, settings or data dimensions; start this pack afresh"
            )
        self._step = state["step"]
        self._parameters.load_state_dict(state["parameters"])
        self._mean.copy_(state["mean"])
        self._inverse_std.copy_(state["inverse_std"])
        self._objective.load_state_dict(state["objective"])
        self._training.copy_(state["training"])
        self._failed_at.copy_(state["failed_at"])
        self._best.copy_(state["best"])
        self._best_loss = list(state["best_loss"])
        self._waited = list(state["waited"])
        self._histories = [[dict(record) for record in history] for history in state["histories"]]
        self._running = bool(self._training.any())

    def _train_step(self) -> None:
        settings, step = self._settings, self._step
        margin_share = schedule.margin_factor(step, settings)
        strength_share = schedule.strength_factor(step, settings)
        terms = self._objective(
            self._parameters.views,
            self._mini_batch(step),
            margin=MarginTerms.of([cell.margin * margin_share for cell in self._cells], self._device),
            strength_factor=strength_share,
            step=step,
        )
        own = list(self._parameters.views.values())
        gradients = torch.autograd.grad(terms.total.sum(), own + self._objective.leaves)
        before = self._training
        finite = self._parameters.update(
            gradients[: len(own)],
            count=step + 1,
            rate=schedule.learning_rate(step, settings),
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
            loss=terms.total.detach(),
            training=before,
        )
        self._objective.learn(gradients[len(own) :], terms)
        self._failed_at.masked_fill_(before & ~finite, step)
        self._training = finite
        self._step = step + 1
        if step == 0 or self._due(settings.curve_every):
            self._record(terms, margin_share, strength_share)
            self._running = bool(self._training.any())
        if settings.early_stopping and self._due(settings.evaluate_every):
            self._evaluate()
            self._running = bool(self._training.any())

    def _due(self, every: int) -> bool:
        return self._step % every == 0 or self._step == self._settings.steps

    def _mini_batch(self, step: int) -> MiniBatch:
        chunk, offset = divmod(step, CHUNK)
        if chunk != self._chunk:
            drawn = np.stack([sampler.chunk(chunk) for sampler in self._samplers], axis=1)  # (CHUNK, samplers, G·n)
            self._rows = torch.from_numpy(drawn[:, self._sampler_of]).to(self._device)
            self._chunk = chunk
        rows = self._rows[offset]
        x = self._features.index_select(0, rows.flatten()).view(*rows.shape, -1)
        return MiniBatch(
            x.sub_(self._mean).mul_(self._inverse_std),
            self._labels[rows],
            self._batches[rows] if self._batches.ndim == 1 else self._batches.gather(1, rows),
        )

    def _record(self, terms: Terms, margin_share: float, strength_share: float) -> None:
        position = {cell: row for row, cell in enumerate(self._objective.active)}
        total, arc = terms.total.tolist(), terms.arc.tolist()
        adversarial = {name: values.tolist() for name, values in terms.adversarial.items()}
        for index, trains in enumerate(self._training.tolist()):
            if not trains:
                continue
            cell = self._cells[index]
            record = {
                "step": float(self._step),
                "loss": total[index],
                "arc": arc[index],
                "margin": cell.margin * margin_share,
                "strength": cell.adversarial_weight * strength_share,
            }
            if index in position:
                record |= {name: values[position[index]] for name, values in adversarial.items()}
            self._histories[index].append({name: value for name, value in record.items() if math.isfinite(value)})

    @torch.no_grad()
    def _evaluate(self) -> None:
        """Keep the weights of a cell's lowest validation loss; stop it after `early_stopping` evaluations without."""
        training = self._training.tolist()
        for index, cell in enumerate(self._cells):
            if not training[index]:
                continue
            loss = self._validation_loss(index, cell)
            self._histories[index].append({"step": float(self._step), "validation": loss})
            if loss < self._best_loss[index]:
                self._best_loss[index] = loss
                self._waited[index] = 0
                self._best[index] = self._parameters.values[index]
            else:
                self._waited[index] += 1
                training[index] = self._waited[index] < self._settings.early_stopping
        self._training = torch.tensor(training, device=self._device)

    def _validation_loss(self, index: int, cell: TrainingCell) -> float:
        """Margin-free ArcFace loss over the validation rows of classes the cell trains on."""
        values = {name: view[index : index + 1] for name, view in self._parameters.views.items()}
        absent = None if self._absent is None else self._absent[index : index + 1]
        rows = self._integers(cell.validation)
        labels = self._labels[rows]
        if absent is not None:
            known = ~absent[0, 0, labels]
            rows, labels = rows[known], labels[known]
        x = (self._features[rows] - self._mean[index]) * self._inverse_std[index]
        unit = functional.normalize(encode(values, x[None]), dim=-1)
        cosine = cosines(unit, values[CLASS_VECTORS])
        margin = MarginTerms.of([0.0], self._device)
        return float(arc_loss(cosine, labels[None], margin, scale=self._settings.scale, absent=absent))

    @torch.no_grad()
    def _values(self, index: int) -> dict[str, Tensor]:
        """The parameters of a cell, (1, *shape) each: the best of an early-stopped training, else the last."""
        kept = self._settings.early_stopping > 0 and math.isfinite(self._best_loss[index])
        return self._parameters.split((self._best if kept else self._parameters.values)[index : index + 1])

    def _embed(self, index: int, features: Tensor) -> FloatArray:
        values = self._values(index)
        with torch_threads(self._threads):
            parts = [
                functional.normalize(
                    encode(values, ((part - self._mean[index]) * self._inverse_std[index])[None]), dim=-1
                )[0]
                for part in torch.split(features, _EMBED_ROWS)
            ]
        return np.ascontiguousarray(torch.cat(parts).cpu().numpy(), np.float32)

    def _floats(self, array: FloatArray) -> Tensor:
        return torch.from_numpy(np.require(array, np.float32, ["C", "W"])).to(self._device)

    def _integers(self, array: IntArray) -> Tensor:
        return torch.from_numpy(np.require(array, np.int64, ["C", "W"])).to(self._device)

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self._settings.model_dump_json().encode())
        digest.update(repr((tuple(self._features.shape), self._parameters.values.shape[1])).encode())
        for cell in self._cells:
            digest.update(repr((cell.key, cell.adversarial_weight, cell.margin, cell.seed)).encode())
            digest.update(np.ascontiguousarray(cell.train, np.int64).tobytes() + b"|")
            if cell.batches is not None:
                digest.update(np.ascontiguousarray(cell.batches, np.int64).tobytes() + b"|")
            digest.update(np.ascontiguousarray(cell.validation, np.int64).tobytes() + b"|")
        return f"sha256:{digest.hexdigest()}"


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation (0 → 1) of (n, d) rows, (1, d) each."""
    std, mean = torch.std_mean(rows.double(), dim=0, correction=0, keepdim=True)
    return mean.float(), torch.where(std > 0.0, 1.0 / std, 1.0).float()


def _initial(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, FloatArray]:
    rng = generator(seed, Purpose.INIT)
    values = initial_values({name: shape for name, shape in shapes.items() if name != CLASS_VECTORS}, rng)
    values[CLASS_VECTORS] = rng.standard_normal(shapes[CLASS_VECTORS], np.float32)
    return values


def _check_arrays(features: FloatArray, labels: IntArray, batches: IntArray) -> None:
    if features.ndim != 2 or 0 in features.shape:
        raise InputError(f"features: shape {features.shape} has no rows or columns; it must be (n, d)")
    if not np.isfinite(features).all():
        row, column = np.argwhere(~np.isfinite(features))[0]
        raise InputError(f"features: value at row {row}, column {column} is not finite; impute or drop it first")
    check_indices(labels, batches, len(features))


def _common_groups(cells: Sequence[TrainingCell], batches: IntArray, settings: AbraSettings) -> int:
    if not cells:
        raise InputError("pack: no cells; give at least one")
    groups = [
        mini_batch_groups((batches if cell.batches is None else cell.batches)[cell.train], settings.groups)
        for cell in cells
    ]
    for cell, own in zip(cells, groups, strict=True):
        if own != groups[0]:
            raise InputError(
                f"cell {cell.key}: {own} bio-batches in a mini-batch but {groups[0]} in cell {cells[0].key}; "
                "cells of a pack must have the same number (pack them by split)"
            )
    return groups[0]


__all__ = ["AbraPack"]
