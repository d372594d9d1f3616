"""From judged sub-sweeps to performance measures, with the Monte Carlo error that their overlap leaves.

Sub-sweeps share runs: two of the same grid have 5/6 of a seed in common on average, and each is in the reference. So

- the error of a share is a jackknife over the reference's seeds (all sub-sweeps with a seed are left out), which also
  counts the noise of how few sub-sweeps were drawn; the binomial error of all sub-sweeps would be too small;
- an interval is compared with two truths: of the whole reference, which holds the sub-sweep's own seeds (errors too
  small by √(1 − 5/30) = 0.91), and of the seeds that are not in the sub-sweep (too large by √(1 + 5/25) = 1.10).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.locator.tables import measure
from benchmarks.tier_c.truth import point, truth
from sweeper.decision.input.curve import Curve

Array = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]
EDGE = 1e-9
WITH_ERRORS = ("claimed", "claimed_with_sham", "coverage", "unsafe", "unsafe_decided", "bias", "rmse")


def summary(rows: Rows, curve: Curve, deltas: Sequence[float]) -> dict[str, Any]:
    """Truth and measures of a case at every δ."""
    seeds = curve.biological.shape[1]
    found: dict[str, Any] = {}
    for delta in deltas:
        key, true = f"{delta:g}", truth(curve.biological, delta)
        own = [_other_seeds(curve, row["seeds"], delta) for row in rows]
        told = {name: vars(true)[name] for name in ("se", "reached", "largest", "largest_se")}
        of_metric = {name: point(values, delta) for name, values in curve.by_metric.items()}
        of_posterior = partial(_posterior, key=key, true=true.point, of_metric=of_metric)
        by_method = {
            "posterior": _with_errors(rows, of_posterior, seeds),
            "bracket": _with_errors(rows, partial(_bracket, key=key, true=true.point), seeds),
        }
        by_method["posterior"] |= _against_other_seeds(rows, key, own)
        found[key] = {
            "truth": {"log10_lambda_oc": _finite(true.point), "unsmoothed": _finite(true.unsmoothed), **told},
            "truth_of_metrics": {name: _finite(value) for name, value in of_metric.items()},
            **by_method,
            "others": _others(rows, key, true.point),
        }
    return found


def residuals(biology: Array) -> Array:
    """(L, S) runs less their strength's and their seed's own level."""
    rest = biology - np.nanmean(biology, axis=0)
    return rest - np.nanmean(rest, axis=1, keepdims=True)


def neighbour_correlation(rest: Array, apart: int) -> float:
    """Correlation over seeds of what is left at two strengths `apart` levels apart, pooled over pairs.

    Independent runs would give −1/(L − 1), which removing a seed's level leaves.
    """
    first, second = rest[:-apart], rest[apart:]
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


def _posterior(rows: Rows, key: str, true: float, of_metric: Mapping[str, float]) -> dict[str, Any]:
    """Where metrics conflict the interval is of the earliest one's point: those are compared with that metric's truth.

    Bounds (`unsafe`, `unsafe_decided`) are compared with the composite's truth in either case.
    """
    own = [_present(row["posterior"][key]) for row in rows]
    agreed = [row for row in own if "earliest" not in row]
    found = measure(own, true) | _claims(own) | {"conflicting": 1 - len(agreed) / len(own)}
    of_agreed = measure(agreed, true) if agreed else {}
    for name in ("coverage", "bias", "rmse", "width"):
        found.pop(name, None)
        if of_agreed.get(name) is not None:
            found[name] = of_agreed[name]
    inside = [_holds(row, of_metric[row["earliest"]]) for row in own if "earliest" in row and row["reported"]]
    return found | ({"coverage_conflicting": float(np.mean(inside))} if inside else {})


def _holds(row: Mapping[str, Any], true: float) -> bool:
    return bool(row.get("lower", np.inf) <= true + EDGE and row.get("upper", np.inf) >= true - EDGE)


def _bracket(rows: Rows, key: str, true: float) -> dict[str, Any]:
    """Of the default method; `unsafe_decided`: a trained strength at or above the truth is called safe."""
    own = [_present(row["bracket"][key]) for row in rows]
    safe = np.array([row.get("bracket_safe", -np.inf) for row in own])
    unsafe = np.array([row.get("bracket_unsafe", np.inf) for row in own])
    both = np.isfinite(safe) & np.isfinite(unsafe)
    return {
        "repetitions": len(own),
        "not_reached": float(np.mean([row.get("not_reached", False) for row in own])),
        "safe_bound": float(np.isfinite(safe).mean()),
        "loss_established": float(np.isfinite(unsafe).mean()),
        "width": float(np.median((unsafe - safe)[both])) if both.any() else None,
        "short_of_truth": float(np.median((true - safe)[np.isfinite(safe)]))
        if np.isfinite(true) and np.isfinite(safe).any()
        else None,
        "unsafe_decided": float((safe >= true - EDGE).mean()) if np.isfinite(true) else None,
        "false_loss": float((unsafe < true - EDGE).mean()),
        **_claims(own),
    }


def _claims(own: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "claimed": float(np.mean([row["claimed"] for row in own])),
        "claimed_with_sham": float(np.mean([row["claimed_with_sham"] for row in own])),
        "states": dict(Counter(row.get("state_with_sham", row["state"]) for row in own).most_common()),
        "psi": float(np.median([row["psi"] for row in own if row.get("psi") is not None] or [np.nan])),
    }


def _others(rows: Rows, key: str, true: float) -> dict[str, Any]:
    """The five other methods on the same composites."""
    judged = [row["others"][key] for row in rows if "others" in row]
    return {name: measure([one[name] for one in judged], true) for name in (judged[0] if judged else ())}


def _other_seeds(curve: Curve, seeds: Sequence[int], delta: float) -> float:
    return point(curve.biological[:, ~np.isin(curve.seeds, seeds)], delta)


def _against_other_seeds(rows: Rows, key: str, truths: Sequence[float]) -> dict[str, Any]:
    """Coverage, and bounds above the truth, where the truth is that of seeds outside the sub-sweep."""
    inside, above, decided = [], [], []
    for row, true in zip(rows, truths, strict=True):
        own = _present(row["posterior"][key])
        if own.get("reported") and "earliest" not in own:
            inside.append(_holds(own, true))
        above.append(own.get("lower", np.inf) > true + EDGE)
        decided.append(np.isfinite(true) and own.get("bound", -np.inf) >= true - EDGE)
    if not np.isfinite(truths).any():
        return {}
    return {
        "coverage_other_seeds": float(np.mean(inside)) if inside else None,
        "unsafe_other_seeds": float(np.mean(above)),
        "unsafe_decided_other_seeds": float(np.mean(decided)),
    }


def _with_errors(rows: Rows, measured: Callable[[Rows], dict[str, Any]], seeds: int) -> dict[str, Any]:
    """The measures of all rows, with jackknife errors over seeds in place of binomial ones."""
    found = {key: value for key, value in measured(rows).items() if not key.endswith("_se")}
    without = [[row for row in rows if seed not in row["seeds"]] for seed in range(seeds)]
    left = [measured(some) for some in without if some]
    for name in WITH_ERRORS:
        values = np.array([one[name] for one in left if one.get(name) is not None], dtype=float)
        if found.get(name) is not None and len(values) == seeds:
            found[f"{name}_se"] = float(np.sqrt((seeds - 1) * values.var()))
    return found


def _present(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
