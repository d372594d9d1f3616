"""Is what is called safe safe, for corrections that have no seed noise?

    .venv/bin/python benchmarks/methods_coverage.py --repetitions 150     (writes benchmarks/methods_coverage.json)

A deterministic correction is simulated by what it does to each perturbation on each plate. Perturbation p has a
strength of phenotype a_p (log-normal) and its own place c_p on the dial at which a share `depth` of it is lost; a plate
adds noise that is the same at every strength, and noise that changes along the dial. A screen is P perturbations on
6 batches × 3 plates. A seed draws one plate a batch to be scored, as a sweep's seeds do, and nothing else: two seeds
with the same plates would give the same curve. Every screen's c is moved within one step of the grid. The truth is that
of the population of perturbations and plates:

    B(x) = E[a]·(1 − depth·Φ((x − c)/√(w² + s²))),  x = log10 strength

The decision is the sweep's own (`judge_curve`, at its defaults but for fewer draws), with the perturbations drawn anew
(target new_perturbations) and, for comparison, without (this_screen). Told are, of all screens: how often a strength
above the truth was called safe, how often a loss was established where there is none (or none of δ), how often the
point was located, and of those how often the 90 % interval covers the truth or lies above it whole. The interval of a
rate is Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from sweeper.decision import DecisionSettings, judge_curve
from sweeper.decision.verdict.values import JudgedCurve
from sweeper.planning.description import versions

VIEW = "held_out_plates"
STRENGTHS = (0.0, *(float(f"{value:.4g}") for value in np.logspace(-3, 2, 11)))
BATCHES, PLATES = 6, 3
DELTA = 0.10
SPREAD = 0.3  # s: of the perturbations' places on the dial, decades
WIDTH = 0.4  # w
FIXED, MOVING = 0.25, 0.10
"""Standard deviation of a plate's noise on a perturbation: the same at every strength, and along the dial."""


@dataclass(frozen=True)
class Scenario:
    """What the correction costs: a share `depth` of the phenotype, around `centre` on the dial."""

    depth: float
    centre: float

    def moved(self, seed: int) -> Scenario:
        """At a place of its own within one step of the grid: no truth may lie well between two strengths by design."""
        return replace(self, centre=self.centre + 0.5 * (np.random.default_rng((seed, 7)).random() - 0.5))

    @property
    def truth(self) -> float:
        """λ_OC(δ); inf where δ is never lost."""
        if self.depth <= DELTA:
            return float("inf")
        return float(10 ** (self.centre + np.hypot(WIDTH, SPREAD) * norm.ppf(DELTA / self.depth)))


SCENARIOS = {
    "no loss": Scenario(0.0, 0.0),
    "half of δ": Scenario(0.05, 0.0),
    "loss in mid-range": Scenario(0.6, 0.0),
    "loss late": Scenario(0.6, 1.3),
}


def screen(scenario: Scenario, perturbations: int, seeds: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The results and units of a sweep of one simulated screen."""
    rng = np.random.default_rng((seed, 14))
    with np.errstate(divide="ignore"):
        x = np.log10(np.array(STRENGTHS))
    amplitude = rng.lognormal(-0.1, 0.5, perturbations)
    place = scenario.centre + SPREAD * rng.standard_normal(perturbations)
    lost = scenario.depth * norm.cdf((x[:, None] - place) / WIDTH)
    mean = amplitude * (1 - lost)
    plates = (perturbations, BATCHES, PLATES)
    fixed, moving = FIXED * rng.standard_normal(plates), MOVING * rng.standard_normal((2, *plates))
    along = np.clip((x + 3) / 5, 0, 1)
    course = np.stack([np.sin(2 * np.pi * along), along])  # smooth along the dial
    values = mean[:, :, None, None] + fixed + np.einsum("kl,kpbj->lpbj", course, moving)
    scale = 0.5  # of mAP above chance
    rows, units = [], []
    for number in range(seeds):
        drawn = rng.integers(PLATES, size=BATCHES)
        scored = values[:, :, np.arange(BATCHES), drawn].mean(axis=2) * scale
        removal = 0.3 + 0.6 / (1 + np.exp(-(x + 1) / 0.3)) + 0.01 * rng.standard_normal()
        for level, strength in enumerate(STRENGTHS):
            shared = {
                "cell_id": f"{number}-{level}",
                "trainer": "center",
                "adversarial_weight": strength,
                "margin": 0.0,
                "seed": number,
                "split": f"{VIEW}/0",
                "view": VIEW,
            }
            of_metrics = (
                ("retrieval_map", "biological", scored[level].mean()),
                ("batch_probe_linear", "technical", removal[level]),
            )
            rows += [
                {
                    **shared,
                    "metric": name,
                    "role": role,
                    "value": value,
                    "status": "ok",
                    "primary": True,
                    "floor": 0.0,
                    "ceiling": 1.0,
                    "reason": None,
                }
                for name, role, value in of_metrics
            ]
            units.append(
                pd.DataFrame(
                    {
                        **shared,
                        "fold": 0,
                        "metric": "retrieval_map",
                        "axis": "perturbation",
                        "unit": [f"p{p:03d}" for p in range(perturbations)],
                        "wells": BATCHES,
                        "value": scored[level],
                    }
                )
            )
    return pd.DataFrame(rows), pd.concat(units, ignore_index=True)


def judged(scenario: Scenario, target: str, seeds: int, perturbations: int, seed: int) -> JudgedCurve:
    """The decision on one simulated screen."""
    results, units = screen(scenario, perturbations, seeds, seed)
    settings = DecisionSettings(
        deciding_view=VIEW,
        target=target,  # type: ignore[arg-type]
        delta=DELTA,
        deltas=(DELTA,),
        draws=4000,
        curves=1000,
    )
    return judge_curve(results, view=VIEW, margin=0.0, settings=settings, units=units)


def study(scenario: Scenario, target: str, seeds: int, perturbations: int, repetitions: int) -> dict[str, Any]:
    """Rates over simulated screens."""
    unsafe = alarms = located = covered = above = 0
    for number in range(repetitions):
        moved = scenario.moved(number)
        curve, truth = judged(moved, target, seeds, perturbations, number), moved.truth
        limit = None if curve.estimate is None else curve.estimate.limit
        unsafe += limit is not None and limit > truth
        alarms += curve.unsafe_from is not None and curve.unsafe_from < truth
        if curve.point is not None:
            located += 1
            covered += curve.point[0] <= truth <= curve.point[2]
            above += curve.point[0] > truth
    return {
        "truth": None if np.isinf(scenario.truth) else round(scenario.truth, 4),
        "repetitions": repetitions,
        "called_safe_above_truth": _rate(unsafe, repetitions),
        "loss_established_too_early": _rate(alarms, repetitions),
        "located": _rate(located, repetitions),
        "covered": _rate(covered, located),
        "interval_above_truth": _rate(above, located),
    }


def _rate(count: int, of: int) -> dict[str, Any]:
    """A share with Wilson's 95 % interval."""
    if not of:
        return {"count": 0, "of": 0}
    z, share = 1.96, count / of
    centre, half = share + z**2 / (2 * of), z * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    low, high = (centre - half) / (1 + z**2 / of), (centre + half) / (1 + z**2 / of)
    return {
        "count": int(count),
        "of": int(of),
        "share": round(share, 3),
        "interval": [round(max(float(low), 0.0), 3), round(min(float(high), 1.0), 3)],
    }


def main() -> None:
    """Simulate, judge and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=150)
    parser.add_argument("--perturbations", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    found: dict[str, Any] = {"versions": versions(), "perturbations": options.perturbations, "rows": []}
    for seeds in options.seeds:
        for target in ("new_perturbations", "this_screen"):
            for name, scenario in SCENARIOS.items():
                rates = study(scenario, target, seeds, options.perturbations, options.repetitions)
                found["rows"].append({"scenario": name, "target": target, "seeds": seeds, **rates})
                print(found["rows"][-1], flush=True)
                options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
