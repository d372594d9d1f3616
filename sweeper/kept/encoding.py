"""A kept model at work: features and wells in, embeddings out, without a refit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sweeper.errors import InputError
from sweeper.kept.model_file import KeptModel
from trainers.base import FloatArray
from trainers.kept_layers import LayersError, kept_embedding


def encode(model: KeptModel, features: FloatArray, wells: pd.DataFrame, *, seed: int | None = None) -> FloatArray:
    """(n, e) embeddings of (n, d) raw features, in the order of the model's features.

    Args:
        wells: n rows with `batch`, `plate` and `control_type`: what features are normalised by.
        seed: one of the model's seeds, as it was trained; None: the mean of all, each turned onto the first.

    Raises:
        InputError: a seed that the model does not have; rows that its layers do not allow.
    """
    facts = model.facts
    if seed is not None and seed not in facts.seeds:
        raise InputError(f"seed {seed}: the model {facts.name} has seeds {', '.join(map(str, facts.seeds))}")
    parts = {"prepare": facts.prepare, "layers": facts.layers, "seeds": facts.seeds}
    try:
        return kept_embedding(parts, model.arrays, features, seed=seed, **grouping(wells))
    except LayersError as error:
        raise InputError(f"{facts.trainer}: {error}") from None


def grouping(wells: pd.DataFrame) -> Mapping[str, Any]:
    """What layers may group rows by."""
    return {
        "groups": {name: wells[name].to_numpy(dtype=str) for name in ("batch", "plate")},
        "negative": (wells["control_type"] == "negative").to_numpy(dtype=bool),
    }


__all__ = ["encode", "grouping"]
