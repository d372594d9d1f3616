"""What a metric is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.arrays import Arrays, arrays
from sweeper.metrics.layout import Absence, BoolArray, Given, Layout
from sweeper.metrics.resampling import Weighted
from trainers.base import FloatArray
from trainers.errors import InputError

Role = Literal["technical", "biological"]
Standing = Literal["primary", "secondary", "guard", "parity"]
Axis = str
"""A column of the wells that a label metric is kept by: batch, cell_type, perturbation or a further one."""
Float64Array = NDArray[np.float64]

Predict = Callable[[Literal["test", "validation"]], NDArray[np.str_]]
"""The perturbation that an encoder's own class head names for every row of a part."""

_COLUMNS = ("batch", "plate", "well", "perturbation", "control_type")


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What the test embeddings were made from: a metric may change it and embed it again.

    Attributes:
        features: (n_test, d) the encoder's input.
        encode: (k, d) features to their (k, e) embeddings.
    """

    features: FloatArray
    encode: Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation(Layout):
    """Everything a metric may see: embeddings of three row sets, and their layout.

    Attributes:
        test: (n_test, e) embeddings of rows the encoder never saw.
        train: (n_train, e) rows the encoder learnt from; fresh classifiers are fitted here. May have 0 rows.
        validation: (n_val, e) rows of seen batches on unseen plates; may have 0 rows.
        reference: the uncorrected features of the same test rows as an evaluation of their own, see
            `biological.retention.uncorrected`; one object for all cells of a split, as what is computed on it is kept.
        source: what the test embeddings were made from; None where that is not at hand.
        predict: the encoder's own class head; None where there is none (controls, embeddings from elsewhere).

    Raises:
        InputError: a shape or a column that does not fit.
    """

    test: FloatArray
    train: FloatArray
    validation: FloatArray
    reference: Evaluation | None = None
    source: Source | None = None
    predict: Predict | None = None

    def __post_init__(self) -> None:
        """Refuse what no metric could be measured on."""
        if self.test.ndim != 2 or 0 in self.test.shape:
            raise InputError(f"evaluation: test embeddings have shape {self.test.shape}; expected (n ≥ 1, e ≥ 1)")
        for name in ("test", "train", "validation"):
            embeddings, wells = getattr(self, name), getattr(self, f"{name}_wells")
            expected = (len(wells), self.test.shape[1])
            if embeddings.shape != expected:
                raise InputError(f"evaluation: {name} embeddings have shape {embeddings.shape}; expected {expected}")
            if missing := [column for column in _COLUMNS if column not in wells.columns]:
                raise InputError(f"evaluation: {name}_wells lacks column {missing[0]!r}; it has {list(wells.columns)}")
        for name, rows in (
            ("reference", None if self.reference is None else self.reference.test),
            ("source", None if self.source is None else self.source.features),
        ):
            if rows is not None and len(rows) != len(self.test):
                raise InputError(f"evaluation: {name} has {len(rows)} rows; expected those of test, {len(self.test)}")

    @cached_property
    def arrays(self) -> Arrays:
        """Where blocks of distances and similarities are computed."""
        return arrays(self.options.device)

    @cached_property
    def unit(self) -> Float64Array:
        """(n_test, e) test rows scaled to length 1; zero rows stay zero."""
        return unit_rows(self.test)

    def has(self, given: Given) -> bool:
        """Whether that is at hand."""
        return getattr(self, given) is not None


class Unit(NamedTuple):
    """A metric on the queries of one batch, cell type, perturbation or other value of a column.

    Attributes:
        axis: the column, of the query well.
        unit: its value.
        value: oriented and chance-corrected as `Measurement.value`; higher is better.
        wells: number of wells it was measured on, ≥ 1.
    """

    axis: Axis
    unit: str
    value: float
    wells: int


@dataclass(frozen=True)
class Measurement:
    """The result of one metric.

    Attributes:
        value: oriented, higher is better; None when the metric is not measurable here.
        floor: the value at chance or at worst; anchored = (value - floor) / (ceiling - floor).
        ceiling: the value at best on these data.
        raw: the familiar number before orientation, e.g. the probe's balanced accuracy.
        chance: `raw` of an embedding without information.
        reason: why `value` is None; with a value, a caveat on how it was measured, else None.
        flag: a symptom that the value alone does not show, in a word ("below_chance", "phenotype_lost"); `reason` has
            the sentence. None when there is none.
        interval: 95 % bootstrap interval of `raw`, where one is made.
        limit: what `raw` stays within 95 % of the time without information, where that is known.
        parts: `raw` of each of those that a metric is the strongest of, by name; {} for other metrics.
        units: of a label metric, the value by each axis of the options; () where that has no meaning.
        weighted: of a metric in a composite, `value` when plates (technical) or perturbations (biological), in the
            order of their codes, count as often as given; see `resampling`.
    """

    value: float | None
    floor: float = 0.0
    ceiling: float = 1.0
    raw: float | None = None
    chance: float | None = None
    reason: str | None = None
    flag: str | None = None
    interval: tuple[float, float] | None = None
    limit: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    units: tuple[Unit, ...] = ()
    weighted: Weighted | None = field(default=None, compare=False, repr=False)

    @classmethod
    def absent(cls, absence: Absence) -> Measurement:
        """Of a metric that these rows cannot identify."""
        return cls(None, reason=absence.reason)


@dataclass(frozen=True)
class Metric:
    """A named, oriented function of an evaluation.

    Attributes:
        name: the key in configs and results.
        role: which of the two groups it belongs to.
        standing: "primary" decides in a sweep that names nothing else; "secondary" stands beside it and may be in a
            composite; a "guard" raises the alarm and is never averaged; "parity" is reported because the field does.
        title: the name for people.
        direction: what the ends of its value mean.
        function: measures it.
        absent: why the rows alone keep it from being measured, or None; `function` asks it too, so that what is
            foreseen and what is measured cannot differ. An embedding can lack more, e.g. any phenotype to be lost.
        in_sweep: whether a sweep measures it when its configuration names no metrics; the others are asked for by name
            and cost a sweep nothing.
    """

    name: str
    role: Role
    standing: Standing
    title: str
    direction: str
    function: Callable[[Evaluation], Measurement]
    absent: Callable[[Layout], Absence | None]
    in_sweep: bool = True

    @property
    def primary(self) -> bool:
        """Whether it decides in a sweep that names nothing else."""
        return self.standing == "primary"


def require_finite(name: str, rows: NDArray[np.floating]) -> None:
    """Raise `InputError` that names the first row and column whose value is not finite."""
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise InputError(f"{name}: value at row {row}, column {column} is not finite; impute or drop it first")


def unit_rows(embeddings: NDArray[Any]) -> Float64Array:
    """(n, e) rows scaled to length 1 in float64; zero rows stay zero."""
    rows = np.asarray(embeddings, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


__all__ = [
    "Axis",
    "BoolArray",
    "Evaluation",
    "Float64Array",
    "Measurement",
    "Metric",
    "Predict",
    "Role",
    "Source",
    "Standing",
    "Unit",
    "require_finite",
    "unit_rows",
]
