"""What a kept model says of itself for people, and of the decision that it was kept by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.decision import Decision

HELD_OUT = (
    "The numbers that decided are of held-out data, from trainings that had not seen the wells they were scored on. "
    "They are not of this model, which has seen every well named above; nothing here was chosen by looking at it."
)


def decision_facts(decision: Decision | None, strength: tuple[float, float]) -> dict[str, Any] | None:
    """The decision as far as it is about this strength, in plain values."""
    if decision is None:
        return None
    rule, curve = decision.rule, decision.curve
    level = None
    if curve is not None and (curve.margin or 0.0) == strength[1]:
        level = next((each for each in curve.levels if each.weight == strength[0]), None)

    def mean(role: str) -> float | None:
        found = None if level is None else getattr(level, role)
        return None if found is None else float(found.mean)

    return {
        "sentence": decision.sentence,
        "state": str(rule.state),
        "firmness": rule.firmness,
        "certainty": rule.certainty,
        "view": decision.deciding_view,
        "delta": rule.estimate.delta,
        "advised": rule.advice.recommended,
        "margin": rule.margin,
        "safe_up_to": rule.estimate.safe_up_to,
        "unsafe_from": rule.estimate.unsafe_from,
        "technical": mean("technical"),
        "biological": mean("biological"),
    }


def card_text(facts: Mapping[str, Any]) -> str:
    """The card of a model, in Markdown."""
    on, decided, drift = facts["trained_on"], facts["decision"], facts["drift"]
    lines = [
        f"# {facts['sweep']['name']}: {facts['trainer']} at {facts['strength']}",
        "",
        "The advised strength." if facts["advised"] else "Not the advised strength.",
        "",
        f"- trained on {on['what']}: {on['wells']} wells, {on['batches']} batches, {on['plates']} plates, "
        f"{on['perturbations']} perturbations; seeds {', '.join(map(str, facts['seeds']))}",
        f"- reads {len(facts['features'])} features, normalise: {facts['normalise']}; gives {len(facts['columns'])} "
        "columns",
        f"- screen {facts['screen'][:19]}…, sweep {facts['sweep']['sweep_id']}",
    ]
    if decided is None:
        lines += ["", "Nothing was decided when it was kept."]
    else:
        lines += ["", "## What held-out data said", "", decided["sentence"], ""]
        lines += [f"- state {decided['state']}, firmness {decided['firmness']}, certainty {decided['certainty']}"]
        shown = {name: decided[name] for name in ("technical", "biological") if decided[name] is not None}
        lines += [f"- {name} composite at this strength {value:.3f}" for name, value in shown.items()]
        lines += ["", HELD_OUT]
    lines += ["", "## New batches", ""]
    if drift["view"] is None:
        lines.append("The sweep measured no new-batch view: how the encoder does on a batch it never saw is not known.")
    else:
        lines.append(f"The sweep held out {drift['axis']} ({drift['view']}): new ones were tested on that axis alone.")
    known = [value for value in drift["accuracy"].values() if value is not None]
    if known:
        lines.append(
            f"Encoders fitted without one {drift['axis']} name its perturbations (nearest mean of "
            f"{len(drift['classes'])}) with accuracy {min(known):.2f} to {max(known):.2f}."
        )
    return "\n".join([*lines, ""])


__all__ = ["card_text", "decision_facts"]
