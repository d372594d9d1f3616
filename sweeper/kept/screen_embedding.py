"""The whole screen of a sweep, corrected at one strength: one row in, one row out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweeper.config.sweep_config import SweepConfig
from sweeper.errors import InputError
from sweeper.findings.stored import stored_config, stored_decision
from sweeper.kept.corrected import Corrected
from sweeper.kept.encoding import encode
from sweeper.kept.fitting import NOTHING, UsedRows, cell_on, embedded, fit
from sweeper.kept.keeping import embedding_names, model_name, models_folder
from sweeper.kept.model_file import KeptModel, read_model
from sweeper.kept.strengths import Strength, advised_strength
from sweeper.planning.inputs import trainer_inputs
from sweeper.spoken import strength_text
from sweeper.store.store import Store
from trainers.base import FloatArray
from trainers.kept_layers import mean_embedding
from trainers.screens.readers import read_screen, screen_frame
from trainers.screens.table import Screen


def embed_screen(
    store: Store,
    *,
    strength: Strength | None = None,
    seed: int | None = None,
    model: Path | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Corrected:
    """The screen corrected.

    By a kept model where the trainer's cells can be kept; what corrects the screen that it is fitted on is fitted on
    the whole screen again.

    Args:
        strength: trained strength; None: the advised one.
        seed: one seed's embedding, as it was trained; None: the mean of all, each turned onto the first.
        model: the folder of a kept model of this sweep, in place of a strength.

    Raises:
        InputError: nothing is advised, no kept weights (the message says how to get them), or another screen's model.
    """
    config = stored_config(store)
    screen = store.screen()
    fingerprint = str(store.description()["identity"]["data"])
    chosen = None if model is not None else strength or advised_or_refused(store)
    if chosen is not None and (why := config.how.not_kept(config.trainer_settings)) is not None:
        if config.how.inductive(config.trainer_settings):
            raise InputError(f"{config.trainer} cannot be kept: {why}")
        embedding = _corrected_again(config, screen, chosen, seed, tick)
        names, source = tuple(screen.feature_names), _source(store, strength_text(config.trainer, *chosen))
        if embedding.shape[1] != len(names):
            names = tuple(embedding_names(embedding.shape[1]))
    else:
        found = kept_model(store, chosen) if chosen is not None else read_model(model or Path())
        if found.facts.screen != fingerprint:
            raise InputError(
                f"{found.folder}: of another screen than {store.where} has; `sweeper apply` takes other tables"
            )
        embedding = encode(found, np.asarray(screen.features), screen.wells, seed=seed)
        names, source = found.facts.columns, _source(store, found.facts.strength) | {"model": found.facts.identity}
    metadata, notes = source_metadata(store, config, screen)
    return Corrected(
        metadata=metadata,
        embedding=embedding,
        columns=names,
        screen=screen,
        source=source | {"seed": "mean of all" if seed is None else seed},
        notes=notes,
    )


def kept_model(store: Store, strength: Strength) -> KeptModel:
    """The kept model of a strength; raises InputError with the command that makes it."""
    folder = models_folder(store) / model_name(strength)
    if not folder.exists():
        said = strength_text(stored_config(store).trainer, *strength)
        raise InputError(
            f"{store.where}: no kept weights at {said}; `sweeper keep {store.where} --strength "
            f"{strength[0]:g},{strength[1]:g}` makes them"
        )
    return read_model(folder)


def source_metadata(store: Store, config: SweepConfig, screen: Screen) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Metadata of the screen's rows as their file has them; as the store has them where the file is gone or changed."""
    if config.screen is None:
        return _stored_metadata(screen), ()
    try:
        reading = read_screen(config.screen, Path())
    except InputError as error:
        reason = str(error)
    else:
        if reading.screen.fingerprint == store.description()["identity"]["data"]:
            return reading.metadata, ()
        reason = f"{config.screen.path}: changed since the sweep"
    return _stored_metadata(screen), (f"metadata are those that the store keeps, all as text: {reason}",)


def _stored_metadata(screen: Screen) -> pd.DataFrame:
    frame = screen_frame(screen)
    return frame.drop(columns=[name for name in screen.feature_names if name in frame.columns])


def advised_or_refused(store: Store) -> Strength:
    """The advised strength; raises InputError where none is."""
    decision = stored_decision(store)
    if decision is None:
        raise InputError(f"{store.where}: nothing is decided yet; give a strength, or finish the sweep")
    if (strength := advised_strength(decision)) is None:
        raise InputError(
            f"{store.where}: no strength is advised ({decision.rule.state}); give one: --strength, at your own risk"
        )
    return strength


def _corrected_again(
    config: SweepConfig, screen: Screen, strength: Strength, seed: int | None, tick: Callable[[], None]
) -> FloatArray:
    """Fitted on the whole screen, as many seeds as were swept; equal ones count once."""
    if seed is not None and seed not in config.seeds:
        raise InputError(f"seed {seed}: the sweep has seeds {', '.join(map(str, config.seeds))}")
    inputs = trainer_inputs(config, screen)
    rows = UsedRows(np.arange(len(screen)), NOTHING, "all wells of the screen")
    found: list[FloatArray] = []
    for each in config.seeds if seed is None else (seed,):
        cell = cell_on(rows, wells=len(screen), key=f"screen {each}", strength=strength, seed=each)
        own = embedded(fit(config, inputs, [cell], tick=tick), 0, len(screen))
        if found and np.array_equal(own, found[0]):
            break  # it draws nothing
        found.append(own)
    return mean_embedding(found, unit=False)


def _source(store: Store, strength: str) -> dict[str, Any]:
    description = store.description()
    return {
        "sweep": description["name"],
        "sweep_id": description["sweep_id"],
        "screen": description["identity"]["data"],
        "trainer": description["identity"]["trainer"],
        "strength": strength,
    }


__all__ = ["advised_or_refused", "embed_screen", "kept_model", "source_metadata"]
