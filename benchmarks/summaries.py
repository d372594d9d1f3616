"""A sweep's results in a few rows: each view and margin at λ = 0, at the best λ for biology, and at the largest λ."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sweeper.arms.arm import Arm, in_arms
from sweeper.arms.observed import strength_composites
from sweeper.decision import Decision

SHOWN = ("perturbation_accuracy", "retrieval_map", "batch_probe_linear")
"""Shown as the familiar raw numbers: balanced accuracy, mAP, balanced accuracy of the fresh probe."""


def at_strength(results: pd.DataFrame, *, view: str, weight: float, margin: float) -> dict[str, Any]:
    """Mean and standard deviation over seeds (splits averaged first) of the raw numbers at one strength."""
    at = (results["view"] == view) & (results["adversarial_weight"] == weight) & (results["margin"] == margin)
    rows = results[at & (results["status"] == "ok")]
    found: dict[str, Any] = {"adversarial_weight": weight}
    for metric in SHOWN:
        by_seed = rows[rows["metric"] == metric].groupby("seed")["raw"].mean()
        found[metric] = {"mean": round(float(by_seed.mean()), 3), "sd": round(float(by_seed.std()), 3)}
    return found


ALLOWED_LOSS = 0.05
"""How much retrieval above chance may be lost, against λ = 0, where "most removed" looks for the lowest batch probe."""


def most_removed(rows: list[dict[str, Any]], *, chance: float) -> dict[str, Any]:
    """Of the strengths that keep retrieval, the one with the lowest batch probe; λ = 0 is the first of `rows`."""
    needed = chance + (1 - ALLOWED_LOSS) * (rows[0]["retrieval_map"]["mean"] - chance)
    kept = [row for row in rows if row["retrieval_map"]["mean"] >= needed]
    return min(kept, key=lambda row: (row["batch_probe_linear"]["mean"], row["adversarial_weight"]))


def summarise(results: pd.DataFrame, decision: Decision) -> list[dict[str, Any]]:
    """One row a view and margin: the three strengths, the controls, and the state of that curve."""
    summary = []
    trainer = decision.trainer
    own = results[results["trainer"] == trainer]
    for view, told in decision.views.items():
        composites = strength_composites(results, view=view, trainer=trainer)
        controls = results[(results["view"] == view) & in_arms(results["trainer"], Arm.CONTROL)]
        for curve in told.margins:
            margin = curve.margin or 0.0
            biology = composites[composites["margin"] == margin].set_index("adversarial_weight")["biological"]
            chances = {
                metric: round(float(controls.loc[controls["metric"] == metric, "chance"].mean()), 3) for metric in SHOWN
            }
            every = [at_strength(own, view=view, weight=float(w), margin=margin) for w in sorted(biology.index)]
            summary.append(
                {
                    "view": view,
                    "margin": margin,
                    "state": curve.state,
                    "zero": every[0],
                    "best": at_strength(own, view=view, weight=float(biology.idxmax()), margin=margin),
                    "largest": every[-1],
                    "most_removed": most_removed(every, chance=chances["retrieval_map"]),
                    "chance": chances,
                    "controls": {
                        control: {
                            metric: round(float(rows.loc[rows["metric"] == metric, "raw"].mean()), 3)
                            for metric in SHOWN
                        }
                        for control, rows in controls.groupby("trainer")
                    },
                }
            )
    return summary


def line(row: dict[str, Any]) -> str:
    """One row for the terminal."""
    parts = []
    for name in ("zero", "best", "largest"):
        at = row[name]
        numbers = " ".join(f"{at[metric]['mean']:.3f}" for metric in SHOWN)
        parts.append(f"λ={at['adversarial_weight']:g}: {numbers}")
    return f"{row['view']:<17} m={row['margin']:g} {row['state']:<20} " + " | ".join(parts)
