"""Optuna as a proposer of strengths: the study lives in the driver and is rebuilt from finished cells every round."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from sweeper.arms.proposal import Strength
from sweeper.config.sections import OptunaSearch, round_strength

SAMPLER = "optuna.samplers.TPESampler"


def propose_strengths(
    composites: pd.DataFrame,
    *,
    options: OptunaSearch,
    margins: Sequence[float],
    round_number: int,
    study_name: str,
    log: bool = True,
) -> list[Strength]:
    """Propose strengths that are not in `composites` yet.

    A pure function of its arguments: the study is filled with the known strengths as finished trials (a strength whose
    cells all failed or collapsed is told as FAIL: a NaN objective would leave its trial running for ever), then asked.

    Args:
        composites: as `strength_composites` returns them.
        options: bounds, count and seed.
        margins: margins that may be proposed.
        log: whether the strength is drawn evenly in decades, else evenly.
        round_number: from 1; with the seed it seeds the sampler.
        study_name: the sweep's id: Optuna's default name would merge separate sweeps.

    Returns:
        At most `options.strengths_per_round` new (adversarial_weight, margin), in the order proposed.
    """
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "adversarial_weight": FloatDistribution(options.low, options.high, log=log),
        "margin": CategoricalDistribution(tuple(margins)),
    }
    # Every argument is pinned but those Optuna 5 deprecates (their defaults are fixed by the locked version).
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=options.startup_trials,
        n_ei_candidates=24,
        seed=options.seed * 1_000_003 + round_number,
        multivariate=True,
        group=False,
        constant_liar=True,
    )
    study = optuna.create_study(study_name=study_name, directions=["maximize", "maximize"], sampler=sampler)
    known: set[Strength] = set()
    columns = ("adversarial_weight", "margin", "technical", "biological")
    for weight, margin, technical, biological in zip(*(composites[c].tolist() for c in columns), strict=True):
        known.add((round_strength(weight), round_strength(margin)))
        if not options.low <= weight <= options.high or margin not in margins:
            continue  # λ = 0 and strengths outside the search's box are known, but not in its space
        measured = math.isfinite(technical) and math.isfinite(biological)
        study.add_trial(
            create_trial(
                params={"adversarial_weight": weight, "margin": margin},
                distributions=space,
                values=[technical, biological] if measured else None,
                state=TrialState.COMPLETE if measured else TrialState.FAIL,
            )
        )
    proposed: list[Strength] = []
    for _ in range(20 * options.strengths_per_round):
        if len(proposed) == options.strengths_per_round:
            break
        trial = study.ask(space)
        strength = (round_strength(trial.params["adversarial_weight"]), float(trial.params["margin"]))
        if strength in known:
            study.tell(trial, state=TrialState.FAIL)
            continue
        known.add(strength)
        proposed.append(strength)
    return proposed
