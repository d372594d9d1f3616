"""What the best possible test could see: power at a drop of 2 δ of methods that know what a real one must estimate.

    python -m benchmarks.locator --oracle        (a minute; writes benchmarks/locator_oracle.json and its table)

The gate "power, drop of 2 δ where the noise has doubled" is a test of a decline of exactly δ against one of 2 δ of the
same form. With form and noise known these are two simple hypotheses about normal level means, where no test of the same
false-alarm rate has more power than the likelihood ratio (Neyman & Pearson 1933): with d the distance of the two in
standard errors it is Φ(d − z). Three oracles, each knowing less:

- *level*: form, place, noise, and every seed's level before it falls, which no data tell;
- *shape*: form, place and noise; the level is estimated (the most powerful test that does not change with it);
- *family*: only that it is one normal loss, and the noise; place and width are maximised over.

The first two are exact, the second also checked on the study's draws; the third's limit is the quantile of its
statistic on the draws of the decline of δ. The locator stands beside them at limits on its own probability of a loss
that give it the same false alarms on the same draws. What another `p_identify` would give, here and at ψ 7.5, is in the
second table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from benchmarks.locator.methods import SETTINGS
from benchmarks.locator.shapes import HIGHEST, LOWEST, log_strengths, noise_sd
from benchmarks.locator.study import GATES, SMALL, Cell, results

Array = NDArray[np.float64]
NULL, LOSS = Cell("drop δ", SMALL), Cell("drop 2 δ", SMALL)
PRICED = (LOSS, NULL, Cell("drop 0.8 δ", SMALL), Cell("drop δ", GATES))
LIMITS = (SETTINGS.p_identify, 0.95, 0.925, 0.9)
RATES = (0.025, 0.05, 0.10)
"""False alarms at a decline of exactly δ: what `p_identify` promises, half the gate, and the gate."""
CENTRES, WIDTHS = np.arange(LOWEST, HIGHEST + 1.0, 0.1), (0.1, 0.17, 0.28, 0.45, 0.7, 1.1, 1.7)
DRAWS = 4000
BEGIN, END = "<!-- oracle: written by benchmarks/locator/oracle.py -->", "<!-- end of oracle -->"


def means(cell: Cell, count: int) -> Array:
    """(count, L) level means of the study's draws, the seeds' own level in them."""
    return np.stack([cell.sweep(n).biology.mean(axis=1) for n in range(count)])


def distance(*, level_known: bool) -> float:
    """Between the two declines' level means, in standard errors."""
    x = log_strengths(SMALL.levels)
    weight = SMALL.seeds / noise_sd(x, SMALL.sigma) ** 2
    apart = NULL.curve(x) - LOSS.curve(x)
    lost = 0.0 if level_known else float((weight * apart).sum() ** 2 / weight.sum())
    return float(np.sqrt((weight * apart**2).sum() - lost))


def statistic(y: Array) -> Array:
    """(R,) log likelihood ratio of the two declines, the level estimated: N(0, 1) at a decline of δ, N(d, 1) at 2 δ."""
    x = log_strengths(SMALL.levels)
    weight = SMALL.seeds / noise_sd(x, SMALL.sigma) ** 2
    apart = NULL.curve(x) - LOSS.curve(x)
    apart = apart - (weight * apart).sum() / weight.sum()
    return np.asarray((NULL.curve(x) - y) @ (weight * apart) / np.sqrt((weight * apart**2).sum()))


def by_family(y: Array) -> Array:
    """(R,) signed root of the likelihood ratio against a largest loss of exactly δ, over all places and widths."""
    x = log_strengths(SMALL.levels)
    root = np.sqrt(SMALL.seeds) / noise_sd(x, SMALL.sigma)
    best = {False: np.full(len(y), -np.inf), True: np.full(len(y), -np.inf)}
    one = root / np.linalg.norm(root)
    for width in WIDTHS:
        for centre in CENTRES:
            whole = float(ndtr((HIGHEST - centre) / width))
            shape = -ndtr((x - centre) / width) / whole * root  # of a loss of 1 at the largest strength
            shape = shape - one * (one @ shape)
            white = y * root - np.outer(y * root @ one, one)
            size = np.linalg.norm(shape)
            if size < 1e-6:
                continue
            amplitude = white @ shape / size**2
            rest = (white**2).sum(axis=1)
            for beyond in (False, True):
                cut = np.maximum(amplitude, SMALL.delta) if beyond else np.clip(amplitude, 0.0, SMALL.delta)
                gain = -(rest - 2 * cut * (white @ shape) + cut**2 * size**2)
                best[beyond] = np.maximum(best[beyond], gain)
    return best[True] - best[False]


def measure(folder: Path) -> dict[str, Any]:
    """Powers at each rate of false alarms, of the oracles and of the locator where it has been run."""
    found: dict[str, Any] = {"draws": DRAWS, "setting": SMALL.name, "rates": list(RATES), "methods": {}}
    none, loss = means(NULL, DRAWS), means(LOSS, DRAWS)
    for name, known in (("level", True), ("shape", False)):
        d = distance(level_known=known)
        found["methods"][name] = {"power": [float(ndtr(d - ndtri(1 - rate))) for rate in RATES], "distance": d}
    told = statistic(loss)
    found["methods"]["shape"]["drawn"] = [float((told > ndtri(1 - rate)).mean()) for rate in RATES]
    quiet, told = by_family(none), by_family(loss)
    found["methods"]["family"] = {"power": [float((told > np.quantile(quiet, 1 - rate)).mean()) for rate in RATES]}
    own = {cell: np.array([row["p_detect"] for row in results(folder, cell, "locator")]) for cell in PRICED}
    if len(own[NULL]) and len(own[LOSS]):
        limits = [float(np.quantile(own[NULL], 1 - rate, method="higher")) for rate in RATES]
        found["methods"]["locator"] = {
            "power": [float((own[LOSS] > limit).mean()) for limit in limits],
            "limits": limits,
            "repetitions": min(len(own[NULL]), len(own[LOSS])),
        }
    found["p_identify"] = list(LIMITS)
    found["reported"] = [
        {
            "setting": cell.setting.name,
            "shape": cell.shape,
            "repetitions": len(seen),
            "share": [float((seen >= limit).mean()) for limit in LIMITS],
        }
        for cell, seen in own.items()
        if len(seen)
    ]
    return found


def table(found: Mapping[str, Any]) -> list[str]:
    """Of the powers."""
    heads = " | ".join(f"false alarms {rate:g}" for rate in found["rates"])
    lines = [f"| {found['setting']}, drop of 2 δ: knows | {heads} |", "|---" * (len(found["rates"]) + 1) + "|"]
    titles = {
        "level": "level, form, place, noise (exact)",
        "shape": "form, place, noise (exact)",
        "family": "family, noise",
        "locator": "nothing: the locator",
    }
    for name, title in titles.items():
        if name in found["methods"]:
            own = found["methods"][name]
            count = own.get("repetitions", found["draws"])
            exact = name in ("level", "shape")
            entries = [f"{power:.3f}" if exact else _with_error(power, count) for power in own["power"]]
            lines.append(f"| {title} | {' | '.join(entries)} |")
    if found["reported"]:
        heads = " | ".join(f"p_identify {limit:g}" for limit in found["p_identify"])
        lines += ["", f"| the locator reports | n | {heads} |", "|---" * (len(found["p_identify"]) + 2) + "|"]
    for row in found["reported"]:
        shares = " | ".join(_with_error(share, row["repetitions"]) for share in row["share"])
        lines.append(f"| {row['setting']}, {row['shape']} | {row['repetitions']} | {shares} |")
    return lines


def _with_error(share: float, count: int) -> str:
    return f"{share:.3f} ± {np.sqrt(share * (1 - share) / count):.3f}"


def with_table(text: str, found: Mapping[str, Any]) -> str:
    """The text with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    return before + "\n".join([BEGIN, "", *table(found), "", END]) + rest.partition(END)[2]
