"""The drift report in a terminal, and the request's rule with this table's numbers."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.kept.applying import Applied
from sweeper.kept.drift import KINDS, UnitDrift


def drift_lines(applied: Applied) -> Iterator[str]:
    """Line by line."""
    tested = (
        f"new {applied.axis} was tested by view {applied.view}"
        if applied.view
        else "no new-batch view was measured: nothing was tested on a new batch"
    )
    yield f"tested:   {tested}"
    for unit in applied.units:
        verdict = "OUTSIDE what was tested" if unit.outside else "inside what was tested"
        yield f"{applied.axis} {unit.unit}: {verdict} ({unit.rows} wells, {unit.controls} negative controls)"
        for item in unit.distances:
            held = "nothing to hold it against" if item.limit is None else f"inside up to {item.limit:.2f}"
            farthest = "" if item.farthest is None else f", training up to {item.farthest:.2f} ({item.farthest_unit})"
            mark = "!" if item.outside else " "
            yield f"  {mark} {KINDS[item.kind]:<32}{item.value:8.2f}   {held}{farthest}"
        if unit.features and unit.outside:
            shifts = ", ".join(
                f"{name} ({place:+.1f} location, {scale:+.1f} scale)" for name, place, scale in unit.features
            )
            yield f"    features farthest: {shifts}"
        known = {_key(item.kind) for item in unit.distances if item.outside}
        for reason in unit.outside:
            if reason.split(":")[0] not in known:
                yield f"  ! {reason}"
        for note in unit.notes:
            yield f"    {note}"
        yield f"  {rule_text(applied, unit)}"


def _key(kind: str) -> str:
    return KINDS[kind]


def plural(axis: str) -> str:
    """Of what a unit is."""
    return f"{axis}es" if axis.endswith(("s", "ch", "x")) else f"{axis}s"


def rule_text(applied: Applied, unit: UnitDrift) -> str:
    """If accuracy drops sharply on a new batch, then adversarial representation learning is worth testing."""
    lead = "If accuracy drops sharply on a new batch, then adversarial representation learning is worth testing"
    if unit.accuracy is None:
        return f"{lead}: not measurable here, none of its perturbations is one that the model knows."
    own = f"{unit.accuracy:.2f} on {unit.known} known perturbations (nearest of {applied.classes})"
    drop = applied.sharp_drop(unit)
    if drop is None:
        return f"{lead}: {own}; there is no accuracy on unseen training {plural(applied.axis)} to compare it with."
    known = list(applied.reference.values())
    mean = sum(known) / len(known)
    spread = f"{min(known):.2f} to {max(known):.2f}"
    against = f"against {mean:.2f} on training {plural(applied.axis)} that the encoder had not seen ({spread})"
    if drop:
        return (
            f"{lead}. It drops here, {own} {against}: add this {applied.axis} to the screen and sweep again with the "
            "view held_out_batches."
        )
    return f"{lead}. No sharp drop here: {own} {against}; a drop of {applied.accuracy_drop:g} below all would be one."


__all__ = ["drift_lines", "rule_text"]
