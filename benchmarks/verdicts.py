"""The verdicts of three screens side by side: JUMP, BBBC021 and the demo, and how readable the batch is.

make verdicts                (after sweeper run configs/jump_source3.yaml, configs/bbbc021.yaml and sweeper demo)

Of the curve that makes the rule: T and the balanced accuracy of the strongest reader without correction, at the
strength advised and at the largest, means over seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

import sweeper
from sweeper.decision import Decision
from sweeper.planning.description import versions

SCREENS = {"JUMP": "jump_source3", "BBBC021, mechanisms": "bbbc021", "demo": "demo"}


def row(folder: Path) -> dict[str, Any]:
    """State, advice and the batch of one stored sweep."""
    stored = sweeper.open_store(folder)
    decision: Decision = stored.decision
    curve, results = decision.curve, pd.read_parquet(folder / "results.parquet")
    assert curve is not None  # noqa: S101 - a finished sweep has one
    own = results[
        (results["trainer"] == curve.trainer)
        & (results["view"] == curve.view)
        & (results["margin"] == curve.margin)
        & (results["metric"] == "batch_reader")
        & (results["status"] == "ok")
    ]
    levels = {level.weight: level for level in curve.levels}
    advised = decision.rule.advice.recommended
    found = {}
    for place, weight in {"zero": 0.0, "advised": advised, "largest": max(levels)}.items():
        if weight is None:
            found[place] = None
            continue
        reader = own[own["adversarial_weight"] == weight]
        technical = levels[weight].technical
        found[place] = {
            "strength": weight,
            "technical": None if technical is None else round(technical.mean, 3),
            "reader": round(float(reader["value"].mean()), 3),
            "accuracy": round(float(reader["raw"].mean()), 3),
            "chance": round(float(reader["chance"].mean()), 3),
        }
    return {
        "margin": curve.margin,
        "strengths": len(levels),
        "seeds": len(stored.config.seeds),
        "steps": stored.config.abra.steps,
        "state": str(decision.rule.state),
        "firmness": decision.rule.firmness,
        "remarks": [] if curve.remarks is None else [str(code) for code in curve.remarks.codes],
        "sentence": decision.sentence,
        **found,
    }


def before_training() -> dict[str, Any]:
    """What is said of BBBC021's compounds from table and splits alone."""
    path = Path(__file__).parent.parent / "configs/bbbc021.yaml"
    config = sweeper.load_config(path, ["biology=perturbation", "folder=runs/bbbc021_compounds"])
    found = sweeper.plan(config).foresight
    return {view: {"outlook": each.outlook, "reason": each.reason} for view, each in found.views.items()}


def main() -> None:
    """Read the finished sweeps and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", default=[Path("runs")], help="folders that hold the sweeps")
    options = parser.parse_args()
    found = {
        title: folder / name
        for title, name in SCREENS.items()
        for folder in options.runs
        if (folder / name / "results.parquet").exists()
    }
    result = {
        "command": "python benchmarks/verdicts.py",
        "versions": versions(),
        "screens": {title: row(folder) for title, folder in found.items()},
        "BBBC021, compounds": before_training(),
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result["screens"], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
