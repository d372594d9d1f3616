"""How many trainings until the over-correction point is known as well: grid, random, Optuna's TPE, or locate?

    make benchmark-locate       (writes benchmarks/locate.json; resumable; --repetitions sets the precision)

Curves with a stated loss (as in locator.py, tier A1), a seed effect and noise that doubles near λ = 10; nothing is
trained: a training is a draw of the two composites at a strength. Every road begins where it has to: λ = 0 and six
strengths are the fewest that can be judged. The same posterior then judges each: width of the 90 % interval of λ_OC,
how often it holds the truth, how often the safe bound lies above it. `locate` is what `search: locate` runs: the
proposals of `sweeper.decision.verdict.next_points` until the interval is narrow enough or the rounds end. TPE is the
sweep's own search, `sweeper.arms.optuna_rounds`, on the technical and the biological composite.
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

from sweeper.arms.optuna_rounds import propose_strengths
from sweeper.config.sections import OptunaSearch, round_strength
from sweeper.decision import DecisionSettings, JudgedCurve
from sweeper.decision.verdict.judge import judge_curve
from sweeper.decision.verdict.next_points import NextOptions, next_points

Array = NDArray[np.float64]
LOW, HIGH, SEEDS, SIGMA, DELTA, MARGIN = 1e-3, 1e2, 3, 0.03, 0.10, 0.3
SHAPES = ("plateau-drop", "slow")
GRIDS = (6, 12, 24, 40, 60)
RANDOM = TPE = (14, 26)
BOOTSTRAPS = 500
ROUNDS, PER_ROUND, WIDTH = 4, 4, 0.3  # the product's own rounds and strengths; a stricter width than its 0.5
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

    def judge(self) -> JudgedCurve:
        """The decision on everything trained."""
        return judge_curve(self.table(), view="v", margin=MARGIN, settings=SETTINGS)


def _spaced(count: int) -> tuple[float, ...]:
    return tuple(round_strength(float(value)) for value in np.logspace(np.log10(LOW), np.log10(HIGH), count))


def grids(make: Callable[[], Experiment]) -> Iterator[tuple[int, JudgedCurve]]:
    """Plain grids of growing size."""
    for count in GRIDS:
        world = make()
        world.train((0.0, *_spaced(count)), range(SEEDS))
        yield len(world.runs), world.judge()


def randoms(make: Callable[[], Experiment]) -> Iterator[tuple[int, JudgedCurve]]:
    """The least grid, then strengths drawn log-uniformly."""
    world = make()
    world.train((0.0, *_spaced(GRIDS[0])), range(SEEDS))
    drawn = np.random.default_rng([world.number, 77]).uniform(np.log10(LOW), np.log10(HIGH), max(RANDOM))
    for before, count in zip((GRIDS[0], *RANDOM[:-1]), RANDOM, strict=True):
        world.train(tuple(round_strength(float(10**x)) for x in drawn[before:count]), range(SEEDS))
        yield len(world.runs), world.judge()


def tpes(make: Callable[[], Experiment]) -> Iterator[tuple[int, JudgedCurve]]:
    """The least grid, then rounds of Optuna's proposals on both composites."""
    world = make()
    world.train((0.0, *_spaced(GRIDS[0])), range(SEEDS))
    options = OptunaSearch(rounds=99, strengths_per_round=PER_ROUND, low=LOW, high=HIGH, seed=world.number % 4000)
    count, number = GRIDS[0], 0
    while count < max(TPE):
        number += 1
        wide = world.table().pivot_table(index=["adversarial_weight", "margin"], columns="role", values="value")
        made = propose_strengths(
            wide.reset_index(), options=options, margins=(MARGIN,), round_number=number, study_name=str(world.number)
        )
        world.train(tuple(weight for weight, _ in made), range(SEEDS))
        count += PER_ROUND
        if count in TPE:
            yield len(world.runs), world.judge()


def locates(make: Callable[[], Experiment]) -> Iterator[tuple[int, JudgedCurve]]:
    """The least grid, then what the decision asks for; yields the least grid and the end."""
    world = make()
    world.train((0.0, *_spaced(GRIDS[0])), range(SEEDS))
    options = NextOptions(strengths=PER_ROUND, width=WIDTH)
    decision, seeds = world.judge(), SEEDS
    for _ in range(ROUNDS):
        points = next_points(decision, options, splits=1)
        if not points.weights and not points.seeds:
            break
        if points.seeds:
            everywhere = tuple(sorted({strength for strength, _ in world.runs}))
            world.train(everywhere if points.seeds_at is None else points.seeds_at, range(seeds, seeds + points.seeds))
            seeds += points.seeds
        world.train(points.weights, decision.seeds)
        decision = world.judge()
    yield len(world.runs), decision


ROADS = {"grid": grids, "random": randoms, "tpe": tpes, "locate": locates}


def outcome(decision: JudgedCurve) -> tuple[float, float, bool]:
    """log10 of the interval's ends, and whether the posterior decides; ends beyond the range are infinite."""
    estimate = decision.estimate
    location = estimate.location if estimate else None
    if estimate is None or location is None:
        return -np.inf, np.inf, False
    ends = [np.log10(end) if end is not None else np.inf for end in (location.lower, location.upper)]
    return float(ends[0]), float(ends[1]), estimate.fallback is None


def summarise(found: list[tuple[int, tuple[float, float, bool]]]) -> dict[str, float]:
    """Mean trainings and median width of one size of a road."""
    widths = [high - low for _, (low, high, _) in found]
    return {"trainings": float(np.mean([trainings for trainings, _ in found])), "width": float(np.median(widths))}


def held(ends: list[tuple[float, float, bool]], true: float) -> dict[str, float]:
    """Coverage with its Monte Carlo error, unsafe share, and how often the posterior decided."""
    covered = float(np.mean([low <= true + 1e-9 and true <= high + 1e-9 for low, high, _ in ends]))
    return {
        "coverage": covered,
        "coverage_se": float(np.sqrt(covered * (1 - covered) / len(ends))),
        "unsafe": float(np.mean([low > true + 1e-9 for low, _, _ in ends])),
        "decided": float(np.mean([decided for _, _, decided in ends])),
    }


def trainings_for(width: float, sizes: list[dict[str, float]]) -> float | None:
    """Trainings at which a road's median width reaches `width`, log-log between its sizes; None: at none of them."""
    for before, after in pairwise(sizes):
        if after["width"] <= width < before["width"]:
            share = np.log(before["width"] / width) / np.log(before["width"] / after["width"])
            return float(before["trainings"] * (after["trainings"] / before["trainings"]) ** share)
    return sizes[0]["trainings"] if sizes[0]["width"] <= width else None


def repetition(shape: str, number: int) -> dict[str, list[tuple[int, tuple[float, float, bool]]]]:
    """One world: what every road found at each of its sizes."""
    curve = stated(DELTA)[shape]
    seed = 10_000 * (SHAPES.index(shape) + 1) + number
    found = {}
    for road, run in ROADS.items():
        sizes = run(lambda: Experiment(curve, seed))
        found[road] = [(trainings, outcome(decision)) for trainings, decision in sizes]
    return found


def compared(shape: str, worlds: list[dict[str, Any]]) -> dict[str, Any]:
    """Every road's sizes over the worlds, and what each needs for the width at which locate ended."""
    roads = {
        road: [summarise(list(found)) for found in zip(*(world[road] for world in worlds), strict=True)]
        for road in ROADS
    }
    true = truth(stated(DELTA)[shape], DELTA)
    for road, sizes in roads.items():
        for place, size in enumerate(sizes):
            size |= held([world[road][place][1] for world in worlds], true)
    end = roads["locate"][-1]
    need = {road: trainings_for(end["width"], sizes) for road, sizes in roads.items() if road != "locate"}
    return {
        "repetitions": len(worlds),
        "log10_truth": true,
        "roads": roads,
        "trainings_for_locates_width": need,
        "share_of_the_grid": None if need["grid"] is None else end["trainings"] / need["grid"],
        "share_of_the_grid_95": share_interval(worlds),
    }


def share_interval(worlds: list[dict[str, Any]]) -> list[float | None]:
    """95 % bootstrap interval, over worlds, of locate's trainings as a share of the grid's; null: beyond the grids."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(BOOTSTRAPS):
        drawn = [worlds[place] for place in rng.integers(len(worlds), size=len(worlds))]
        end = summarise([world["locate"][-1] for world in drawn])
        need = trainings_for(end["width"], [summarise(list(s)) for s in zip(*(w["grid"] for w in drawn), strict=True)])
        shares.append(0.0 if need is None else end["trainings"] / need)  # wider grids than tried: a share below all
    ends = np.quantile(shares, (0.025, 0.975))
    return [float(end) if end > 0 else None for end in ends]


def main() -> None:
    """Run the worlds that are missing, each kept in a file, so that a stop loses nothing; then write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no further world after this long")
    parser.add_argument("--work", type=Path, default=Path("runs/locate"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    given.work.mkdir(parents=True, exist_ok=True)
    for number in range(given.repetitions):
        for shape in SHAPES:
            path = given.work / f"{shape}-{number:04d}.json"
            if not path.exists() and time.monotonic() < until:
                path.write_text(json.dumps(repetition(shape, number)), encoding="utf-8")
    shapes = {}
    for shape in SHAPES:
        paths = sorted(given.work.glob(f"{shape}-*.json"))
        shapes[shape] = compared(shape, [json.loads(path.read_text(encoding="utf-8")) for path in paths])
    document = {"seeds": SEEDS, "sigma": SIGMA, "delta": DELTA, "range": [LOW, HIGH], "shapes": shapes}
    given.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
