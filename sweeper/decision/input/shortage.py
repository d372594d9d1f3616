"""Why a trade-off curve cannot be judged: too little was run, or too much of it was lost."""

from __future__ import annotations

import numpy as np

from sweeper.decision.input.collapse_screen import Screened
from sweeper.decision.input.curve import Curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.verdict.states import State
from sweeper.decision.words.numbers import counted, were

MIN_RUNS = 2  # usable runs at every strength that takes part


def shortage(curve: Curve, screened: Screened, settings: DecisionSettings) -> tuple[State, str] | None:
    """Why the curve cannot be judged: too little was run, or too much of it was lost."""
    positive = [s for s in curve.strengths if s > 0]
    kept_strengths = [s for s, keep in zip(curve.strengths, screened.kept, strict=True) if keep]
    kept = [s for s in kept_strengths if s > 0]
    lost, recorded = int(screened.lost.sum()), int(screened.recorded.sum())
    if 0.0 not in curve.strengths:
        return State.INSUFFICIENT_DATA, "λ = 0 was not run: there is nothing uncorrected to compare with"
    if len(positive) < settings.min_strengths:
        ran = f"{counted(len(positive), 'strength')} λ > 0 {were(len(positive))} run"
        need = f"{ran} and {settings.min_strengths} are needed: add {settings.min_strengths - len(positive)}"
        return State.INSUFFICIENT_DATA, need
    if not screened.kept[0] or len(kept) < settings.min_strengths:
        dropped = f"at {len(positive) - len(kept)} of {len(positive)} strengths λ > 0"
        where = dropped if screened.kept[0] else "already at λ = 0"
        return State.UNSTABLE, f"training fails {where} ({lost} of {recorded} runs lost): too little is left to judge"
    if len(curve.seeds) < settings.min_seeds:
        return State.INSUFFICIENT_DATA, (
            f"{counted(len(curve.seeds), 'seed')} {were(len(curve.seeds))} run and {settings.min_seeds} are needed"
        )
    usable = screened.usable()
    seeds, left = int(usable.any(axis=0).sum()), usable[screened.kept].sum(axis=1)
    if seeds < settings.min_seeds or left.min() < MIN_RUNS:
        gaps = [
            f"λ = {curve.strengths[level]:.3g} seed {curve.seeds[seed]} ({screened.status[level, seed]})"
            for level, seed in np.argwhere((screened.status != "ok") & screened.kept[:, None])
        ]
        shown = ", ".join(gaps[:4]) + (f" and {len(gaps) - 4} more" if len(gaps) > 4 else "")
        are, fewest = "is" if seeds == 1 else "are", int(left.argmin())
        have = (
            f"{counted(seeds, 'seed')} {are} ok at more than half of the strengths and {settings.min_seeds} are needed"
            if seeds < settings.min_seeds
            else f"λ = {kept_strengths[fewest]:.3g} has {counted(int(left[fewest]), 'usable run')}, {MIN_RUNS} needed"
        )
        return State.INSUFFICIENT_DATA, f"{have}: missing are {shown}"
    degrees = int(left.sum()) - len(left) - seeds + 1
    if degrees < settings.min_degrees_of_freedom:
        need = f"{degrees} residual degrees of freedom, {settings.min_degrees_of_freedom} needed"
        return State.INSUFFICIENT_DATA, f"too few runs to know the noise between seeds ({need}): add seeds or strengths"
    return None
