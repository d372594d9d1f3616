"""Named points of a backbone where feature statistics may be perturbed, without a change to its code.

A point is a module's output: `stem`, `pool`, and `stage1` … `stage4`, found by timm's `feature_info`. A forward hook
gives its map to a `Hook` as (1, B·N, C) items, N positions of an image with C channels each, whatever the layout:
convolution maps (B×C×H×W or B×H×W×C) or tokens (B×N×C, whose prefix tokens are left alone).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainers.abra.encoder import Hook
from trainers.errors import InputError
from trainers.images.backbones import pooled

_STAGES = 4
_STEMS = ("stem", "patch_embed", "bn1", "conv_stem")
_POOLS = ("maxpool", "features.pool0")


@dataclass(frozen=True)
class Point:
    """A named module of a backbone and how its output is laid out.

    Attributes:
        channels: C of its map.
        prefix: tokens at the front that are no image positions.
    """

    name: str
    module: str
    layout: Literal["nchw", "nhwc", "tokens"]
    channels: int
    prefix: int


def point_modules(model: nn.Module) -> dict[str, str]:
    """Point name → module path, in forward order, for what the backbone has of stem, pool and four stages."""
    info = getattr(model, "feature_info", None)
    entries = [entry["module"] for entry in (info if isinstance(info, list) else getattr(info, "info", None) or [])]
    if not entries:
        raise InputError(f"points: timm names no feature stages in {type(model).__name__}; set statistics to none")
    modules = dict(model.named_modules())
    found: dict[str, str] = {}
    if not _has_matrices(modules[entries[0]]):
        found["stem"] = entries.pop(0)
    else:
        found |= _first("stem", _STEMS, modules)
    found |= _first("pool", _POOLS, modules)
    if getattr(model, "global_pool", None) == "token":
        del entries[-1]  # only the class token is read after the last block: its other tokens change nothing
    # transformers list every block: their stages are quarters of the depth
    stages = min(_STAGES, len(entries))
    last = [-(-len(entries) * stage // stages) - 1 for stage in range(1, stages + 1)]
    return found | {f"stage{stage}": entries[at] for stage, at in enumerate(last, start=1)}


def find_points(model: nn.Module, names: Sequence[str], *, channels: int, image_size: int) -> tuple[Point, ...]:
    """The named points in forward order, their layouts read off one forward of an empty image.

    Raises:
        InputError: a point that the backbone does not have or whose output is no feature map.
    """
    known = point_modules(model)
    for name in names:
        if name not in known:
            raise InputError(f"points: no '{name}' in this backbone; it has {', '.join(known)}")
    outputs: dict[str, Any] = {}
    handles = [
        model.get_submodule(module).register_forward_hook(lambda _m, _i, out, name=name: outputs.update({name: out}))
        for name, module in known.items()
    ]
    try:
        pooled(model, channels=channels, image_size=image_size)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(_point(model, name, module, outputs.get(name)) for name, module in known.items() if name in names)


class PointHooks:
    """Forward hooks on the points of one backbone: the identity, except inside `perturbed`.

    Args:
        opaque: keep the hooks out of the graphs of torch.compile, which would else be compiled again for every choice
            of points that the coins make.
    """

    def __init__(self, model: nn.Module, points: Sequence[Point], *, opaque: bool = False) -> None:
        self._hook: Hook | None = None
        self._chosen: frozenset[int] = frozenset()
        for index, point in enumerate(points):
            hook = self._forward_hook(index, point)
            if opaque:
                hook = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]
            model.get_submodule(point.module).register_forward_hook(hook)

    @contextmanager
    def perturbed(self, hook: Hook, chosen: Iterable[int]) -> Iterator[None]:
        """Let `hook(index of the point, items)` change the maps of the chosen points."""
        self._hook, self._chosen = hook, frozenset(chosen)
        try:
            yield
        finally:
            self._hook = None

    def _forward_hook(self, index: int, point: Point) -> Any:
        def forward_hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            if self._hook is None or index not in self._chosen:
                return output
            return restyled(output, point, self._hook, index)

        return forward_hook


def restyled(z: Tensor, point: Point, hook: Hook, index: int) -> Tensor:
    """A map whose positions went through `hook` as fp32 items; as it is where there is one image or one position."""
    body = z[:, point.prefix :] if point.layout == "tokens" else z
    last = body.permute(0, 2, 3, 1) if point.layout == "nchw" else body
    images, positions = len(last), last[0, ..., 0].numel()
    if images == 1 or positions == 1:
        return z
    with torch.autocast(z.device.type, enabled=False):
        items = hook(index, last.float().reshape(1, images * positions, point.channels))
    new = items.to(z.dtype).view(last.shape)
    if point.layout == "nchw":
        new = new.permute(0, 3, 1, 2)
        new = new.contiguous() if z.is_contiguous() else new
    return torch.cat([z[:, : point.prefix], new], dim=1) if point.prefix else new


def _first(point: str, candidates: Sequence[str], modules: Mapping[str, nn.Module]) -> dict[str, str]:
    paths = [path for path in candidates if not isinstance(modules.get(path, nn.Identity()), nn.Identity)]
    return {point: paths[0]} if paths else {}


def _has_matrices(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _point(model: nn.Module, name: str, module: str, output: Any) -> Point:
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        raise InputError(f"points: '{name}' ({module}) gives no feature map in this backbone; leave it out")
    if output.ndim == 3:
        # prefix tokens join after the patch embedding
        patches = getattr(getattr(model, "patch_embed", None), "num_patches", output.shape[1])
        prefix = int(getattr(model, "num_prefix_tokens", 0)) if output.shape[1] > patches else 0
        return Point(name, module, "tokens", output.shape[2], prefix)
    # the image is square, so the two equal sides are the positions; a cube is decided by what timm declares
    _, first, second, third = output.shape
    declared = str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC")
    if first == second and (second != third or declared):
        return Point(name, module, "nhwc", third, 0)
    return Point(name, module, "nchw", first, 0)


__all__ = ["Point", "PointHooks", "find_points", "point_modules", "restyled"]
