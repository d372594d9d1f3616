"""A comparison of methods in words."""

from __future__ import annotations

from sweeper.decision.methods.comparison import NONE, Comparison, MethodVerdict
from sweeper.decision.methods.simplicity import by_simplicity

PLACES = {
    "inside": "inside the safe range",
    "outside": "outside: it costs biology",
    "unknown": "not shown to be safe, nor to cost biology",
}


def headline(comparison: Comparison) -> str:
    """Which method at which strength, and what that rests on."""
    others = [name for name in by_simplicity(comparison.not_worse) if name not in (comparison.advised, NONE)]
    if comparison.advised is None:
        return f"No method can be named: {comparison.reason}."
    if comparison.advised == NONE:
        if comparison.gains:
            why = "no method that removes more batch keeps as much biology"
        else:
            why = "no method is shown to remove more batch than that, by an amount that counts"
        return f"Do not correct: {why}."
    verdict = comparison.of(comparison.advised)
    lead = f"Take {verdict.method} at {strength_of(verdict, verdict.advised)}"
    if verdict.safe_up_to is not None:
        lead += f", and not above {strength_of(verdict, verdict.safe_up_to)}"
    if not others:
        if any(item.advised for item in comparison.methods if item is not verdict):
            return f"{lead}. Every other method that may be advised is shown to be worse."
        return f"{lead}. No other method has a strength that can be advised."
    listed = " and ".join([", ".join(others[:-1]), others[-1]] if len(others) > 1 else others)
    are = "is" if len(others) == 1 else "are"
    return f"{lead}. It is the simplest of those that are not shown to be worse than the best; so {are} {listed}."


def strength_of(verdict: MethodVerdict, setting: float | None) -> str:
    """A strength on the method's own dial, "1/lamb = 0.3"; "–" where there is none."""
    return "–" if setting is None else f"{verdict.dial} = {setting:.3g}"


def place_text(verdict: MethodVerdict) -> str:
    """Where its published setting lies; "" where it has none."""
    if verdict.place is None or verdict.published is None:
        return ""
    return f"{strength_of(verdict, verdict.published)}: {PLACES[verdict.place]}"


def grounds(comparison: Comparison) -> tuple[str, ...]:
    """How the comparison was made, one sentence each."""
    percent = f"{100 * comparison.confidence:.4g} %"
    found = [
        f"All methods are scored on the same held-out rows ({comparison.view.replace('_', ' ')}).",
        f"Every method's own bounds are one-sided at {100 * comparison.each:.4g} %, so that those of all "
        f"{len(comparison.methods)} methods hold at once at {percent} (Bonferroni).",
    ]
    if comparison.pairs:
        found.append(
            f"A method counts as worse only where that is shown at {percent} over all {comparison.pairs} pairs at once."
        )
    found.append(
        "Error bars hold for new perturbations of the same kind: they are drawn anew, together at every strength and "
        "for every method, and so are the held-out rows."
        if comparison.about_new
        else "Error bars are of held-out rows drawn anew, and hold for the perturbations of this screen."
    )
    if refitted := [item.method for item in comparison.methods if item.refit]:
        found.append(
            f"Fitted on the wells that they correct: {', '.join(refitted)}. A new batch needs a refit together with "
            "this screen, and what is said here is not about it."
        )
    return tuple(found)


__all__ = ["PLACES", "grounds", "headline", "place_text", "strength_of"]
