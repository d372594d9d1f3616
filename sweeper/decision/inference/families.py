"""The eight families of biology curves over x = log10 λ, as one bank of shapes and the combinations that are fitted.

A curve is an intercept (its value at λ = 0, where every shape is 0) plus shapes with amplitudes of 0 or more: a gain
λ^h / (λ^h + k^h), a hinge max(0, x − c), or a loss F((x − c)/τ), losses entering the bank with a minus. F is the
normal, logistic, left Gumbel or right Gumbel distribution function: the strength at which a small loss is reached lies
in the tail of F, so a single link would give an interval that is too narrow. Given its shapes a curve is linear in the
rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

STEP = 0.04  # decades between the points at which curves are drawn
EXPONENTS = (0.7, 1.0, 2.0)
WIDTHS = (0.1, 0.17, 0.28, 0.45, 0.7, 1.1, 1.7)  # τ, decades
# A first step may lie between two neighbouring strengths: without widths far below their spacing the average of the
# two-loss families puts a step that has just passed δ too late (safe bound above the truth .13 of the time, not .07).
COARSE_WIDTHS = (0.06, 0.15, 0.35, 0.9)
CENTRE_STEP, GAIN_STEP, COARSE_STEP, COARSE_GAIN_STEP = 0.1, 0.25, 0.2, 0.5
LINKS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "probit": ndtr,
        "logistic": lambda z: expit(1.702 * z),  # scaled to the probit's slope
        "gumbel_left": lambda z: -np.expm1(-np.exp(np.minimum(z, 50.0))),
        "gumbel_right": lambda z: np.exp(-np.exp(np.minimum(-z, 50.0))),
    }
)
# Prior s.d. of amplitudes, in units of the peak (hinge: per decade); the intercept's is `INTERCEPT_SD`.
INTERCEPT_SD, GAIN_SD, HINGE_SD, LOSS_SD, TWO_LOSSES_SD = 1.0, 0.7, 0.4, 0.7, 0.5


@dataclass(frozen=True, eq=False)
class Family:
    """The n members of a family, k shapes each.

    Attributes:
        rows: (n, k) rows of the bank.
        used: for each of the k, the distinct rows that occur there.
        place: for each of the k, (n,) place in `used`; so inner products are taken once a pair of distinct rows.
        pairs: (i, j) → (n,) place of a member's i-th and j-th row in the flattened table of those inner products.
    """

    rows: Indices
    used: tuple[Indices, ...]
    place: tuple[Indices, ...]
    pairs: Mapping[tuple[int, int], Indices]


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes on the levels and on the fine grid, and the families made of them.

    Attributes:
        x: (F,) log10 λ of the fine grid; the first is −∞, which is λ = 0.
        levels: (N, L) each shape at the levels.
        fine: (N, F) each shape on the fine grid.
        prior_sd: (N,) prior s.d. of each shape's amplitude.
        parameters: (N,) numbers that set a shape, its amplitude included.
        families: by name.
    """

    x: Array
    levels: Array
    fine: Array
    prior_sd: Array
    parameters: Indices
    families: Mapping[str, Family]


@lru_cache(maxsize=8)
def shapes(strengths: tuple[float, ...]) -> Shapes:
    """The bank for levels λ, ascending, 0 first; the same levels give the same object.

    Centres run from half a decade below the smallest λ > 0 to a decade above the largest, so that a loss may already
    be under way at one end and only begin at the other.
    """
    with np.errstate(divide="ignore"):
        at = np.log10(np.array(strengths))
    low, high = at[1], at[-1]
    count = max(int(np.ceil((high - low) / STEP - 1e-9)), 1)
    x = np.concatenate([[-np.inf], np.linspace(low, high, count + 1)])
    both = np.concatenate([at, x])
    gains = _gains(both, _steps(low - 0.5, high, GAIN_STEP), EXPONENTS)
    hinges = _hinges(both, _steps(low - 0.5, high - CENTRE_STEP, CENTRE_STEP))
    losses = _losses(both, _steps(low - 0.5, high + 1, CENTRE_STEP), WIDTHS, tuple(LINKS))
    coarse_gains = _gains(both, _steps(low - 0.5, high, COARSE_GAIN_STEP), (1.0,))
    coarse_losses = _losses(both, _steps(low - 0.5, high + 0.5, COARSE_STEP), COARSE_WIDTHS, ("probit",))
    parts = (gains, hinges, losses, coarse_gains, coarse_losses)
    sizes = [len(part) for part in parts]
    gain, hinge, loss, coarse_gain, coarse_loss = (
        np.arange(stop - size, stop) for size, stop in zip(sizes, np.cumsum(sizes), strict=True)
    )
    first, second = np.triu_indices(len(coarse_loss), k=1)
    pairs = np.column_stack([coarse_loss[first], coarse_loss[second]])
    bank = np.concatenate(parts)
    return Shapes(
        x=x,
        levels=bank[:, : len(at)],
        fine=bank[:, len(at) :],
        prior_sd=np.repeat([GAIN_SD, HINGE_SD, LOSS_SD, GAIN_SD, TWO_LOSSES_SD], sizes),
        parameters=np.repeat([3, 2, 3, 2, 3], sizes),
        families=MappingProxyType(
            {
                "flat": _family(np.zeros((1, 0), dtype=np.int64)),
                "gain": _family(gain[:, None]),
                "hinge": _family(hinge[:, None]),
                "loss": _family(loss[:, None]),
                "gain+hinge": _family(_crossed(gain, hinge[:, None])),
                "gain+loss": _family(_crossed(gain, loss[:, None])),
                "two losses": _family(pairs),
                "gain+two losses": _family(_crossed(coarse_gain, pairs)),
            }
        ),
    )


def _family(rows: Indices) -> Family:
    distinct = [np.unique(column, return_inverse=True) for column in rows.T]
    used, place = tuple(used for used, _ in distinct), tuple(place for _, place in distinct)
    pairs = {(i, j): place[i] * len(used[j]) + place[j] for j in range(len(used)) for i in range(j)}
    return Family(rows, used, place, MappingProxyType(pairs))


def _steps(low: float, high: float, step: float) -> Array:
    """Points from low to high, both included, at most `step` apart."""
    return np.linspace(low, high, max(int(np.ceil((high - low) / step - 1e-9)), 1) + 1)


def _gains(x: Array, centres: Array, exponents: tuple[float, ...]) -> Array:
    """λ^h / (λ^h + k^h) for every h and every k = 10^centre."""
    slopes = np.log(10) * np.array(exponents)
    z = (x - centres[:, None, None]) * slopes[:, None]
    return np.asarray(expit(z).reshape(-1, len(x)))


def _hinges(x: Array, centres: Array) -> Array:
    return -np.maximum(x - centres[:, None], 0.0)


def _losses(x: Array, centres: Array, widths: tuple[float, ...], links: tuple[str, ...]) -> Array:
    z = (x - centres[:, None, None]) / np.array(widths)[:, None]
    return np.concatenate([-LINKS[link](z).reshape(-1, len(x)) for link in links])


def _crossed(first: Indices, rest: Indices) -> Indices:
    """Every entry of `first` (a,) in front of every row of `rest` (b, k): (a·b, k + 1)."""
    return np.column_stack([np.repeat(first, len(rest)), np.tile(rest, (len(first), 1))])
