"""What goes with the rule, in words rendered from the decision alone: mechanism, next points, and the second dial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.decision.verdict.decision import Decision
from sweeper.decision.verdict.margin_choice import Choice
from sweeper.decision.verdict.margin_frontier import Frontier
from sweeper.decision.verdict.next_points import NextPoints
from sweeper.decision.verdict.rule import Rule
from sweeper.decision.words.numbers import counted, probability_text, share_text, strength_text
from sweeper.decision.words.rule_text import ELSEWHERE

STEP = 0.1  # of margin, radians: what its shift is said for
CONFOUNDED = 0.2  # design index above which a loss and label imbalance cannot be separated
ADVICE: Mapping[str | None, str] = {
    "A_design": "the design. Perturbations and batches are unevenly mixed, so a loss may be unavoidable at any λ. "
    "Align within perturbations, weigh the wells, or add a plate that bridges the batches.",
    "B_subspace": "batch and biology share directions. Biology is lost with the real batch labels and not with "
    "permuted ones. Stay below the over-correction point.",
    "C_optimiser": f"damage to the training, which is not over-correction. {ELSEWHERE}",
    "A_or_C": "damage to the training or the design. Biology is lost with permuted batch labels too, and these keep "
    "the design's imbalance, so the two cannot be told apart. Try another critic, and add plates that balance it.",
}


def mechanism_text(rule: Rule) -> str:
    """What explains the loss, with the advice that follows; "" where there is no loss to explain."""
    cause = rule.cause
    if rule.estimate.lambda_peak is None:
        return ""
    label, djs = cause.label, cause.design_djs
    if label == "B_subspace" and (djs or 0.0) > CONFOUNDED:
        label = "A_design"
    known = [] if djs is None else [f"design index {djs:.2g}"]
    if cause.sham_drawdown is not None:
        known.append(f"the sham arm loses {share_text(max(cause.sham_drawdown, 0.0))}")
    detail = f" ({'; '.join(known)})" if known else ""
    if label is not None:
        return f"Cause: {ADVICE[label].removesuffix('.')}{detail}."
    if rule.estimate.unsafe_from is None:
        return ""
    return f"Cause unknown: without a sham arm (permuted batch labels) damage to the training looks the same{detail}."


def confirmation_text(decision: Decision) -> str:
    """What fresh seeds say of the deciding curve's bounds; "" where there were none."""
    curve = decision.curve
    if curve is None or curve.confirmation is None:
        return ""
    found = curve.confirmation
    if found.agrees is None:
        return "Fresh seeds were trained, but say nothing of the bounds: there is none, or too few runs are usable."
    roles = {"safe": "called safe", "loss": "called unsafe"}
    points = [
        f"at {strength_text(point.weight)}, {roles[point.role]}, a loss of {share_text(curve.delta)} is "
        f"{probability_text(point.probability)} ({counted(point.seeds, 'seed')})"
        for point in found.points
    ]
    verdict = "confirm" if found.agrees else "do not confirm"
    screened = decision.rule.design.target == "new_perturbations"
    whom = ", for the perturbations of this screen" if screened else ""
    return f"Fresh seeds {verdict} the bounds{whom}: {'; '.join(points)}."


def next_text(proposal: NextPoints) -> str:
    """What to train next and what it costs; "" where nothing is proposed."""
    parts = []
    if proposal.weights:
        parts.append(f"Train λ = {_listed(proposal.weights)} with the same seeds")
    if proposal.seeds:
        where = "every strength" if proposal.seeds_at is None else f"λ = {_listed(proposal.seeds_at)}"
        parts.append(f"{'add' if parts else 'Add'} {counted(proposal.seeds, 'seed')} at {where}")
    if not parts:
        return ""
    cost = counted(proposal.cells, "cell")
    if proposal.seconds is not None:
        cost += f", about {_duration(proposal.seconds)} of one worker"
    return f"{' and '.join(parts)}: {cost}."


def _listed(weights: Sequence[float]) -> str:
    *first, last = (f"{weight:.3g}" for weight in weights)
    return f"{', '.join(first)} and {last}" if first else last


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{seconds / 3600:.1f} h"


def frontier_text(frontier: Frontier, confidence: float) -> str:
    """How the point moves with the margin."""
    if len(frontier.points) < 2:
        return ""
    shift = frontier.shift
    if shift.status == "estimated":
        found = (shift.slope, shift.lower, shift.upper)
        times, lower, upper = (f"{10 ** (STEP * (value or 0.0)):.3g}" for value in found)
        return (
            f"Each further {STEP:g} of margin multiplies the over-correction point by {times} "
            f"({share_text(2 * confidence - 1)} interval {lower} to {upper}; that larger "
            f"margins have it at a larger λ is {probability_text(shift.p_later)}).{_apart(frontier)}"
        )
    if shift.status == "bracket":
        unknown = "How the over-correction point moves with the margin is unknown: it is bounded, not located."
        return f"{unknown}{_apart(frontier)}"
    why = "; ".join(f"margin {margin:.3g}: {reason}" for margin, reason in shift.left_out)
    short = "How the over-correction point moves with the margin is unknown: fewer than two margins locate it"
    return f"{short} ({why}).{_apart(frontier)}"


def _apart(frontier: Frontier) -> str:
    """The pairs of margins whose intervals put the point in order."""
    words = {"later": "larger", "earlier": "smaller"}
    ordered = [
        f"at a {words[pair.order]} λ at margin {pair.larger:.3g} than at {pair.smaller:.3g}"
        for pair in frontier.pairs
        if pair.order in words
    ]
    if not ordered:
        return " The margins cannot be told apart: their intervals overlap."
    return f" It lies {'; '.join(ordered)} (the intervals do not overlap)."


def choice_text(choice: Choice) -> str:
    """Why the margin is the chosen one; "" where only one was swept."""
    margin, metric = choice.margin or 0.0, choice.metric.replace("_", " ")
    own = next((item for item in choice.compared if item.margin == choice.margin), None)
    match choice.by:
        case "only":
            return ""
        case "advice":
            why = "the strength advised among the safe ranges of all margins is one of its"
        case "rule":
            why = "its rule is the firmest"
        case "accuracy" if own is not None and own.p_holm is not None:
            why = (
                f"where batch removal begins to work {metric} is {own.difference or 0.0:+.2g} against margin "
                f"{choice.compared[0].margin:.3g} (paired over {counted(own.seeds, 'seed')}, Holm p = "
                f"{own.p_holm:.2g})"
            )
        case "accuracy":
            why = f"where batch removal begins to work {metric} is lower at the others"
        case "biology":
            why = "it keeps most biology where batch removal begins to work"
        case "state":
            why = "no margin has a strength to use, and its result says most"
        case _:
            why = "nothing tells it from the others, and it is the smallest"
    return f"Margin {margin:.3g} was chosen: {why}."
