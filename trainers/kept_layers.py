"""A fitted correction as layers over named arrays, run with NumPy alone.

Read from JSON and safetensors it executes nothing but the operations below. This module imports nothing of the project:
it travels with an exported model and needs NumPy only.

| op | what it does to (n, d) rows x |
|---|---|
| `by_group` | by batch or plate (`column`) (x − share·mean) / std^share of its `rows`: all, or negative |
| `standardise` | (x − `mean`) · `factor` |
| `dense` | x · `weight` + `bias` |
| `relu` | max(x, 0) |
| `leaky_relu` | x where it is positive, else `slope`·x; `slope` is a number |
| `softmax` | exp(x) / Σ exp(x) over columns |
| `remember` | x, which a later `join` has again |
| `join` | the remembered columns, then those of x |
| `shrink` | `rest`·c + (c·Aᵀ · `factor`)·A with c = x − `mean` and A = `axes`; `rest` is a number |
| `unit` | x / ‖x‖ |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 2
"""Rows that location and scale of a group need."""


class LayersError(ValueError):
    """Layers that cannot be run on these rows; one line."""


def run_layers(
    layers: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, NDArray[Any]],
    features: NDArray[Any],
    *,
    groups: Mapping[str, NDArray[Any]] | None = None,
    negative: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """(n, e) what the layers make of (n, d) features.

    Args:
        layers: in order; each has an "op" and names of arrays.
        arrays: by name.
        groups: what `by_group` may group by: "batch" and "plate", (n,) names each.
        negative: (n,) which rows are negative controls.

    Raises:
        LayersError: an operation that there is not, or a group without enough rows to be centred by.
    """
    x = remembered = features
    for layer in layers:
        match layer.get("op"):
            case "by_group":
                x = by_group(x, layer, groups or {}, negative)
            case "standardise":
                x = (x - arrays[layer["mean"]]) * arrays[layer["factor"]]
            case "dense":
                x = x @ arrays[layer["weight"]] + arrays[layer["bias"]]
            case "relu":
                x = np.maximum(x, 0)
            case "leaky_relu":
                x = np.where(x > 0, x, x * np.float32(layer["slope"]))
            case "softmax":
                raised = np.exp(x - x.max(axis=1, keepdims=True))
                x = raised / raised.sum(axis=1, keepdims=True)
            case "remember":
                remembered = x
            case "join":
                x = np.concatenate([remembered, x], axis=1)
            case "shrink":
                centred = x - arrays[layer["mean"]]
                axes = arrays[layer["axes"]]
                x = layer["rest"] * centred + (centred @ axes.T * arrays[layer["factor"]]) @ axes
            case "unit":
                x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
            case other:
                raise LayersError(f"layer {other!r}: this version does not know it")
    return np.ascontiguousarray(x, np.float32)


def kept_embedding(
    facts: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    features: NDArray[Any],
    *,
    groups: Mapping[str, NDArray[Any]] | None = None,
    negative: NDArray[np.bool_] | None = None,
    seed: int | None = None,
) -> NDArray[np.float32]:
    """(n, e) embeddings of (n, d) features as they came, by a kept model.

    Args:
        facts: its `prepare`, `layers` and `seeds`.
        arrays: "seed<i>.<name>" of the i-th seed; "seed<i>.rotation", where there is one, turns it onto the first.
        groups, negative: as in `run_layers`.
        seed: one of the seeds, as it was trained; None: the mean of all, each turned onto the first, of length 1 again
            where embeddings are.
    """
    seeds = list(facts["seeds"])
    prepared = run_layers(facts["prepare"], {}, features, groups=groups, negative=negative)
    found = []
    for place in range(len(seeds)) if seed is None else (seeds.index(seed),):
        mark = f"seed{place}."
        own = {name.removeprefix(mark): array for name, array in arrays.items() if name.startswith(mark)}
        embedded = run_layers(facts["layers"], own, prepared, groups=groups, negative=negative)
        found.append(embedded @ own["rotation"] if seed is None and "rotation" in own else embedded)
    return mean_embedding(found, unit=facts["layers"][-1]["op"] == "unit")


def mean_embedding(embeddings: Sequence[NDArray[np.float32]], *, unit: bool) -> NDArray[np.float32]:
    """(n, e) mean of aligned embeddings; of length 1 again where the embeddings are (`unit`)."""
    if len(embeddings) == 1:
        return embeddings[0]
    mean = np.mean(embeddings, axis=0, dtype=np.float64)
    if unit:
        mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return np.asarray(mean, np.float32)


def by_group(
    x: NDArray[Any],
    layer: Mapping[str, Any],
    groups: Mapping[str, NDArray[Any]],
    negative: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """(x − share·mean) / std^share in each group; see the module.

    Raises:
        LayersError: the column is not given, or a group has fewer than `FEWEST` rows to be centred by.
    """
    column, share = layer["column"], float(layer["share"])
    by_controls = layer["rows"] == "negative"
    if column not in groups or (by_controls and negative is None):
        raise LayersError(f"every row needs its {column}" + (" and its control type" if by_controls else ""))
    names, group = np.unique(np.asarray(groups[column], dtype=str), return_inverse=True)
    result = np.empty(x.shape, np.float32)
    for number, name in enumerate(names):
        rows = np.flatnonzero(group == number)
        chosen = rows[negative[rows]] if by_controls and negative is not None else rows
        if len(chosen) < FEWEST:
            what = "negative controls" if by_controls else "rows"
            raise LayersError(f"{column} {str(name)!r} has {len(chosen)} {what} to be centred by, {FEWEST} are needed")
        mean, std = location_and_scale(x[chosen])
        result[rows] = (x[rows] - share * mean) / (std**share if layer["scale"] else 1.0)
    return result


def location_and_scale(features: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(d,) mean and population std of (n, d) rows; a std that float32 does not resolve at the mean counts as 1."""
    values = features.astype(np.float64)
    mean, std = values.mean(axis=0), values.std(axis=0)
    std[std <= np.finfo(np.float32).eps * np.abs(mean)] = 1.0
    return mean, std


__all__ = [
    "FEWEST",
    "LayersError",
    "by_group",
    "kept_embedding",
    "location_and_scale",
    "mean_embedding",
    "run_layers",
]
