"""What an evaluation view holds out: a section of a configuration. Imports no pandas."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainers.screens.screen_spec import COLUMNS

View = Literal["held_out_plates", "held_out_batches", "held_out_cell_types", "official"]

VIEWS: tuple[View, ...] = get_args(View)

_DEFAULT_COLUMN = {
    "held_out_plates": "plate",
    "held_out_batches": "batch",
    "held_out_cell_types": "cell_type",
    "official": "split",
}

_INSIDE = ("plate", "well")

_ACROSS = ("batch", "cell_type")


class ViewSpec(BaseModel):
    """One evaluation view: what is held out of training, and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: View = Field(
        description="held_out_plates: correct this screen; held_out_batches: generalise to new batches; "
        "held_out_cell_types: to a new cell type; official: the split that a column of the screen publishes."
    )
    column: str = Field(
        default="",
        description="What is held out. held_out_plates: 'plate' (default) or 'well', the same well positions in every "
        "batch. held_out_batches: 'batch' (default), 'cell_type' or a further column such as 'Metadata_Source'. "
        "official: the column of parts, 'split' (default); 'train' is learnt from, 'id_test', where it exists, "
        "is the in-distribution reference.",
    )
    fraction: float = Field(
        default=0.33,
        gt=0.0,
        lt=1.0,
        description="held_out_plates: share held out of every batch's plates (or of the well positions).",
    )
    folds: int = Field(
        default=3,
        ge=2,
        description="held_out_batches: each unit is held out in exactly one fold. (held_out_cell_types: one a fold.)",
    )
    held_out: tuple[str, ...] = Field(
        default=(),
        description="held_out_batches, held_out_cell_types: these units make the only fold, instead of a rotation. "
        "official: the parts that are scored, ['test'] unless named.",
    )
    shared_wells: bool = Field(
        default=False,
        description="official: accept a published split that puts sites of one well on both sides (mixed-to-test).",
    )
    validation_fraction: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the training batches' plates (positions, where those are held out) kept out of training: "
        "in-distribution reference and early stopping. Never a test batch.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_column(cls, values: Any) -> Any:
        """The view's default column."""
        if isinstance(values, dict) and not values.get("column") and values.get("view") in VIEWS:
            return {**values, "column": _DEFAULT_COLUMN[values["view"]]}
        return values

    @model_validator(mode="after")
    def _check_column(self) -> ViewSpec:
        """Refuse a column, a list of units or an option that the view cannot use."""
        if self.shared_wells and self.view != "official":
            raise ValueError("shared_wells belongs to view official")
        if self.view == "held_out_plates":
            if self.column not in _INSIDE:
                raise ValueError(f"held_out_plates holds out 'plate' or 'well', not {self.column!r}")
            if self.held_out:
                raise ValueError("held_out belongs to view held_out_batches; held_out_plates draws by fraction")
        elif self.view == "held_out_cell_types" and self.column != "cell_type":
            raise ValueError(f"held_out_cell_types holds out 'cell_type', not {self.column!r}")
        elif self.view == "official":
            if self.column in COLUMNS:
                raise ValueError(f"official needs a column of published parts, not {self.column!r}")
            if self.validation_fraction:
                raise ValueError("official takes its validation rows from the published split: no validation_fraction")
        elif self.column in COLUMNS and self.column not in _ACROSS:
            raise ValueError(
                f"held_out_batches holds out 'batch', 'cell_type' or a further column, not {self.column!r}"
            )
        return self


__all__ = ["VIEWS", "View", "ViewSpec"]
