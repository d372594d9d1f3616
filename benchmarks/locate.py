"""How many trainings until the over-correction point is known as well: grid, random, Optuna's TPE, or locate?

    make benchmark-locate       (writes benchmarks/locate.json; --repetitions sets the precision)

Curves with a stated loss (as in locator.py, tier A1), a seed effect and noise that doubles near λ = 10; nothing is
trained: a training is a draw of the two composites at a strength. Every road begins where it has to: λ = 0 and six
strengths are the fewest that can be judged. The same posterior then judges each: width of the 90 % interval of λ_OC,
how often it holds the truth, how often the safe bound lies above it. `locate` is what `search: locate` runs: the
proposals of `sweeper.decision.next_points` until the interval is narrow enough or the rounds end. TPE is the sweep's
own search, `sweeper.search.optuna_rounds`, on the technical and the biological composite.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from locator.shapes import SEED_SD, stated, truth
from numpy.typing import NDArray
from scipy.special import expit

from sweeper.decision import Decision, DecisionSettings
from sweeper.decision.decision import decide
from sweeper.decision.next_points import NextOptions, next_points
from sweeper.search.optuna_rounds import propose
from sweeper.sections import OptunaSearch, round_strength

Array = NDArray[np.float64]
LOW, HIGH, SEEDS, SIGMA, DELTA, MARGIN = 1e-3, 1e2, 3, 0.03, 0.10, 0.3
SHAPES = ("plateau-drop", "slow")
GRIDS = (6, 12, 24, 40)
RANDOM = TPE = (14, 26)
ROUNDS, PER_ROUND, WIDTH = 3, 4, 0.3
SETTINGS = DecisionSettings(deciding_view="v", method="posterior", delta=DELTA, deltas=(DELTA,), draws=500, curves=1000)


@dataclass
class Experiment:
    """One repetition's world: any (strength, seed) can be trained, and gives the same values whenever it is asked."""

    curve: Callable[[Array], Array]
    number: int
    runs: dict[tuple[float, int], tuple[float, float]] = field(default_factory=dict)

    def train(self, strengths: tuple[float, ...], seeds: Sequence[int]) -> None:
        """Draw the (biological, technical) composites of every strength with every seed."""
        for strength in strengths:
            x = np.array([np.log10(strength) if strength else -np.inf])
            rise = 0.3 + 0.6 * expit((max(float(x[0]), -60.0) + 1) / 0.3)
            for seed in seeds:
                rng = np.random.default_rng([self.number, seed, int(1e6 * strength)])
                shared = np.random.default_rng([self.number, seed]).normal(0, SEED_SD)
                noise = SIGMA * (1 + expit((float(x[0]) - 1) / 0.2)) * rng.standard_normal()
                self.runs[strength, seed] = (
                    float(self.curve(x)[0]) + shared + noise,
                    rise + shared + 0.01 * rng.standard_normal(),
                )

    def table(self) -> pd.DataFrame:
        """The tidy table of everything trained."""
        rows = [
            {"trainer": "t", "split": "v/0", "view": "v", "metric": role, "role": role, "status": "ok",
             "margin": MARGIN, "adversarial_weight": strength, "seed": seed, "value": value, "floor": 0.0,
             "ceiling": 1.0, "primary": True, "reason": None}
            for (strength, seed), pair in self.runs.items()
            for role, value in zip(("biological", "technical"), pair, strict=True)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def judge(self) -> Decision:
        """The decision on everything trained."""
        return decide(self.table(), view="v", margin=MARGIN, settings=SETTINGS)


def _spaced(count: int) -> tuple[float, ...]:
    return tuple(round_strength(float(value)) for value in np.logspace(np.log10(LOW), np.log10(HIGH), count))


def grids(make: Callable[[], Experiment]) -> Iterator[tuple[int, Decision]]:
    """Plain grids of growing size."""
    for count in GRIDS:
        world = make()
        world.train((0.0, *_spaced(count)), range(SEEDS))
        yield len(world.runs), world.judge()


def randoms(make: Callable[[], Experiment]) -> Iterator[tuple[int, Decision]]:
    """The least grid, then strengths drawn log-uniformly."""
    world = make()
    world.train((0.0, *_spaced(GRIDS[0])), range(SEEDS))
    drawn = np.random.default_rng([world.number, 77]).uniform(np.log10(LOW), np.log10(HIGH), max(RANDOM))
    for before, count in zip((GRIDS[0], *RANDOM[:-1]), RANDOM, strict=True):
        world.train(tuple(round_strength(float(10**x)) for x in drawn[before:count]), range(SEEDS))
        yield len(world.runs), world.judge()


def tpes(make: Callable[[], Experiment]) -> Iterator[tuple[int, Decision]]:
    """The least grid, then rounds of Optuna's proposals on both composites."""
    world = make()
    world.train((0.0, *_spaced(GRIDS[0])), range(SEEDS))
    options = OptunaSearch(rounds=99, strengths_per_round=PER_ROUND, low=LOW, high=HIGH, seed=world.number % 4000)
    count, number = GRIDS[0], 0
    while count < max(TPE):
        number += 1
        wide = world.table().pivot_table(index=["adversarial_weight", "margin"], columns="role", values="value")
        made = propose(
            wide.reset_index(), options=options, margins=(MARGIN,), round_number=number, study_name=str(world.number)
        )
        world.train(tuple(weight for weight, _ in made), range(SEEDS))
        count += PER_ROUND
        if count in TPE:
            yield len(world.runs), world.judge()


def locates(make: Callable[[], Experiment]) -> Iterator[tuple[int, Decision]]:
    """The least grid, then what the decision asks for; yields the least grid and the end."""
    world = make()
    world.train((0.0, *_spaced(GRIDS[0])), range(SEEDS))
    options = NextOptions(strengths=PER_ROUND, width=WIDTH)
    decision, seeds = world.judge(), SEEDS
    for _ in range(ROUNDS):
        points = next_points(decision, options, splits=1)
        if not points.strengths and not points.seeds:
            break
        if points.seeds:
            everywhere = tuple(sorted({strength for strength, _ in world.runs}))
            world.train(everywhere if points.seeds_at is None else points.seeds_at, range(seeds, seeds + points.seeds))
            seeds += points.seeds
        world.train(points.strengths, decision.seeds)
        decision = world.judge()
    yield len(world.runs), decision


ROADS = {"grid": grids, "random": randoms, "tpe": tpes, "locate": locates}


def outcome(decision: Decision) -> tuple[float, float, bool]:
    """log10 of the interval's ends, and whether the posterior decides; ends beyond the range are infinite."""
    estimate = decision.estimate
    location = estimate.location if estimate else None
    if estimate is None or location is None:
        return -np.inf, np.inf, False
    ends = [np.log10(end) if end is not None else np.inf for end in (location.lower, location.upper)]
    return float(ends[0]), float(ends[1]), estimate.fallback is None


def summarise(found: list[tuple[int, tuple[float, float, bool]]], true: float) -> dict[str, float]:
    """Mean trainings, median width, coverage and unsafe share with their Monte Carlo errors."""
    low, high = (np.array([ends[i] for _, ends in found]) for i in (0, 1))
    covered, unsafe = (low <= true + 1e-9) & (true <= high + 1e-9), low > true + 1e-9
    count = len(found)
    return {
        "trainings": float(np.mean([trainings for trainings, _ in found])),
        "width": float(np.median(high - low)),
        "coverage": float(covered.mean()),
        "coverage_se": float(np.sqrt(covered.mean() * (1 - covered.mean()) / count)),
        "unsafe": float(unsafe.mean()),
        "decided": float(np.mean([ends[2] for _, ends in found])),
    }


def trainings_for(width: float, sizes: list[dict[str, float]]) -> float | None:
    """Trainings at which a road's median width reaches `width`, log-log between its sizes; None: at none of them."""
    for before, after in pairwise(sizes):
        if after["width"] <= width < before["width"]:
            share = np.log(before["width"] / width) / np.log(before["width"] / after["width"])
            return float(before["trainings"] * (after["trainings"] / before["trainings"]) ** share)
    return sizes[0]["trainings"] if sizes[0]["width"] <= width else None


def main() -> None:
    """Every shape and road; the table is written after each repetition block, so that a stop loses little."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=SHAPES, help="shapes, by name")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    began = time.process_time()
    shapes: dict[str, Any] = {}
    for place, name in enumerate(given.only):
        curve = stated(DELTA)[name]
        true = truth(curve, DELTA)
        found: dict[str, dict[int, list[tuple[int, tuple[float, float, bool]]]]] = {road: {} for road in ROADS}
        for repetition in range(given.repetitions):
            for road, run in ROADS.items():
                number = 10_000 * (place + 1) + repetition

                def world(curve: Callable[[Array], Array] = curve, number: int = number) -> Experiment:
                    return Experiment(curve, number)

                for size, (trainings, decision) in enumerate(run(world)):
                    found[road].setdefault(size, []).append((trainings, outcome(decision)))
        roads = {road: [summarise(items, true) for _, items in sorted(sizes.items())] for road, sizes in found.items()}
        end = roads["locate"][-1]
        need = {road: trainings_for(end["width"], sizes) for road, sizes in roads.items() if road != "locate"}
        shapes[name] = {"log10_truth": true, "roads": roads, "trainings_for_locates_width": need}
        for road, sizes in roads.items():
            for size in sizes:
                print(f"{name}  {road}: {', '.join(f'{key} {value:.3g}' for key, value in size.items())}", flush=True)
        print(f"{name}  trainings for the same width: {need}; locate {end['trainings']:.3g}", flush=True)
        document = {
            "repetitions": given.repetitions,
            "seeds": SEEDS,
            "sigma": SIGMA,
            "delta": DELTA,
            "range": [LOW, HIGH],
            "cpu_seconds": round(time.process_time() - began, 1),
            "shapes": shapes,
        }
        given.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
