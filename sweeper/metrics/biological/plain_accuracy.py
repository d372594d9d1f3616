"""Plain accuracy of the encoder's own class head, every row counted once: per image where a row is an image.

This is how WILDS scores RxRx1 (Koh et al. 2021, arXiv:2012.07421, appendix E.4): per image, over all 1,139 classes,
controls among them. Recursion's competition scored per well over 1,108 siRNAs: another number, not comparable. The
deciding `perturbation_accuracy` is a third: a fresh linear classifier, balanced over perturbations, without controls.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Evaluation, Measurement, Metric
from sweeper.metrics.layout import Absence, Layout
from sweeper.metrics.units import query_units
from trainers.base import IntArray


def plain_accuracy(evaluation: Evaluation) -> Measurement:
    """Share of the test rows that the encoder's own class head names rightly, in [0, 1]; 1 is best.

    Rows of perturbations that the encoder was not trained on are left out, as it has no class for them; controls count.
    The value is the share itself, the floor 1/C of C training classes. By batch or cell type it is the share there.
    """
    return _share(evaluation, "test")


def in_distribution_plain_accuracy(evaluation: Evaluation) -> Measurement:
    """As `plain_accuracy`, on the validation rows; where they are other sites of training wells it flatters."""
    return _share(evaluation, "validation")


def _share(evaluation: Evaluation, part: Literal["test", "validation"]) -> Measurement:
    if (absence := evaluation.once(unnamed if part == "test" else unnamed_validation)) is not None:
        return Measurement.absent(absence)
    assert evaluation.predict is not None  # noqa: S101 - or it would be absent
    wells, truth, classes, rows = _known(evaluation, part)
    hit = (evaluation.predict(part)[rows] == truth[rows]).astype(np.float64)
    chance, raw = 1.0 / len(classes), float(hit.mean())
    whole = np.zeros(len(rows), dtype=np.int64)  # a mean over rows, not over perturbations: one group
    units = query_units(wells, rows, hit, groups=whole, axes=evaluation.options.units)
    note = f"{len(classes)} classes, controls among them; {len(rows)} rows, each counted once"
    return Measurement(raw, floor=chance, raw=raw, chance=chance, reason=note, units=units)


def unnamed(layout: Layout) -> Absence | None:
    """Why the encoder names no test row."""
    return _unnamed(layout, "test")


def unnamed_validation(layout: Layout) -> Absence | None:
    """Why the encoder names no validation row."""
    return _unnamed(layout, "validation")


def _unnamed(layout: Layout, part: Literal["test", "validation"]) -> Absence | None:
    if not layout.has("predict"):
        return Absence("no class head of its own: a control, or an embedding from elsewhere")
    if not len(_known(layout, part)[-1]):
        return Absence(f"no {part} row has a perturbation of the training rows")
    return None


def _known(
    layout: Layout, part: Literal["test", "validation"]
) -> tuple[pd.DataFrame, NDArray[np.str_], NDArray[np.str_], IntArray]:
    """The wells of a part, their perturbations, the training classes, and the rows that are of one of these."""
    classes = np.unique(layout.train_wells["perturbation"].to_numpy(dtype=str))
    wells = layout.test_wells if part == "test" else layout.validation_wells
    truth = wells["perturbation"].to_numpy(dtype=str)
    return wells, truth, classes, np.flatnonzero(np.isin(truth, classes))


PLAIN = Metric(
    name="plain_accuracy",
    role="biological",
    standing="parity",
    title="Plain accuracy per row (image or well)",
    direction="1: the encoder's own class head names every test row rightly; 0: none",
    function=plain_accuracy,
    absent=unnamed,
    in_sweep=False,
)
IN_DISTRIBUTION = Metric(
    name="in_distribution_plain_accuracy",
    role="biological",
    standing="parity",
    title="Plain accuracy per row in distribution",
    direction="1: the encoder's own class head names every validation row rightly; 0: none",
    function=in_distribution_plain_accuracy,
    absent=unnamed_validation,
    in_sweep=False,
)
