"""The real table before and after the tool has followed its own next points, and tried its bounds on fresh seeds.

    make jump-followed      (writes benchmarks/jump_followed.json; a stopped run goes on)

Before: the grid of configs/jump_source3.yaml in the deciding view alone, with its sham arm. After: the same grid, then
`search: locate` until the point is settled, the sham arm at the strengths that then matter, and `confirm: {seeds: 3}`.
The declared method decides; what the posterior would have said of the same runs stands beside it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import sweeper
from sweeper import SweepConfig, load_config
from sweeper.arms.arm import Arm, in_arms
from sweeper.arms.arm_rounds import TITLES
from sweeper.decision import Decision, decide_sweep
from sweeper.decision.verdict.json_codec import plain
from sweeper.decision.verdict.next_points import NextPoints
from sweeper.decision.words.advice import confirmation_text, mechanism_text, next_text
from sweeper.findings.stored import (
    decision_provenance,
    planned_rounds,
    results_table,
    stored_config,
    stored_decision,
)
from sweeper.planning.estimate import finished_seconds
from sweeper.planning.prepared import grid_cells, prepare
from sweeper.store.store import Store

CONFIG = Path(__file__).parent.parent / "configs/jump_source3.yaml"
SHARED = ("views=[{view: held_out_plates, fraction: 0.33}]", "tracking.enabled=false")
FOLLOW = ("search=locate", "confirm.seeds=3")
DERIVED = {"proposals", "packs", "checkpoints", "results.parquet", "units.parquet", "decision.json", "report.html"}


def main() -> None:
    """The grid, then its next points; whatever is finished is taken over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="overrides", metavar="KEY=VALUE", action="append", default=[], help="to try it")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/jump_source3"), help="of both sweeps, their beginning"
    )
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    shared = [*SHARED, *given.overrides]
    before, after = (given.folder.with_name(f"{given.folder.name}_{part}") for part in ("plates", "followed"))
    grid = prepare(load_config(CONFIG, [*shared, f"folder={before}"]))
    sweeper.run(grid.config, progress=True)
    cells = grid_cells(grid.config, sweep_id=grid.sweep_id, folds=grid.folds)
    if not after.exists():
        take_over(grid.store, after, keep={cell.cell_id for cell in cells})
    followed = sweeper.run(load_config(CONFIG, [*shared, *FOLLOW, f"folder={after}"]), progress=True)
    result = {
        "command": "python benchmarks/jump_followed.py",
        "options": followed.config.locate.model_dump(mode="json"),
        "before": told(grid.store),
        "after": told(followed.store),
        "rounds": rounds(followed.store),
    }
    given.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(result["before"]["sentence"], result["after"]["sentence"], given.json, sep="\n\n")


def take_over(source: Store, target: Path, *, keep: set[str]) -> None:
    """Copy the grid of a finished sweep without its rounds; named by content, its cells are this sweep's too."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        if Path(folder) == source.cells_folder:
            return {name for name in names if name not in keep}
        if Path(folder) == source.folder:
            return {name for name in names if name in DERIVED or name.startswith(("mlflow", "mlartifacts", "."))}
        return set()

    shutil.copytree(source.folder, target, ignore=left_out)


def told(store: Store) -> dict[str, Any]:
    """The deciding curve as it is declared, by the posterior, and what would be trained next."""
    config = stored_config(store)
    decision = stored_decision(store)
    if decision is None:
        raise SystemExit(f"{store.folder}: nothing is decided yet")
    cost = finished_seconds(store)
    points = _next_points(store, config)
    points = replace(points, seconds=None if cost is None else round(points.cells * cost[0], 1))
    return {
        "sentence": decision.sentence,
        "declared": curve_of(decision),
        "posterior": curve_of(_by_posterior(store, config)),
        "mechanism": mechanism_text(decision.rule),
        "confirmation": confirmation_text(decision),
        "next_points": {**plain(points), "text": next_text(points)},
        "seconds_a_cell": None if cost is None else round(cost[0], 3),
    }


def curve_of(decision: Decision) -> dict[str, Any]:
    """State, bounds and mechanism of the deciding view's chosen margin."""
    curve = decision.curve
    if curve is None:
        raise SystemExit(f"{decision.deciding_view}: no curve could be read")
    estimate, mechanism = plain(curve.estimate), plain(curve.mechanism)
    return {
        "margin": curve.margin,
        "method": decision.settings.method,
        "state": curve.state,
        "reasons": curve.reasons,
        "strengths": sum(level.kept for level in curve.levels),
        "seeds": len(curve.seeds),
        "runs": sum(run.used for run in curve.runs),
        **{key: estimate[key] if estimate else None for key in ("safe_up_to", "unsafe_from", "interval", "fallback")},
        **{key: estimate[key] if estimate else None for key in ("sigma", "psi", "detectable_drop", "recommended")},
        "mechanism": mechanism and {key: mechanism[key] for key in ("verdict", "loss_at", "probability", "points")},
        "confirmation": plain(curve.confirmation),
        "certainty": decision.rule.certainty,
    }


def _by_posterior(store: Store, config: SweepConfig) -> Decision:
    return decide_sweep(
        results_table(store),
        settings=config.decision.model_copy(update={"method": "posterior"}),
        declared=config.decision,
        provenance=decision_provenance(store.description(), store.proposals()),
        next_options=config.next_options,
    )


def _next_points(store: Store, config: SweepConfig) -> NextPoints:
    """What is proposed before the sham arm is looked at, as the sweep's own rounds are."""
    results = results_table(store)
    return decide_sweep(
        results[~in_arms(results["trainer"], Arm.SHAM)],
        settings=config.decision,
        provenance=decision_provenance(store.description(), store.proposals()),
        next_options=config.next_options,
    ).next_points


def rounds(store: Store) -> list[dict[str, Any]]:
    """What followed the grid, and the worker seconds it took."""
    made = []
    for proposal, cells in planned_rounds(store):
        spent = [sum(store.record(cell.cell_id)["seconds"].values()) for cell in cells]
        made.append(
            {
                "what": TITLES[proposal.kind],
                "why": proposal.why,
                "strengths": [weight for weight, _ in proposal.strengths],
                "seeds": sorted({cell.seed for cell in cells}),
                "cells": len(cells),
                "worker_seconds": round(sum(spent), 1),
            }
        )
    return made


if __name__ == "__main__":
    main()
