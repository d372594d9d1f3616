"""A kept model at work: features and wells in, embeddings out, without a refit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sweeper.errors import InputError
from sweeper.kept.align import mean_embedding
from sweeper.kept.model_file import KeptModel
from trainers.base import FloatArray
from trainers.kept_layers import LayersError, run_layers

ROTATION = "rotation"


def encode(model: KeptModel, features: FloatArray, wells: pd.DataFrame, *, seed: int | None = None) -> FloatArray:
    """(n, e) embeddings of (n, d) raw features, in the order of the model's features.

    Args:
        wells: n rows with `batch`, `plate` and `control_type`: what features are normalised by.
        seed: one of the model's seeds, as it was trained; None: the mean of all, each turned onto the first.

    Raises:
        InputError: a seed that the model does not have; rows that its preparation does not allow.
    """
    facts = model.facts
    if seed is not None and seed not in facts.seeds:
        raise InputError(f"seed {seed}: the model {facts.name} has seeds {', '.join(map(str, facts.seeds))}")
    prepared = prepare_features(facts.prepare, features, wells)
    places = range(len(facts.seeds)) if seed is None else (facts.seeds.index(seed),)
    found = [_of_seed(model, place, prepared, wells, turned=seed is None) for place in places]
    return mean_embedding(found, unit=facts.layers[-1]["op"] == "unit")


def prepare_features(prepare: Any, features: FloatArray, wells: pd.DataFrame) -> FloatArray:
    """(n, d) features under the model's input normalisation."""
    try:
        return run_layers(prepare, {}, features, **grouping(wells)) if prepare else features
    except LayersError as error:
        raise InputError(f"normalisation: {error}") from None


def _of_seed(model: KeptModel, place: int, prepared: FloatArray, wells: pd.DataFrame, *, turned: bool) -> FloatArray:
    arrays = model.seed_arrays(place)
    try:
        found = run_layers(model.facts.layers, arrays, prepared, **grouping(wells))
    except LayersError as error:
        raise InputError(f"{model.facts.trainer}: {error}") from None
    return np.asarray(found @ arrays[ROTATION], np.float32) if turned and ROTATION in arrays else found


def grouping(wells: pd.DataFrame) -> Mapping[str, Any]:
    """What layers may group rows by."""
    return {
        "groups": {name: wells[name].to_numpy(dtype=str) for name in ("batch", "plate")},
        "negative": (wells["control_type"] == "negative").to_numpy(dtype=bool),
    }


__all__ = ["ROTATION", "encode", "grouping", "prepare_features"]
