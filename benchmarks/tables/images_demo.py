"""The image demo."""

from __future__ import annotations

from tables.common import digits, load


def table() -> list[str]:
    """Its lines."""
    result = load("images_demo")
    first = result["runs"]["confounded"]
    lines = [
        "**The image demo** (`sweeper demo --images`; `make benchmark-images-demo`). Each entry: biology B / raw",
        f"accuracy of a fresh batch probe (chance {digits(first['chance_of_the_probe'])}), margin 0, in the view that",
        "decides. Loss: share of the best B. Time: processor seconds of the whole run where it was not interrupted.",
        "",
        "| simulated design, encoder | λ = 0 | λ = 3 | λ = 300 | loss at λ = 3 · 300 | state | cells | time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, run in result["runs"].items():
        at = {row["adversarial_weight"]: row for row in run["strengths"]}
        shown = [at[0.0], at[3.0], at[300.0]]
        entries = [f"{digits(row['biology'])} / {digits(row['batch_probe_linear']['mean'])}" for row in shown]
        design, _, road = name.partition(", ")
        cells = ", ".join(f"{count} {status}" for status, count in run["cells"].items())
        used = run.get("processor_seconds")
        time = "–" if used is None else f"{used:.0f} s"
        lines.append(
            f"| {design}, {road or 'frozen'} | {' | '.join(entries)} | "
            f"{shown[1]['loss']:.0%} · {shown[2]['loss']:.0%} | `{run['state']}` | {cells} | {time} |"
        )
    return [*lines, ""]
