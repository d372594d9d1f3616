"""Parameters of K cells as one (K, P) matrix, and an elementwise AdamW on it.

Every operation is elementwise or reduces inside a row, so a cell's row never depends on the other rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from trainers.base import FloatArray

_ALIGN = 16  # floats, one cache line: every cell's matrices start aligned alike, so kernels take the same path
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class StackedParameters:
    """Named parameters of K cells, their Adam moments and the update.

    Attributes:
        values: (K, P) all parameters; a row is a cell.
        views: name → (K, *shape) leaf tensor onto `values`.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], cells: int, device: torch.device) -> None:
        self._spans: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        width = 0
        for name, shape in shapes.items():
            size = math.prod(shape)
            self._spans[name] = (width, width + size, shape)
            width += -(-size // _ALIGN) * _ALIGN
        self.values = torch.zeros(cells, width, device=device)
        self._gradient = torch.zeros_like(self.values)
        self._first = torch.zeros_like(self.values)
        self._second = torch.zeros_like(self.values)
        self._scratch = torch.zeros_like(self.values)  # a fresh large array a step costs more than the arithmetic on it
        self.views = {name: view.requires_grad_() for name, view in self.split(self.values).items()}
        self._gradient_views = list(self.split(self._gradient).values())

    def split(self, rows: Tensor) -> dict[str, Tensor]:
        """(k, P) rows as name → (k, *shape) detached views."""
        return {
            name: rows[:, start:stop].view(len(rows), *shape).detach()
            for name, (start, stop, shape) in self._spans.items()
        }

    def fill(self, cell: int, initial: Mapping[str, FloatArray]) -> None:
        """Set the parameters of one cell."""
        with torch.no_grad():
            for name, value in initial.items():
                self.views[name][cell] = torch.from_numpy(np.ascontiguousarray(value))

    @torch.no_grad()
    def update(
        self,
        gradients: Sequence[Tensor],
        *,
        count: int,
        rate: float | Tensor,
        weight_decay: float,
        clip_norm: float,
        loss: Tensor,
        training: Tensor,
    ) -> Tensor:
        """One AdamW step; a cell whose loss (K,) or gradient is not finite, or that is not training, is left as it is.

        Args:
            gradients: in the order of `views`.
            count: updates done including this one (for the bias corrections).
            rate: step size, of all cells or (K, 1).
            training: (K,) bool.

        Returns:
            (K,) bool: training, and loss and gradient are finite.
        """
        torch._foreach_copy_(self._gradient_views, list(gradients))
        gradient = self._gradient
        norm = torch.linalg.vector_norm(gradient, dim=1)
        finite = training & torch.isfinite(norm) & torch.isfinite(loss)
        gradient.mul_((clip_norm / (norm + 1e-12)).clamp(max=1.0)[:, None])
        gradient.masked_fill_(~finite[:, None], 0.0)
        self._first.lerp_(gradient, 1.0 - _BETA1)
        self._second.mul_(_BETA2).addcmul_(gradient, gradient, value=1.0 - _BETA2)
        # m̂ / (√v̂ + ε), the corrections folded into scalars
        root = torch.sqrt(self._second, out=self._scratch).mul_(1.0 / math.sqrt(1.0 - _BETA2**count)).add_(_EPSILON)
        rates = finite.to(self.values.dtype)[:, None] * rate
        if weight_decay:
            self.values.mul_(1.0 - rates * weight_decay)
        self.values.addcmul_(torch.div(self._first, root, out=root), rates, value=-1.0 / (1.0 - _BETA1**count))
        return finite

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the parameters and the moments."""
        return {
            "values": self.values.detach().clone(),
            "first": self._first.clone(),
            "second": self._second.clone(),
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` copied, in place."""
        self.values.copy_(state["values"])
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])


__all__ = ["StackedParameters"]
