"""Which adversary."""

from __future__ import annotations

from tables.common import VIEWS, load, scores


def table() -> list[str]:
    """Its lines."""
    result = load("adversaries")
    lines = [
        "**Which adversary** (JUMP-CP source_3, margin 0.3, 5 seeds; `make benchmark-adversaries`). Each entry:",
        "held-out accuracy / retrieval mAP / balanced accuracy of a fresh linear batch probe, at λ = 0, at",
        "the λ that is best for biology, and at the λ with the lowest batch probe of those that keep 95 % of the",
        "retrieval above chance.",
        "",
        "| view | input | adversary | λ = 0 | best λ for biology | lowest batch probe that keeps retrieval |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(result["rows"], key=lambda r: (r["view"] != "held_out_plates", r["input"] != "none")):
        best, most = row["best"], row["most_removed"]
        lines.append(
            f"| {VIEWS[row['view']]} | {row['input']} | {row['adversary']} | {scores(row['zero'])} | "
            f"λ = {best['adversarial_weight']:g}: {scores(best)} | λ = {most['adversarial_weight']:g}: {scores(most)} |"
        )
    return [*lines, ""]
