"""The simulated screens of tier C, what trains on them, and which way each must come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweeper.config.sections import round_strength
from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.planning.cells import content_hash, make_cells, sweep_identity
from sweeper.planning.design_index import design_index
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.prepared import load_screen
from trainers.screens.table import Screen

VIEW = "held_out_plates"
LEVELS, SEEDS = 48, 30
LOW, HIGH = 1.0, 1000.0
STRIDE = 4
"""A sub-sweep has every fourth strength: 12, log-spaced, from one of four starts."""
SHAM_PLACES = tuple(range(15, LEVELS, 8))
"""Of the dense strengths, those that are trained with permuted batch labels, too (beside λ = 0)."""
STRENGTHS = (0.0, *(round_strength(float(value)) for value in np.geomspace(LOW, HIGH, LEVELS)))
METRICS = ("batch_probe_linear", "cilisi", "activity_map", "retrieval_map", "perturbation_accuracy")

SIMULATION: Mapping[str, Any] = {
    "batches": 6,
    "plates_per_batch": 2,
    "wells_per_plate": 96,
    "features": 60,
    "perturbations": 30,
    "targets": 8,
    "controls_per_plate": 12,
    "latent": 4,
    "phenotype": 1.6,
    "inactive": 0.0,
    "batch_shift": 0.8,
    "seed": 0,
}
ENCODER: Mapping[str, Any] = {"steps": 100, "hidden_widths": [], "embedding_dim": 24, "groups": 6}
"""Linear, as in the demo: an encoder with hidden layers could tell the batches apart and shift each one back."""


@dataclass(frozen=True)
class Case:
    """A screen and a trainer.

    Attributes:
        title: for the table.
        overcorrects: whether a loss that is found may be called over-correction.
        simulate, abra: what differs from `SIMULATION` and `ENCODER`.
        margin: angular margin of the one curve.
    """

    title: str
    overcorrects: bool
    simulate: Mapping[str, Any] = field(default_factory=dict)
    abra: Mapping[str, Any] = field(default_factory=dict)
    margin: float = 0.0


CASES: Mapping[str, Case] = {
    "none": Case("no overlap", False, {"overlap": 0.0}),
    "moderate": Case("overlap 0.75", True, {"overlap": 0.75}),
    "strong": Case("overlap 0.95", True, {"overlap": 0.95}),
    "confounded": Case("no overlap, unbalanced design (0.7)", True, {"overlap": 0.0, "imbalance": 0.7}),
    "reversal": Case(
        "overlap 0.95, MLP critic by gradient reversal, margin 0.3",
        False,
        {"overlap": 0.95},
        {"critic": "mlp", "critic_steps": 0},
        0.3,
    ),
}
"""Known direction: without overlap, in a balanced design, nothing of biology lies where the batches differ. Gradient
reversal without inner steps loses the batch's removal together with biology: damage to the training."""


@dataclass(frozen=True, eq=False)
class Study:
    """A case, ready to be trained."""

    name: str
    case: Case
    config: SweepConfig
    screen: Screen
    sweep_id: str
    design_djs: float
    """Label × batch imbalance of the first seed's training wells."""


def study(name: str) -> Study:
    """Configuration and screen of a case; equal names give equal ones."""
    case = CASES[name]
    config = build_config(
        {
            "name": f"tier-c-{name}",
            "simulate": {**SIMULATION, **case.simulate},
            "views": [{"view": VIEW, "fraction": 0.5}],
            "held_out_perturbations": 0.25,
            "abra": {**ENCODER, **case.abra},
            "strengths": {"adversarial_weight": list(STRENGTHS), "margin": [case.margin]},
            "seeds": SEEDS,
            "metrics": list(METRICS),
            "panel": {"units": []},
            "decision": {"deciding_view": VIEW, "deltas": [0.05, 0.10], "draws": 4000, "curves": 1000},
        },
        f"tier C, {name}",
    )
    screen = load_screen(config)
    sweep_id = content_hash(sweep_identity(config, screen.fingerprint))
    first = make_cells(sweep_id, config.trainer, [(0.0, case.margin)], (0,), {VIEW: 1})[0]
    trained = screen.wells.iloc[DrawnSplits(config, screen.wells).of(first).train]
    return Study(name, case, config, screen, sweep_id, design_index(trained).d_js)
