"""The real table before and after following the tool's next points."""

from __future__ import annotations

from typing import Any

from tables.common import STUDIES, bound, load


def table() -> list[str]:
    """Its lines."""
    if not (STUDIES / "jump_followed.json").exists():
        return []  # not run yet
    result = load("jump_followed")
    sides = result["before"], result["after"]

    def row(title: str, entries: list[str]) -> str:
        return f"| {title} | {' | '.join(entries)} |"

    def bounds(curve: dict[str, Any]) -> str:
        return f"{bound(curve['safe_up_to'])} · {bound(curve['unsafe_from'])}"

    def posterior(curve: dict[str, Any]) -> str:
        at = curve["interval"]
        told = f"`{curve['state']}`"
        if at is not None and at["median"] is not None:
            told += f" {at['median']:.3g} ({bound(at['lower'])} to {bound(at['upper'])})"
        return told + (f", falls back: {curve['fallback'].replace('_', ' ')}" if curve["fallback"] else "")

    def mechanism(curve: dict[str, Any]) -> str:
        found = curve["mechanism"]
        if found is None or found["loss_at"] is None:
            return "–" if found is None else str(found["verdict"]).replace("_", " ")
        at = next(point for point in found["points"] if point["strength"] == found["loss_at"])
        lost = "" if at["drawdown"] is None else f", sham loses {at['drawdown']:.1%} at λ = {at['strength']:.3g}"
        return f"{found['verdict'].replace('_', ' ')}{lost}"

    declared = [side["declared"] for side in sides]
    lines = [
        "**The same table before and after following the tool's next points** (margin "
        f"{declared[0]['margin']:g}, correct this screen; `make jump-followed`).",
        "",
        "| | grid sweep | after its next points |",
        "|---|---|---|",
        row("strengths × seeds, trainings", [f"{c['strengths']} × {c['seeds']}, {c['runs']}" for c in declared]),
        row("state", [f"`{c['state']}`" for c in declared]),
        row("safe up to · unsafe from λ", [bounds(c) for c in declared]),
        row("by the posterior (not what decides)", [posterior(side["posterior"]) for side in sides]),
        row("mechanism", [mechanism(c) for c in declared]),
        row("fresh seeds", ["–" if not side["confirmation"] else side["confirmation"] for side in sides]),
        row("next points, with what they cost by estimate", [side["next_points"]["text"] or "none" for side in sides]),
        "",
    ]
    for number, made in enumerate(result["rounds"], start=1):
        strengths = ", ".join(f"{strength:.3g}" for strength in made["strengths"])
        why = f" ({made['why']})" if made["why"] else ""
        lines.append(
            f"{number}. {made['what']}{why}: λ = {strengths}, "
            f"{len(made['seeds'])} seeds, {made['cells']} cells, {made['worker_seconds']:.0f} s of one worker."
        )
    return [*lines, ""]
