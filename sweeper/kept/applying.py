"""A new table through a kept model, without a refit: corrected rows, and whether they lie inside what was tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.config.sweep_config import validated
from sweeper.kept.corrected import Corrected
from sweeper.kept.drift import UnitDrift, unit_drift
from sweeper.kept.encoding import encode
from sweeper.kept.model_file import KeptModel, read_model
from trainers.screens.readers import Reading, read_like
from trainers.screens.screen_spec import ScreenSpec

MARK = "Metadata_outside"


@dataclass(frozen=True, kw_only=True, eq=False)
class Applied:
    """What came of a new table.

    Attributes:
        corrected: its rows corrected; those of units that lie outside are marked in the column `MARK`.
        axis: what a unit is, the axis that the sweep held out; `view` held it out, None where none did.
        units: what is known of each unit.
        reference: accuracy on each training unit by an encoder that had not seen it; empty where not measured.
        accuracy_drop: a drop of accuracy that counts.
        classes: perturbations among which the nearest is taken.
        notes: what a user should know, one line each.
    """

    corrected: Corrected
    axis: str
    view: str | None
    units: tuple[UnitDrift, ...]
    reference: Mapping[str, float]
    accuracy_drop: float
    classes: int
    notes: tuple[str, ...]

    @property
    def outside(self) -> bool:
        """Whether any unit lies outside what was tested."""
        return any(unit.outside for unit in self.units)

    def sharp_drop(self, unit: UnitDrift) -> bool | None:
        """Whether accuracy drops sharply on a unit: below every training unit, by the drop that counts from their mean.

        None where it cannot be known.
        """
        if unit.accuracy is None or not self.reference:
            return None
        known = list(self.reference.values())
        return unit.accuracy < min(known) and sum(known) / len(known) - unit.accuracy > self.accuracy_drop

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "schema": "drift/1",
            "source": dict(self.corrected.source),
            "axis": self.axis,
            "view": self.view,
            "outside": self.outside,
            "units": [{**unit.to_json(), "sharp_drop": self.sharp_drop(unit)} for unit in self.units],
            "accuracy_of_training_units": dict(self.reference),
            "accuracy_drop": self.accuracy_drop,
            "classes": self.classes,
            "notes": list(self.notes),
        }


def apply_model(folder: Path, table: Path, *, seed: int | None = None, missing: str | None = None) -> Applied:
    """Put a table through a kept model.

    Args:
        seed: one seed's embedding, as it was trained; None: the mean of all.
        missing: what to do with features that lack values: "refuse", "drop_rows" or "median"; None: as the screen did.

    Raises:
        InputError: no model or a damaged one, a table that cannot be read, or one of another feature set.
    """
    model = read_model(folder)
    reading = read_like(_spec(model, table, missing), model.facts.features)
    screen = reading.screen
    features = np.asarray(screen.features)
    embedding = encode(model, features, screen.wells, seed=seed)
    first = encode(model, features, screen.wells, seed=model.facts.seeds[0])
    drift = model.facts.drift
    notes = [*_told(reading)]
    axis = drift["axis"]
    if axis not in screen.wells.columns or screen.wells[axis].isna().any():
        notes.append(f"the table has no column {axis!r}, which the sweep held out: batches are taken for it")
        axis = "batch"
    names = screen.wells[axis].astype(str).to_numpy()
    units = []
    for name in sorted(set(names)):
        rows = np.flatnonzero(names == name)
        wells = screen.wells.iloc[rows].reset_index(drop=True)
        units.append(unit_drift(model, name, features[rows], wells, first[rows]))
    outside = {unit.unit for unit in units if unit.outside}
    return Applied(
        corrected=Corrected(
            metadata=reading.metadata,
            embedding=embedding,
            columns=model.facts.columns,
            screen=screen,
            marks={MARK: np.isin(names, sorted(outside))},
            source={
                **model.facts.sweep,
                "screen": model.facts.screen,
                "trainer": model.facts.trainer,
                "strength": model.facts.strength,
                "model": model.facts.identity,
                "table": screen.fingerprint,
                "outside": sorted(outside),
                "seed": "mean of all" if seed is None else seed,
            },
        ),
        axis=axis,
        view=drift["view"],
        units=tuple(units),
        reference={unit: value for unit, value in drift["accuracy"].items() if value is not None},
        accuracy_drop=drift["accuracy_drop"],
        classes=len(drift["classes"]),
        notes=tuple(notes),
    )


def _spec(model: KeptModel, table: Path, missing: str | None) -> ScreenSpec:
    given = {**model.facts.reading, "path": str(table)}
    wanted = missing or given.get("missing", "refuse")
    given["missing"] = "refuse" if wanted == "drop_features" else wanted  # the encoder needs every feature
    return validated(ScreenSpec, given, f"{model.folder}: reading")


def _told(reading: Reading) -> list[str]:
    account = reading.account
    return [*account.notes, *(warning for warning in account.warnings if "taken for no features" not in warning)]


__all__ = ["MARK", "Applied", "apply_model"]
