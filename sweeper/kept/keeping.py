"""Keeping: the advised strength is fitted once more on every well that may be used, and stored with all that it needs.

The numbers that decided stay those of held-out data; the card says so. Nothing is fitted again that is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.arms.arm import Arm, arm_of
from sweeper.config.sweep_config import SweepConfig
from sweeper.content import content_hash
from sweeper.decision import Decision
from sweeper.errors import InputError
from sweeper.findings.stored import planned_cells, readable_decision, stored_config
from sweeper.installed import versions
from sweeper.kept.align import rotation
from sweeper.kept.card import card_text, decision_facts
from sweeper.kept.fitting import UsedRows, cell_on, embedded, fit, refuse_unkept, rows_of_use
from sweeper.kept.model_file import VERSION, ModelFacts, read_facts, read_model, write_model
from sweeper.kept.reference import Held, measure_reference
from sweeper.kept.strengths import Strength, advised_strength
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.inputs import trainer_inputs
from sweeper.spoken import strength_text
from sweeper.store.store import Store
from trainers.base import FloatArray, Inputs, IntArray, Pack, TrainingCell
from trainers.kept import Fitted, Keepable
from trainers.registry import trainer_package
from trainers.screens.normalise import normalising_layer
from trainers.screens.table import Screen


@dataclass(frozen=True)
class Kept:
    """One model: where it is, whether it was fitted now, and how far a cell's model is from the cell's embeddings."""

    folder: Path
    facts: ModelFacts
    made: bool
    difference: float | None = None


def models_folder(store: Store) -> Path:
    """Where a sweep's models are."""
    return store.models_folder()


def model_name(strength: Strength) -> str:
    """Of a strength's folder."""
    return f"strength-{strength[0]:g}-margin-{strength[1]:g}"


def kept_models(store: Store) -> list[Path]:
    """Folders of the sweep's models, by name."""
    folder = models_folder(store)
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def keep_strengths(
    store: Store,
    strengths: Sequence[Strength],
    *,
    tell: Callable[[str], None] = lambda _: None,
    tick: Callable[[], None] = lambda: None,
) -> list[Kept]:
    """Keep each strength: all seeds of the sweep, on every well that the declared use allows.

    Args:
        tell: what is being done, a line each.
        tick: called between chunks of training; may raise.

    Raises:
        InputError: a trainer whose cells cannot be kept, or a store that cannot be read.
        SweepFailedError: a training diverged.
    """
    config = stored_config(store)
    refuse_unkept(config)
    decision = readable_decision(store)
    screen = store.screen()
    inputs: Inputs | None = None
    found = []
    for strength in strengths:
        rows = [rows_of_use(config, screen.wells, seed) for seed in config.seeds]
        folder = models_folder(store) / model_name(strength)
        identity = _identity(store, strength, config.seeds, rows)
        if (known := _known(folder, identity, strength, decision)) is not None:
            store.publish(folder)
            found.append(known)
            continue
        tell(f"{strength_text(config.trainer, *strength)}: {len(config.seeds)} seeds on {rows[0].why}")
        inputs = trainer_inputs(config, screen) if inputs is None else inputs
        cells = [
            cell_on(own, wells=len(screen), key=f"kept {seed}", strength=strength, seed=seed)
            for seed, own in zip(config.seeds, rows, strict=True)
        ]
        kept = _Keeping(store, config, screen, inputs, decision, cells, rows[0], identity, strength, None)
        found.append(Kept(folder, kept.write(folder, tick=tick), made=True))
    return found


def keep_cell(store: Store, cell_id: str, *, tick: Callable[[], None] = lambda: None) -> Kept:
    """Keep the very model of one finished cell: trained again, as it was trained, and held against its embeddings.

    Raises:
        InputError: as `keep_strengths`; no such cell, or one of an arm.
        SweepFailedError: as `keep_strengths`.
    """
    from sweeper.running.worker import training_cell

    config = stored_config(store)
    refuse_unkept(config)
    screen = store.screen()
    cell = next((cell for cell in planned_cells(store) if cell.cell_id == cell_id), None)
    if cell is None or cell_id not in store.finished():
        raise InputError(f"{store.where}: no finished cell {cell_id}; the folders under cells are their names")
    if arm_of(cell.trainer) is not Arm.SWEEP or cell.adversarial_weight is None or cell.margin is None:
        raise InputError(f"{store.where}: cell {cell_id} is of an arm ({cell.trainer}); models are those of the sweep")
    strength = cell.adversarial_weight, cell.margin
    training = training_cell(cell, DrawnSplits(config, screen.wells).of(cell), screen.wells)
    rows = UsedRows(training.train, training.validation, f"the training wells of {cell.split}, seed {cell.seed}")
    inputs = trainer_inputs(config, screen)
    identity = _identity(store, strength, (cell.seed,), [rows], cell_id)
    kept = _Keeping(
        store, config, screen, inputs, readable_decision(store), [training], rows, identity, strength, cell_id
    )
    folder = models_folder(store) / f"cell-{cell_id}"
    facts = kept.write(folder, tick=tick)
    at, stored = store.embeddings(cell_id)
    return Kept(folder, facts, made=True, difference=float(np.abs(kept.pack.embed(0, at) - stored).max()))


class _Keeping:
    """One model on its way into its folder."""

    def __init__(
        self,
        store: Store,
        config: SweepConfig,
        screen: Screen,
        inputs: Inputs,
        decision: Decision | None,
        cells: Sequence[TrainingCell],
        rows: UsedRows,
        identity: str,
        strength: Strength,
        cell: str | None,
    ) -> None:
        self._store, self._config, self._screen, self._inputs = store, config, screen, inputs
        self._decision, self._cells, self._rows = decision, cells, rows
        self._identity, self._strength, self._cell = identity, strength, cell
        self.pack: Pack

    def write(self, folder: Path, *, tick: Callable[[], None]) -> ModelFacts:
        """Fit, measure what drift is held to, and write."""
        self.pack = pack = fit(self._config, self._inputs, self._cells, tick=tick)
        assert isinstance(pack, Keepable)  # noqa: S101 - a trainer that can be kept
        fitted = [pack.fitted(index) for index in range(len(self._cells))]
        places = _distinct(fitted)
        arrays = self._weights(fitted, places)
        held = Held(
            config=self._config,
            features=np.asarray(self._screen.features),
            names=self._screen.feature_names,
            wells=self._screen.wells,
            inputs=self._inputs,
            rows=self._rows,
            strength=self._strength,
            seed=self._cells[0].seed,
            embed=lambda rows: pack.embed(0, rows),
        )
        drift, known = measure_reference(held, apart=self._cell is None, tick=tick)
        facts = self._facts(folder.name, fitted[0], [self._cells[place].seed for place in places], drift)
        write_model(folder, facts, {**arrays, **known}, card_text(facts))
        self._store.publish(folder)
        return read_facts(folder)

    def _weights(self, fitted: Sequence[Fitted], places: Sequence[int]) -> dict[str, Any]:
        """Arrays of the seeds, each with the rotation onto the first."""
        arrays: dict[str, Any] = {}
        first: FloatArray | None = None
        for number, place in enumerate(places):
            arrays |= {f"seed{number}.{name}": array for name, array in fitted[place].arrays.items()}
            if len(places) == 1 or fitted[place].named:
                continue
            own = embedded(self.pack, place, len(self._screen))[self._rows.train]
            first = own if first is None else first
            arrays[f"seed{number}.rotation"] = rotation(own, first)
        return arrays

    def _facts(self, name: str, fitted: Fitted, seeds: Sequence[int], drift: dict[str, Any]) -> dict[str, Any]:
        config, screen, description = self._config, self._screen, self._store.description()
        wells = screen.wells.iloc[self._rows.train]
        width = self.pack.embed(0, self._rows.train[:1]).shape[1]
        advised = None if self._decision is None else advised_strength(self._decision)
        prepare = []
        if config.normalise != "none":
            column = "batch" if config.normalise == "batch" else "plate"
            prepare.append(normalising_layer(column, controls=config.normalise == "plate_controls"))
        reading = {} if config.screen is None else config.screen.model_dump(mode="json", exclude={"path"})
        return {
            "name": name,
            "identity": self._identity,
            "sweep": {"name": str(description["name"]), "sweep_id": str(description["sweep_id"])},
            "cell": self._cell,
            "trainer": config.trainer,
            "settings": config.trainer_settings.model_dump(mode="json"),
            "weight": self._strength[0],
            "margin": self._strength[1],
            "strength": strength_text(config.trainer, *self._strength),
            "advised": self._cell is None and advised == self._strength,
            "seeds": list(seeds),
            "features": list(screen.feature_names),
            "columns": list(screen.feature_names) if fitted.named else embedding_names(width),
            "reading": reading,
            "normalise": config.normalise,
            "prepare": prepare,
            "layers": [dict(layer) for layer in fitted.layers],
            "trained_on": {
                "what": self._rows.why,
                "wells": len(wells),
                "batches": int(wells["batch"].nunique()),
                "plates": int(wells["plate"].nunique()),
                "perturbations": int(wells["perturbation"].nunique()),
            },
            "screen": str(description["identity"]["data"]),
            "decision": decision_facts(self._decision, self._strength),
            "drift": drift,
            "versions": {**versions(), **trainer_package(config.trainer)},
        }


def embedding_names(width: int) -> list[str]:
    """emb_00 … of an embedding's columns."""
    digits = max(2, len(str(width - 1)))
    return [f"emb_{number:0{digits}d}" for number in range(width)]


def _distinct(fitted: Sequence[Fitted]) -> list[int]:
    """The first of those that are equal: a correction without draws is the same for every seed."""
    places: list[int] = []
    for place, item in enumerate(fitted):
        if not any(
            all(np.array_equal(array, fitted[known].arrays[name]) for name, array in item.arrays.items())
            for known in places
        ):
            places.append(place)
    return places


def _identity(
    store: Store, strength: Strength, seeds: Sequence[int], rows: Sequence[UsedRows], cell: str | None = None
) -> str:
    used: list[list[int]] = [[len(own.train), _digest(own.train), _digest(own.validation)] for own in rows]
    return content_hash([VERSION, store.description()["sweep_id"], list(strength), list(seeds), used, cell])


def _digest(rows: IntArray) -> int:
    return int(content_hash(rows.tolist()), 16)


def _known(folder: Path, identity: str, strength: Strength, decision: Decision | None) -> Kept | None:
    """The model that is there already, with what is decided now; None where it must be fitted."""
    try:
        model = read_model(folder)
    except InputError:
        return None
    if model.facts.identity != identity:
        return None
    now = decision_facts(decision, strength)
    advised = decision is not None and advised_strength(decision) == strength
    if (model.facts.decision, model.facts.advised) != (now, advised):
        changed = model.facts.model_copy(update={"decision": now, "advised": advised})
        plain = changed.model_dump(mode="json", by_alias=True)
        write_model(folder, plain, model.arrays, card_text(plain))
    return Kept(folder, read_facts(folder), made=False)


__all__ = [
    "Kept",
    "embedding_names",
    "keep_cell",
    "keep_strengths",
    "kept_models",
    "model_name",
    "models_folder",
]
