"""Sweeps of 12 strengths × 5 seeds out of the dense reference, judged as the product judges a sweep.

A sub-sweep has one of the four log-spaced grids of 12 that the 48 strengths hold, λ = 0, and 5 of the reference's seeds
without replacement: their label-shuffled controls and their sham arm come along. Five other methods see the same
composites.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.locator.methods import METHODS
from benchmarks.locator.shapes import Sweep
from benchmarks.tier_c.screens import LEVELS, STRENGTHS, STRIDE, VIEW, Study
from sweeper.arms.arm import Arm, in_arms
from sweeper.decision import DecisionSettings, JudgedCurve, judge_curve
from sweeper.decision.input.results_table import prepare
from sweeper.decision.verdict.mechanism import CLAIMING, explained, sham_curve
from sweeper.decision.verdict.states import State

Rows = list[dict[str, Any]]
SUB_SEEDS, BLOCK = 5, 20
OTHERS = tuple(name for name in METHODS if name != "locator")
OTHERS_UP_TO = 60
"""Repetitions of the five other methods; some of them are slow."""


def drawn(study: Study, repetition: int, seeds: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Strengths (λ = 0 first) and seeds of a sub-sweep; the four grids take turns."""
    rng = np.random.default_rng([zlib.crc32(study.name.encode()), repetition])
    start = repetition % STRIDE
    strengths = (0.0, *(STRENGTHS[place + 1] for place in range(start, LEVELS, STRIDE)))
    return strengths, tuple(sorted(int(seed) for seed in rng.choice(seeds, SUB_SEEDS, replace=False)))


def part_of(table: pd.DataFrame, strengths: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    """The rows of a sub-sweep: its runs, and the controls and the sham arm of its seeds."""
    own = table["adversarial_weight"].isin(list(strengths))
    beside = in_arms(table["trainer"], Arm.CONTROL, Arm.SHAM)
    return table[table["seed"].isin(list(seeds)) & (own | beside)]


def judged(study: Study, table: pd.DataFrame, repetition: int, seeds: int) -> dict[str, Any]:
    """One sub-sweep by both methods of the decision (and the first ones by the other five), at every δ."""
    strengths, chosen = drawn(study, repetition, seeds)
    part = prepare(part_of(table, strengths, chosen))
    found: dict[str, Any] = {"seeds": list(chosen), "start": repetition % STRIDE}
    decision = None
    for method in ("bracket", "posterior"):
        settings = study.config.decision.model_copy(update={"method": method})
        plain = judge_curve(part, view=VIEW, margin=study.case.margin, settings=settings)
        decision = explained(plain, sham_curve(plain, part, settings), settings=settings, design_djs=study.design_djs)
        found[method] = {f"{delta:g}": _told(plain, decision, settings, delta) for delta in settings.all_deltas}
    if repetition < OTHERS_UP_TO and decision is not None and decision.estimate is not None:
        sweep = _composites(decision)
        found["others"] = {
            f"{delta:g}": {name: METHODS[name](sweep, delta, repetition).to_json() for name in OTHERS}
            for delta in study.config.decision.all_deltas
        }
    return found


def _told(plain: JudgedCurve, final: JudgedCurve, settings: DecisionSettings, delta: float) -> dict[str, Any]:
    """What is said at one δ, log10 λ; `claimed`: a loss is called over-correction, before and after the sham arm;
    `undecided`: a state that says nothing of any strength.
    """
    at = next((entry for entry in plain.sensitivity if entry.delta == delta), None)
    if at is None:
        return {"state": str(plain.state), "undecided": True, "claimed": False, "claimed_with_sham": False}
    located = at.location is not None and at.location.p_detect >= settings.p_identify
    lost = located if at.fallback is None else at.unsafe_from is not None
    claimed = lost and at.state in CLAIMING
    damaged = delta == settings.delta and plain.state in CLAIMING and final.state is State.NOT_OVERCORRECTION
    location = at.location
    return {
        "state": str(at.state),
        "state_with_sham": str(State.NOT_OVERCORRECTION if damaged else at.state),
        "claimed": bool(claimed),
        "claimed_with_sham": bool(claimed and not damaged),
        "reported": bool(located and at.fallback is None),
        "not_reached": at.state is State.NOT_REACHED,
        "trusted": at.fallback is None,
        "earliest": at.earliest,
        "lof_p": None if plain.estimate is None else plain.estimate.lof_p,
        "lower": _log(location.lower if location else None),
        "middle": _log(location.median if location else None),
        "upper": _log(location.upper if location else None),
        "p_detect": location.p_detect if location else None,
        "bound": _log(at.safe_up_to),
        "unsafe_from": _log(at.unsafe_from),
        "bracket_safe": _log(at.bracket.safe_up_to),
        "bracket_unsafe": _log(at.bracket.unsafe_from),
        "psi": at.psi,
    }


def _composites(decision: JudgedCurve) -> Sweep:
    """The composites that the decision rests on, for the other methods."""
    runs = pd.DataFrame([vars(run) for run in decision.runs if run.used])
    levels = tuple(level.weight for level in decision.levels if level.kept)
    biology = runs.pivot_table(index="weight", columns="seed", values="biological").reindex(levels)
    technical = runs.groupby("weight")["technical"].mean().reindex(levels)
    return Sweep(levels, biology.to_numpy(), technical.to_numpy())


def _log(strength: float | None) -> float | None:
    return None if strength is None else float(np.log10(strength))


def judge(folder: Path, study: Study, table: pd.DataFrame, *, repetitions: int, seeds: int, until: float) -> Rows:
    """Judge what is missing, block by block, each a file; every repetition there is."""
    found: Rows = []
    for block in range(-(-repetitions // BLOCK)):
        path = folder / f"{study.name}-{study.sweep_id}" / f"judged-{seeds}-{block:03d}.json"
        if not path.exists():
            if time.monotonic() > until:
                break
            rows = [judged(study, table, number, seeds) for number in range(block * BLOCK, (block + 1) * BLOCK)]
            part = path.with_suffix(".part")
            part.write_text(json.dumps(rows), encoding="utf-8")
            part.replace(path)
            print(f"{study.case.title}: {(block + 1) * BLOCK} sub-sweeps judged", flush=True)
        found += json.loads(path.read_text(encoding="utf-8"))
    return found[:repetitions]
