"""Error bars of curves without seed noise."""

from __future__ import annotations

from tables.common import load


def table() -> list[str]:
    """Whether what is called safe is safe, for curves without seed noise."""
    result = load("methods_coverage")
    lines = [
        f"**Error bars without seeds** (`make benchmark-methods-coverage`; {result['perturbations']} perturbations,",
        "6 batches × 3 plates, δ = 10 %). Counts of simulated screens: a strength above the truth called safe; a loss",
        "established below the truth, or where there is none of δ; the point located; its 90 % interval covers the",
        "truth; the interval lies above it whole.",
        "",
        "| loss | bounds about | seeds | called safe above truth | loss too early | located | covered | above |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = ("called_safe_above_truth", "loss_established_too_early", "located", "covered", "interval_above_truth")
    for row in result["rows"]:
        counts = [f"{row[key]['count']} of {row[key]['of']}" for key in keys]
        about = row["target"].replace("_", " ")
        lines.append(f"| {row['scenario']} | {about} | {row['seeds']} | " + " | ".join(counts) + " |")
    return [*lines, ""]
