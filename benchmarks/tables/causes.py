"""Screens whose cause is known."""

from __future__ import annotations

from tables.common import digits, load

PLACES = ("0", "advised", "largest")


def table() -> list[str]:
    """Its lines."""
    result = load("causes")
    lines = [
        "**Screens whose cause is known, with real training** (`make benchmark-causes`; simulated, 4 seeds, held-out",
        "perturbations, sham arm). Removal: mean over the screens at λ = 0 / at the advice / at the largest λ; 1 is",
        'chance. "Counts": on how many screens removal is shown to improve by the amount that counts. The same results',
        "are decided twice: by the mean of four detectors, and by the strongest reader alone, the default.",
        "",
        "| case | judged by | removal | counts | state | advised λ | attributed to |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["summary"]:
        removal = " / ".join("–" if row["removal"][at] is None else digits(row["removal"][at]) for at in PLACES)
        states = ", ".join(f"`{state}`" for state in dict.fromkeys(row["states"]))
        advised = ", ".join("none" if weight is None else f"{weight:g}" for weight in row["advised"])
        attributed = ", ".join(dict.fromkeys(str(verdict or "–") for verdict in row["attributed"]))
        lines.append(
            f"| {row['case']} | {row['reading']} | {removal} | {row['removal_counts']} of {row['screens']} | "
            f"{states} | {advised} | {attributed} |"
        )
    cases = [f"- {name}: {case['truth']}." for name, case in result["cases"].items()]
    return [*lines, "", *cases, ""]
