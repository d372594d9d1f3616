"""Where blocks of distances and similarities are computed: NumPy on the CPU, or PyTorch on a device of its own.

The one seam between the metrics and a device. What is large, a block of queries against all rows, is made and reduced
here in float32; what leaves is small, on the CPU, and refined in float64 by those who called.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainers.base import IntArray
from trainers.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Block = Any
"""An array of the library behind an `Arrays`, on its device."""

_WIDE = 4096  # rows of a block from this length on are searched by way of a sample
_STRIDE = 16
_MANY = 24  # thresholds of a query beyond which sorting its values is cheaper than counting once for each
_PENALTY = 4.0  # more than two cosines can differ by


class Arrays(Protocol):
    """The operations on blocks. Rows are (n, e), blocks (q, n) for q queries; IntArray and NDArray are on the CPU.

    Attributes:
        block: elements of a block; memory is a few times as many values.
    """

    block: int

    def put(self, rows: NDArray[Any]) -> Block:
        """The rows where blocks are made, in their own precision."""

    def products(self, queries: Block, rows: Block) -> Block:
        """(q, n) inner products."""

    def squared(self, queries: Block, rows: Block) -> Block:
        """(q, n) squared Euclidean distances, ≥ 0 but for round-off."""

    def least(self, block: Block) -> NDArray[Any]:
        """(q,) smallest value of each query."""

    def most(self, block: Block) -> NDArray[Any]:
        """(q,) largest value of each query."""

    def put_rows(self, block: Block, at: IntArray, values: Block) -> None:
        """Replace the queries `at` of the block by the (len(at), n) values."""

    def fill(self, block: Block, column: IntArray, value: float) -> None:
        """Set one place of each query, its (q,) column."""

    def smallest(self, block: Block, count: int) -> tuple[IntArray, NDArray[Any]]:
        """(q, count) places and values of each query's smallest, ascending."""

    def label_sums(self, block: Block, members: Block) -> NDArray[Any]:
        """(g, q) sums of the square roots of a block over the rows of each of g groups; see `put_members`."""

    def put_members(self, members: csr_array) -> Block:
        """The (g, n) matrix of ones that says which row is in which group."""

    def penalised(self, block: Block, keep: NDArray[np.bool_]) -> Block:
        """A copy of the block of cosines, lowered beyond every cosine where `keep` is False."""

    def take(self, block: Block, row: IntArray, column: IntArray) -> NDArray[Any]:
        """Values of the block at the given places."""

    def above(self, block: Block, thresholds: NDArray[Any]) -> IntArray:
        """(q, m) how many values of each query are above each of its (q, m) thresholds."""

    def window(self, block: Block, row: IntArray, low: NDArray[Any], high: NDArray[Any]) -> tuple[IntArray, IntArray]:
        """The places inside each of w intervals, above `low` and up to `high`, of the query `row`, all (w,).

        Returns two (k,) arrays: number of the interval, and column.
        """


class NumpyArrays:
    """On the CPU, one block after another."""

    block = 1 << 22

    def put(self, rows: NDArray[Any]) -> Block:
        return np.ascontiguousarray(rows)

    def products(self, queries: Block, rows: Block) -> Block:
        return queries @ rows.T

    def squared(self, queries: Block, rows: Block) -> Block:
        found = (-2.0 * queries) @ rows.T
        found += np.einsum("ne,ne->n", queries, queries)[:, None]
        found += np.einsum("ne,ne->n", rows, rows)
        return found

    def least(self, block: Block) -> NDArray[Any]:
        return np.asarray(block.min(axis=1))

    def most(self, block: Block) -> NDArray[Any]:
        return np.asarray(block.max(axis=1))

    def put_rows(self, block: Block, at: IntArray, values: Block) -> None:
        block[at] = values

    def fill(self, block: Block, column: IntArray, value: float) -> None:
        block[np.arange(len(column)), column] = value

    def smallest(self, block: Block, count: int) -> tuple[IntArray, NDArray[Any]]:
        place, found = _fewer(block, count)
        near = np.argpartition(found, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(found, near, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        near = np.take_along_axis(near, order, axis=1)
        index = near if place is None else np.take_along_axis(place, near, axis=1)
        return index, np.take_along_axis(values, order, axis=1)

    def label_sums(self, block: Block, members: Block) -> NDArray[Any]:
        turned = np.ascontiguousarray(block.T)
        np.maximum(turned, 0.0, out=turned)
        np.sqrt(turned, out=turned)
        return np.asarray(members @ turned)

    def put_members(self, members: csr_array) -> Block:
        return members.astype(np.float32)

    def penalised(self, block: Block, keep: NDArray[np.bool_]) -> Block:
        penalty = keep.view(np.uint8) - block.dtype.type(1)
        penalty *= _PENALTY
        penalty += block
        return penalty

    def take(self, block: Block, row: IntArray, column: IntArray) -> NDArray[Any]:
        return np.asarray(block[row, column])

    def above(self, block: Block, thresholds: NDArray[Any]) -> IntArray:
        found = np.empty(thresholds.shape, dtype=np.int64)
        if thresholds.shape[1] > _MANY:
            for line, values, own in zip(found, np.sort(block, axis=1), thresholds, strict=True):
                line[:] = len(values) - np.searchsorted(values, own, side="right")
        elif block.size * thresholds.shape[1] <= self.block:
            np.sum(block[:, None, :] > thresholds[:, :, None], axis=2, out=found)
        else:  # a query at a time stays in the cache
            for line, values, own in zip(found, block, thresholds, strict=True):
                for number, threshold in enumerate(own):
                    line[number] = np.count_nonzero(values > threshold)
        return found

    def window(self, block: Block, row: IntArray, low: NDArray[Any], high: NDArray[Any]) -> tuple[IntArray, IntArray]:
        found = [
            np.flatnonzero((block[at] > least) & (block[at] <= most))
            for at, least, most in zip(row, low, high, strict=True)
        ]
        number = np.repeat(np.arange(len(row)), [len(inside) for inside in found])
        return number, np.concatenate([*found, np.empty(0, dtype=np.int64)])


def _fewer(block: NDArray[Any], count: int) -> tuple[IntArray | None, NDArray[Any]]:
    """Places and values of candidates that hold each query's `count` smallest; no places: the block itself.

    A sample of the columns gives a bound that a few times `count` values are below: one comparison of the block then
    stands for most of the work of a partition.
    """
    q, n = block.shape
    expected = count / _STRIDE
    sampled = int(expected + 6 * np.sqrt(expected) + 8)
    if n < _WIDE or 4 * sampled * _STRIDE > n:
        return None, block
    bound = np.partition(block[:, ::_STRIDE], sampled, axis=1)[:, sampled]
    flat = np.flatnonzero(block <= bound[:, None])
    size = np.bincount(flat // n, minlength=q)
    if size.min() < count or size.max() > n // 2:
        return None, block
    row = np.repeat(np.arange(q), size)
    column = np.arange(len(flat)) - np.repeat(np.cumsum(size) - size, size)
    place = np.zeros((q, size.max()), dtype=np.int64)
    found = np.full(place.shape, np.inf, dtype=block.dtype)
    place[row, column] = flat - row * n
    found[row, column] = block.ravel()[flat]
    return place, found


class TorchArrays:
    """On a PyTorch device; blocks are larger, so that few are launched."""

    block = 1 << 26

    def __init__(self, device: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)

    def put(self, rows: NDArray[Any]) -> Block:
        return self._torch.from_numpy(np.ascontiguousarray(rows)).to(self._device)

    def products(self, queries: Block, rows: Block) -> Block:
        return queries @ rows.T

    def squared(self, queries: Block, rows: Block) -> Block:
        return self._torch.addmm((queries**2).sum(dim=1)[:, None] + (rows**2).sum(dim=1), queries, rows.T, alpha=-2.0)

    def least(self, block: Block) -> NDArray[Any]:
        return np.asarray(block.amin(dim=1).cpu().numpy())

    def most(self, block: Block) -> NDArray[Any]:
        return np.asarray(block.amax(dim=1).cpu().numpy())

    def put_rows(self, block: Block, at: IntArray, values: Block) -> None:
        block[self.put(at)] = values.to(block.dtype)

    def fill(self, block: Block, column: IntArray, value: float) -> None:
        block[self._torch.arange(len(column), device=self._device), self.put(column)] = value

    def smallest(self, block: Block, count: int) -> tuple[IntArray, NDArray[Any]]:
        values, index = self._torch.topk(block, count, dim=1, largest=False)
        return index.cpu().numpy(), values.cpu().numpy()

    def label_sums(self, block: Block, members: Block) -> NDArray[Any]:
        turned = block.T.contiguous().clamp_(min=0.0).sqrt_()
        return np.asarray((members @ turned).cpu().numpy())

    def put_members(self, members: csr_array) -> Block:
        return self._torch.sparse_coo_tensor(
            self._torch.from_numpy(np.stack(members.tocoo().coords).astype(np.int64)),
            self._torch.ones(members.nnz),
            members.shape,
            device=self._device,
            check_invariants=False,
        )

    def penalised(self, block: Block, keep: NDArray[np.bool_]) -> Block:
        return block.sub((~self.put(keep)).to(block.dtype), alpha=_PENALTY)

    def take(self, block: Block, row: IntArray, column: IntArray) -> NDArray[Any]:
        return np.asarray(block[self.put(row), self.put(column)].cpu().numpy())

    def above(self, block: Block, thresholds: NDArray[Any]) -> IntArray:
        own = self.put(thresholds.astype(str(block.dtype).removeprefix("torch.")))
        rank = self._torch.searchsorted(block.sort(dim=1).values, own, right=True)
        return np.asarray((block.shape[1] - rank).cpu().numpy())

    def window(self, block: Block, row: IntArray, low: NDArray[Any], high: NDArray[Any]) -> tuple[IntArray, IntArray]:
        numbers, columns = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        step = max(1, self.block // block.shape[1])
        for at in range(0, len(row), step):
            some = slice(at, at + step)
            values = block[self.put(row[some])]
            inside = (values > self.put(low[some])[:, None]) & (values <= self.put(high[some])[:, None])
            number, column = inside.nonzero(as_tuple=True)
            numbers.append(number.cpu().numpy() + at)
            columns.append(column.cpu().numpy())
        return np.concatenate(numbers), np.concatenate(columns)


@cache
def arrays(device: str | None) -> Arrays:
    """What blocks are computed with: NumPy for None, else PyTorch on the device of that name ("cpu", "cuda:0", …).

    Raises:
        InputError: a device that PyTorch does not know or that is not there.
    """
    if device is None:
        return NUMPY
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as absent:  # what torch raises differs by device and by how it was built
        first = str(absent).splitlines()[0]
        raise InputError(f"device {device!r}: PyTorch cannot use it ({first}); leave it out for the CPU") from absent
    return TorchArrays(device)


NUMPY = NumpyArrays()

__all__ = ["NUMPY", "Arrays", "Block", "NumpyArrays", "TorchArrays", "arrays"]
