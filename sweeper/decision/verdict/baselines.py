"""Does an embedding without any training do as well? And what did the encoder lose before any correction?

Untrained baselines are measured on the same held-out rows as the trained cells, seed by seed, so differences are paired
over seeds. A baseline is *as good* where it is not shown to be worse in either group than the trained strength it is
compared with. The encoder *has lost* a relevant share of biology where (1 − δ)·B_raw − B(0) is shown to be 0 or more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeper.decision.input.results_table import ROLES

Array = NDArray[np.float64]
RAW = "raw"
UNTRAINED: Mapping[str, str] = {
    "raw": "Taking the features as they are",
    "batch_standardised": "Standardising per batch",
    "plate_control_centred": "Centring each plate on its controls",
    "sphering": "Sphering on the controls",
}
"""Controls that could be used in place of an encoder; the others are references of the scale."""


@dataclass(frozen=True)
class Difference:
    """Baseline less trained, anchored scale, with its two-sided interval, each end a one-sided bound."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Baseline:
    """One untrained embedding against a trained strength.

    Attributes:
        name: a key of `UNTRAINED`.
        biological, technical: its composites.
        biology, removal: its differences to the trained strength.
        as_good: it is not shown to be worse in either.
    """

    name: str
    biological: float
    technical: float
    biology: Difference
    removal: Difference
    as_good: bool


@dataclass(frozen=True)
class Baselines:
    """The untrained baselines of one curve.

    Attributes:
        weight: trained λ that they are compared with.
        measured: every baseline that could be measured on all deciding metrics.
        best: the one that is as good and has most, biology first; None where none is.
        encoder_loss: share of the raw features' biology that the encoder at λ = 0 lacks; below 0 where it gains; None
            where raw features were not measured or hold none.
        encoder_lost: a loss of δ or more is shown.
    """

    weight: float
    measured: tuple[Baseline, ...]
    best: str | None
    encoder_loss: float | None
    encoder_lost: bool


def compare_baselines(
    controls: Mapping[str, Mapping[str, Array]],
    trained: Mapping[float, Mapping[str, Array]],
    *,
    weight: float,
    delta: float,
    confidence: float,
) -> Baselines | None:
    """The baselines against λ `weight`; None where none was measured.

    Args:
        controls: control → role → (S,) composite of each seed of the curve; NaN where it was not measured.
        trained: λ → role → (S,) composite; 0 and `weight` among them.
        weight: the trained λ to compare with.
        delta: share of biology that counts.
        confidence: one-sided level of each bound.
    """
    measured = []
    for name in UNTRAINED:
        own = controls.get(name)
        if own is None:
            continue
        biology, removal = (_gap(own[role] - trained[weight][role], confidence) for role in ROLES)
        if biology is None or removal is None:
            continue
        placed = {role: float(np.nanmean(own[role])) for role in ROLES}
        as_good = min(biology.upper, removal.upper) >= 0
        measured.append(Baseline(name, placed["biological"], placed["technical"], biology, removal, as_good))
    if not measured:
        return None
    good = [item for item in measured if item.as_good]
    best = max(good, key=lambda item: (item.biological, item.technical), default=None)
    loss, lost = _encoder_loss(controls, trained, delta, confidence)
    return Baselines(weight, tuple(measured), None if best is None else best.name, loss, lost)


def _encoder_loss(
    controls: Mapping[str, Mapping[str, Array]],
    trained: Mapping[float, Mapping[str, Array]],
    delta: float,
    confidence: float,
) -> tuple[float | None, bool]:
    if RAW not in controls or 0.0 not in trained:
        return None, False
    raw, zero = controls[RAW]["biological"], trained[0.0]["biological"]
    both = np.isfinite(raw) & np.isfinite(zero)
    if not both.any() or raw[both].mean() <= 0:
        return None, False
    shown = _gap((1 - delta) * raw - zero, confidence)
    return float(1 - zero[both].mean() / raw[both].mean()), shown is not None and shown.lower >= 0


def _gap(values: Array, confidence: float) -> Difference | None:
    """Mean over seeds with its interval; None from fewer than two."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return None
    mean, error = float(finite.mean()), float(finite.std(ddof=1) / np.sqrt(len(finite)))
    half = float(stdtrit(len(finite) - 1, confidence)) * error
    return Difference(mean, mean - half, mean + half)
