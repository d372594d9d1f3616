"""Cells trained one after another on one device: `ImagePack`, the image trainer's trainers.base.Pack.

A cell does not depend on its companions: each has its own network, optimiser and draws, one is on the device at a time,
and what torch's own generator gives to dropout is seeded from the cell's seed and step.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainers.base import FloatArray, Images, IntArray, TrainingCell
from trainers.checks import check_cell, check_indices
from trainers.errors import InputError, OutOfMemoryError
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.inputs import RowReader, check_images, evaluated
from trainers.images.network import ImageNetwork, to_device
from trainers.images.training import CellTraining, cell_steps, cpu_copies
from trainers.threads import torch_threads


class ImagePack:
    """K cells with any λ, m, seed and training rows, each with its own network.

    Args:
        images: (n, channels, s, s) uint8 or uint16, memory-mapped where it is large; shared by the cells.
        labels: (n,) class indices 0 … C−1.
        batches: (n,) bio-batch indices.
        reader: of an earlier pack of the same images on the same device; None = a new one.
        device: where to train.
        threads: torch threads while training and embedding; None = as they are.

    Raises:
        InputError: arrays, cells or settings that do not fit; an unknown backbone; weights that are absent.
        OutOfMemoryError: the first cell's network does not fit into the device's memory.
    """

    def __init__(
        self,
        images: Images,
        labels: IntArray,
        batches: IntArray,
        cells: Sequence[TrainingCell],
        settings: ImageAbraSettings,
        *,
        reader: RowReader | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        check_images(images, settings)
        check_indices(labels, batches, len(images))
        if not cells:
            raise InputError("pack: no cells; give at least one")
        adversary = settings.critic != "none" or settings.statistics != "none"
        for cell in cells:
            check_cell(cell, labels, batches if cell.batches is None else cell.batches, adversary=adversary)
            if settings.head == "linear" and cell.margin > 0.0:
                raise InputError(f"cell {cell.key}: margin {cell.margin} with head = linear; only arcface has a margin")
        self._images = images
        self._labels = labels
        self._batches = batches
        self._cells = tuple(cells)
        self._settings = settings
        self._device = torch.device(device)
        self._threads = threads
        self._classes = int(labels.max()) + 1
        self.reader = RowReader(images, self._device) if reader is None else reader
        self._steps = [cell_steps(settings, self._batches_of(cell)[cell.train]) for cell in cells]
        self._finished: list[dict[str, Any]] = []
        self._training: CellTraining | None = None
        self._shown: tuple[int, ImageNetwork] | None = None
        # a wrong backbone, weight file or point must show before the first pack is counted as running
        with self._memory():
            self._open()

    @property
    def step(self) -> int:
        """Optimiser steps done so far, over the cells; a failed cell counts as trained."""
        done = sum(self._steps[: len(self._finished)])
        return done if self._training is None else done + self._training.step

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all cells' whole trainings."""
        return sum(self._steps)

    @property
    def checkpoint_steps(self) -> int:
        """Optimiser steps of one epoch of the first cell."""
        return max(1, self._steps[0] // self._settings.epochs) if self._settings.steps is None else self._steps[0]

    def advance(self, steps: int) -> None:
        """Train up to `steps` further optimiser steps (fewer at the end).

        Raises:
            OutOfMemoryError: a cell does not fit into the device's memory; the pack cannot go on.
        """
        self._shown = None
        target = min(self.step + steps, self.total_steps)
        with torch_threads(self._threads), self._memory(), self._own_random_stream():
            while self.step < target:
                self._open().train_step()
                self._close_if_done()

    def embed(self, index: int, rows: IntArray) -> FloatArray:
        """(len(rows), e) unit embeddings of the given screen rows by cell `index`."""
        return self.embed_images(index, self._images, rows)

    def embed_images(self, index: int, images: Images, rows: IntArray) -> FloatArray:
        """(len(rows), e) unit embeddings of rows of any images with the screen's channels and size, by cell `index`."""
        if images.shape[1:] != self._images.shape[1:]:
            raise InputError(f"images: shape {images.shape}; the encoder was trained on (n, {self._shape_text()})")
        if not len(rows):  # a split without validation rows
            return np.empty((0, self._network(index).class_vectors.shape[1]), np.float32)
        parts = [functional.normalize(part, dim=-1) for part in self._embeddings(index, images, rows)]
        return np.ascontiguousarray(torch.cat(parts).cpu().numpy(), np.float32)

    def predict(self, index: int, rows: IntArray) -> IntArray:
        """(len(rows),) the class that cell `index` gives each image, among those it trained on, without a margin."""
        cell = self._cells[index]
        absent = torch.from_numpy(~np.isin(np.arange(self._classes), self._labels[cell.train])).to(self._device)
        network = self._network(index)
        parts = []
        with torch.no_grad():
            for part in self._embeddings(index, self._images, rows):
                if network.class_bias is None:
                    scores = functional.normalize(part, dim=-1) @ functional.normalize(network.class_vectors, dim=-1).T
                else:
                    scores = functional.linear(part, network.class_vectors, network.class_bias)
                parts.append(scores.masked_fill(absent, -torch.inf).argmax(1))
        return np.asarray(torch.cat(parts).cpu().numpy(), np.int64)

    def accuracy(self, index: int, rows: IntArray) -> float:
        """Plain per-image accuracy of `predict`, as WILDS scores RxRx1 (over all images, each counted once)."""
        return float(np.mean(self.predict(index, rows) == self._labels[rows]))

    def history(self, index: int) -> list[dict[str, float]]:
        """The training curve of cell `index`; keys as `AbraPack.history`'s, without validation."""
        if index < len(self._finished):
            records = self._finished[index]["history"]
        elif index == len(self._finished) and self._training is not None:
            records = self._training.history
        else:
            records = []
        return [dict(record) for record in records]

    def diverged(self, index: int) -> str | None:
        """Why cell `index` failed, or None."""
        step = self._finished[index]["failed_at"] if index < len(self._finished) else -1
        return None if step < 0 else f"loss or gradient not finite at step {step + 1} of {self._steps[index]}"

    def state_dict(self) -> dict[str, Any]:
        """Everything a bit-exact resume on CPU needs: tensors and plain values only."""
        return {
            "fingerprint": self._fingerprint(),
            "finished": [{**cell, "history": [dict(record) for record in cell["history"]]} for cell in self._finished],
            "training": None if self._training is None else self._training.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of a pack of the same cells and settings; raises InputError otherwise."""
        if state.get("fingerprint") != self._fingerprint():
            raise InputError(
                "checkpoint: it belongs to a pack of other cells, settings or images; start this pack afresh"
            )
        self._shown = self._training = None
        self._finished = [dict(cell) for cell in state["finished"]]
        if state["training"] is not None:
            self._open().load_state_dict(state["training"])

    def _open(self) -> CellTraining:
        if self._training is None:
            index = len(self._finished)
            self._training = CellTraining(
                self._cells[index],
                self._settings,
                self.reader,
                self._labels,
                self._batches_of(self._cells[index]),
                classes=self._classes,
                shape=self._images.shape[1:],
                device=self._device,
            )
        return self._training

    def _batches_of(self, cell: TrainingCell) -> IntArray:
        return self._batches if cell.batches is None else cell.batches

    def _close_if_done(self) -> None:
        """Keep a finished cell's weights on the host and free the device."""
        training = self._training
        if training is None or not training.done:
            return
        failed = training.failed_step
        self._finished.append(
            {
                "network": None if failed is not None else cpu_copies(training.network.state_dict()),
                "failed_at": -1 if failed is None else failed,
                "history": training.history,
            }
        )
        self._training = None
        del training
        gc.collect()  # the hooks' and the optimiser's references are cycles
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _network(self, index: int) -> ImageNetwork:
        """The network of a cell on the device; before its training, as it starts."""
        if self._training is not None and index == len(self._finished):
            return self._training.network
        if self._shown is None or self._shown[0] != index:
            self._shown = None
            if index > len(self._finished) or self.diverged(index) is not None:
                raise InputError(f"cell {self._cells[index].key}: it has no trained network to embed with")
            settings = self._settings.model_copy(update={"weights": None})
            side = self._settings.augment.crop or self._images.shape[2]
            network = ImageNetwork(
                settings, channels=self._images.shape[1], image_size=side, classes=self._classes, seed=0
            )
            network.load_state_dict(self._finished[index]["network"])
            self._shown = (index, to_device(network, settings, self._device))
        return self._shown[1]

    @torch.no_grad()
    def _embeddings(self, index: int, images: Images, rows: IntArray) -> list[Tensor]:
        with torch_threads(self._threads), self._memory():
            network = self._network(index)
            training = network.training
            network.eval()
            try:
                return [network(x) for x in evaluated(images, rows, self._settings, self._device)]
            finally:
                network.train(training)

    @contextmanager
    def _memory(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            at = len(self._finished)
            raise OutOfMemoryError(
                f"cell {self._cells[min(at, len(self._cells) - 1)].key}: the device "
                f"has too little memory for {self._settings.backbone} at {self._shape_text()}; lower `items` or "
                "`embedding_rows` and raise `accumulation`, crop smaller, or take precision bf16 or a smaller backbone"
            ) from error

    @contextmanager
    def _own_random_stream(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            yield

    def _shape_text(self) -> str:
        return ", ".join(map(str, self._images.shape[1:]))

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self._settings.model_dump_json().encode())
        digest.update(repr((self._images.shape, str(self._images.dtype), self._classes)).encode())
        for cell in self._cells:
            digest.update(repr((cell.key, cell.adversarial_weight, cell.margin, cell.seed)).encode())
            digest.update(np.ascontiguousarray(cell.train, np.int64).tobytes() + b"|")
            if cell.batches is not None:
                digest.update(np.ascontiguousarray(cell.batches, np.int64).tobytes() + b"|")
        return f"sha256:{digest.hexdigest()}"


__all__ = ["ImagePack"]
