"""Three screens side by side."""

from __future__ import annotations

from tables.common import digits, load


def table() -> list[str]:
    """Its lines."""
    result = load("verdicts")
    lines = [
        "**Three screens side by side** (held-out plates; `make verdicts`). Each entry: T as it decided when they were",
        "run / how far the strongest reader is from reading the batch (1: chance), and the balanced accuracy it reads",
        "it with.",
        "",
        "| screen | state | λ = 0 | at the advice | at the largest λ |",
        "|---|---|---|---|---|",
    ]
    for title, row in result["screens"].items():
        entries = []
        for place in ("zero", "advised", "largest"):
            at = row[place]
            if at is None:
                entries.append("no advice")
                continue
            removed = f"{digits(at['technical'])} / {digits(at['reader'])}" if at["technical"] is not None else "–"
            where = "" if place == "zero" else f"λ = {at['strength']:.3g}: "
            entries.append(f"{where}{removed}, read at {digits(at['accuracy'])}")
        size = f"{row['strengths']} λ × {row['seeds']} seeds, {row['steps']} steps"
        lines.append(f"| {title} ({size}) | `{row['state']}` | {' | '.join(entries)} |")
    (compounds,) = result["BBBC021, compounds"].values()
    lines.append(f"| BBBC021, compounds | {compounds['outlook']}: `run` stops before training | – | – | – |")
    quoted = [f"> {title}: {row['sentence']}\n>" for title, row in result["screens"].items()]
    return [*lines, "", *"\n".join(quoted).removesuffix("\n>").splitlines(), ""]
