"""Position: can row and column of the well still be read from the embedding?"""

from __future__ import annotations

import numpy as np

from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.layout import Absence, Layout

_FOLDS = 5
_PENALTIES = np.logspace(-2, 5, 8)


def positions(layout: Layout) -> Float64Array | None:
    """(n_test, 2) row and column of every test well, or None where one is unknown."""
    wells = layout.test_wells
    if not {"row", "column"} <= set(wells.columns) or wells[["row", "column"]].isna().any(axis=None):
        return None
    return wells[["row", "column"]].to_numpy(dtype=np.float64)


def row_column_ridge(evaluation: Evaluation) -> Measurement:
    """1 - share of the wells' position that a ridge regression predicts, in [0, 1]; 1 is best.

    Row and column are predicted from the embedding, standardised in the fold; 5 folds hold out whole well positions,
    the penalty is chosen by leave-one-out in the training folds. Raw is the mean over row and column of
    R² = 1 - Σ(y - ŷ)² / Σ(y - ȳ)² on the pooled held-out predictions, each clipped to [0, 1]; chance 0. Silhouettes
    of rows and columns do not see such gradients. Where a perturbation keeps its position, phenotype and position
    cannot be told apart.
    """
    if (absence := evaluation.once(unplaced)) is not None:
        return Measurement.absent(absence)
    place, well = positions(evaluation), evaluation.code("well")
    assert place is not None  # noqa: S101 - or it would be absent
    from sklearn.model_selection import GroupKFold

    predicted = np.empty_like(place)
    for train, out in GroupKFold(_FOLDS).split(place, groups=well):
        rows = evaluation.test[train].astype(np.float64)
        mean, std = rows.mean(axis=0), rows.std(axis=0)
        std[std == 0] = 1.0
        weights, offset = ridge((rows - mean) / std, place[train])
        predicted[out] = (evaluation.test[out] - mean) / std @ weights + offset
    residual, spread = (place - predicted) ** 2, (place - place.mean(axis=0)) ** 2
    raw = float(np.mean(np.clip(1.0 - residual.sum(axis=0) / spread.sum(axis=0), 0.0, 1.0)))
    plates = evaluation.code("plate")
    missed, all_ = (np.stack([np.bincount(plates, weights=of) for of in squares.T]) for squares in (residual, spread))

    def weighted(weights: Float64Array) -> Float64Array:
        left, around = missed @ weights.T, all_ @ weights.T
        share = np.divide(left, around, out=np.ones_like(left), where=around > 0)  # 0 where one position alone is drawn
        return np.asarray(1.0 - np.mean(np.clip(1.0 - share, 0.0, 1.0), axis=0))

    return Measurement(1.0 - raw, raw=raw, chance=0.0, weighted=weighted)


UNKNOWN = Absence("the wells' rows and columns are not known")


def unplaced(layout: Layout) -> Absence | None:
    """Why no position can be predicted."""
    place = positions(layout)
    if place is None:
        return UNKNOWN
    if layout.count("well") < _FOLDS or (np.ptp(place, axis=0) == 0).any():
        return Absence(f"fewer than {_FOLDS} well positions, or one row or column only")
    return None


def ridge(rows: Float64Array, targets: Float64Array) -> tuple[Float64Array, Float64Array]:
    """(e, t) weights and (t,) offsets of a ridge regression, each target's penalty the best of 8 left one out.

    The residual of a row that is left out is its residual over 1 - leverage, so that one eigendecomposition of the
    (e, e) products serves every penalty (Golub, Heath & Wahba, Technometrics 1979).

    Args:
        rows: (n, e) of mean 0.
        targets: (n, t).
    """
    offset = targets.mean(axis=0)
    centred = targets - offset
    values, axes = np.linalg.eigh(rows.T @ rows)
    turned = rows @ axes
    strength = 1.0 / (np.maximum(values, 0.0)[:, None] + _PENALTIES)
    moments = turned.T @ centred
    leverage = turned**2 @ strength + 1.0 / len(rows)
    errors = []
    for penalty in range(len(_PENALTIES)):
        residual = centred - turned @ (strength[:, penalty, None] * moments)
        left = np.maximum(1.0 - leverage[:, penalty, None], 1e-12)
        errors.append(np.mean((residual / left) ** 2, axis=0))
    best = strength[:, np.argmin(errors, axis=0)]
    weights: Float64Array = axes @ (best * moments)
    return weights, offset


RIDGE = Metric(
    name="row_column_ridge",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Row and column not readable (ridge)",
    direction="1: row and column cannot be predicted; 0: they are predicted exactly",
    function=row_column_ridge,
    absent=unplaced,
)
