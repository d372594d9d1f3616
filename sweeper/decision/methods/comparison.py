"""`compare_methods`: every method on its own dial, all of them on one field, and the one that is advised.

Each method keeps the decision of its own sweep: its safe range, its advice. Those are made at levels that are divided
by the number of methods, so that all of them hold at once at the level that was asked for. Beside them stands the field
(`entries`): no correction, and every method where it is advised and where its authors publish it. Who is worse is
judged over all pairs of the field at once.

The method that is advised is one of those that are advised on their own dial, or no correction:

1. *Some candidate is shown to remove more batch than no correction, by more than ε_T*: kept are those whose T is not
   shown to be worse than the best candidate's by more than ε_T. *None is*: kept are all, no correction among them.
2. Of those kept, those whose B is not shown to be worse than the best B among them.
3. Of those, the simplest (`simplicity`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import InvalidTableError
from sweeper.decision.methods.entries import Entry, Field, make_field
from sweeper.decision.methods.simplicity import by_simplicity
from sweeper.decision.verdict.decision import Decision
from sweeper.decision.verdict.json_codec import plain, read
from sweeper.decision.verdict.states import State
from sweeper.decision.verdict.values import LevelMean
from trainers.errors import InputError
from trainers.trainer import Dial

SCHEMA = "methods-comparison/1"
NONE = "no correction"
Place = Literal["inside", "outside", "unknown"]


@dataclass(frozen=True)
class Standing:
    """A method at one of its strengths, on the anchors of the field; None where it has no runs there."""

    strength: float
    technical: LevelMean | None
    biological: LevelMean | None


@dataclass(frozen=True)
class MethodVerdict:
    """One method on its own dial.

    Attributes:
        second: setting of its second dial; None where it has one dial, or nothing could be judged.
        state: of its sweep's decision, and `sentence` that in words.
        safe_up_to: largest strength shown to be safe; None: none above 0.
        unsafe_from: smallest strength shown to cost δ or more; None: none.
        advised: strength; 0: do not correct; None: none is advised.
        published: its authors' setting; None where they publish none.
        place: where `published` lies: inside the safe range, outside (at or above `unsafe_from`), or unknown.
        at_advised, at_published: T and B there.
        refit: a new batch needs a refit together with the screen.
    """

    method: str
    dial: str
    second: float | None
    state: State
    sentence: str
    safe_up_to: float | None
    unsafe_from: float | None
    advised: float | None
    published: float | None
    place: Place | None
    at_advised: Standing | None
    at_published: Standing | None
    refit: bool


@dataclass(frozen=True)
class Comparison:
    """All methods.

    Attributes:
        confidence: one-sided, of all that is said at once; `each` is that of each method's own bounds.
        delta: loss of biology that counts.
        view: that decides.
        about_new: the bounds are about new perturbations of the same kind.
        methods: the simplest first.
        uncorrected: T and B without correction, the simplest method's embedding at 0.
        not_worse: names of candidates, `NONE` among them, that are not shown to be worse than the best.
        advised: name of the candidate that is advised; None where the field could not be made.
        strength: of it on its own dial; 0 for `NONE`.
        gains: a candidate is shown to remove more batch than no correction.
        pairs: how many pairs of the field were compared at once.
        reason: why there is no field; "" where there is.
    """

    schema: str
    name: str
    confidence: float
    each: float
    delta: float
    view: str
    about_new: bool
    methods: tuple[MethodVerdict, ...]
    uncorrected: Standing | None
    not_worse: tuple[str, ...]
    advised: str | None
    strength: float | None
    gains: bool
    pairs: int
    reason: str

    def of(self, method: str) -> MethodVerdict:
        """One method's verdict."""
        return next(item for item in self.methods if item.method == method)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(plain(self))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Comparison:
        """Inverse of `to_json`; raises `InputError` for another schema, key or value."""
        if document.get("schema") != SCHEMA:
            raise InputError(f"comparison: schema is {document.get('schema')!r}, expected {SCHEMA!r}")
        found: Comparison = read(cls, document, "comparison")
        return found


def compare_methods(
    decisions: Mapping[str, Decision],
    results: Mapping[str, pd.DataFrame],
    units: Mapping[str, pd.DataFrame] | None,
    *,
    name: str,
    dials: Mapping[str, Sequence[Dial]],
    refit: Mapping[str, bool],
    settings: DecisionSettings,
    confidence: float,
) -> Comparison:
    """The comparison, from each method's decision and records.

    Args:
        decisions, results: by method; `units` too, or None where perturbations are not drawn anew.
        dials: of each method; refit: whether a new batch needs one.
        settings: of the sweeps, which agree but for nothing; their confidence is that of each method.
        confidence: one-sided, of all that is said at once.
    """
    methods = by_simplicity(decisions)
    baseline = Entry(methods[0], 0.0, _margin(decisions[methods[0]]))
    advised = {method: entry for method in methods if (entry := _advised(method, decisions[method])) is not None}
    published = {
        method: Entry(method, dials[method][0].published or 0.0, _margin(decisions[method]))
        for method in methods
        if dials[method][0].published is not None
    }
    wanted = list(dict.fromkeys([baseline, *advised.values(), *published.values()]))
    field, reason = None, ""
    together = settings.model_copy(update={"confidence": confidence})
    fresh = sorted({seed for decision in decisions.values() for seed in decision.fresh_seeds})
    try:
        field = make_field(wanted, results, units, view=settings.deciding_view, settings=together, fresh_seeds=fresh)
    except InvalidTableError as refused:
        reason = str(refused)
    if not advised:
        states = ", ".join(sorted({str(decisions[method].rule.state).replace("_", " ") for method in methods}))
        reason = reason or f"none of them could be judged on its own dial ({states})"
    found = None if field is None or not advised else _choose(field, baseline, advised, settings.epsilon_technical)
    return Comparison(
        schema=SCHEMA,
        name=name,
        confidence=confidence,
        each=settings.confidence,
        delta=settings.delta,
        view=settings.deciding_view,
        about_new=field.about_new if field else False,
        methods=tuple(
            _verdict(
                method,
                decisions[method],
                dials[method][0],
                field,
                advised.get(method),
                published.get(method),
                refit=refit[method],
                dual=len(dials[method]) > 1,
            )
            for method in methods
        ),
        uncorrected=_standing(field, baseline),
        not_worse=found.not_worse if found else (),
        advised=found.name if found else None,
        strength=found.strength if found else None,
        gains=found.gains if found else False,
        pairs=len(field.entries) * (len(field.entries) - 1) // 2 if field else 0,
        reason=reason,
    )


@dataclass(frozen=True)
class _Choice:
    name: str
    strength: float
    not_worse: tuple[str, ...]
    gains: bool


def _choose(field: Field, baseline: Entry, advised: Mapping[str, Entry], epsilon_technical: float) -> _Choice:
    """The candidate that is advised, and those that are not shown to be worse than the best."""
    names = {NONE: baseline} | {name: entry for name, entry in advised.items() if entry.weight > 0}
    candidates = {name: field.entries.index(entry) for name, entry in names.items() if entry in field.entries}
    at = np.array(list(candidates.values()))
    more = field.compared["technical"].least()
    better = field.compared["biological"].least()
    gains = bool((more[at, field.entries.index(baseline)] > epsilon_technical).any())
    kept = [one for one in at if not gains or not (more[at, one] > epsilon_technical).any()]
    kept = [one for one in kept if not (better[kept, one] > 0).any()]
    left = [name for name, place in candidates.items() if place in kept]
    chosen = NONE if NONE in left else by_simplicity(left)[0]
    return _Choice(chosen, names[chosen].weight, tuple(left), gains)


def _margin(decision: Decision) -> float:
    return float(decision.rule.margin or 0.0)


def _advised(method: str, decision: Decision) -> Entry | None:
    curve = decision.curve
    if curve is None or curve.recommended is None:
        return None
    return Entry(method, curve.recommended, _margin(decision))


def _standing(field: Field | None, entry: Entry | None) -> Standing | None:
    if entry is None:
        return None
    if field is None or entry not in field.entries:
        return Standing(entry.weight, None, None)
    return Standing(entry.weight, field.interval("technical", entry), field.interval("biological", entry))


def _verdict(
    method: str,
    decision: Decision,
    dial: Dial,
    field: Field | None,
    advised: Entry | None,
    published: Entry | None,
    *,
    refit: bool,
    dual: bool,
) -> MethodVerdict:
    curve = decision.curve
    estimate = None if curve is None else curve.estimate
    safe, unsafe = (None, None) if estimate is None else (estimate.limit, estimate.unsafe_from)
    return MethodVerdict(
        method=method,
        dial=dial.symbol,
        second=decision.rule.margin if dual else None,
        state=decision.rule.state,
        sentence=decision.sentence,
        safe_up_to=safe,
        unsafe_from=unsafe,
        advised=None if advised is None else advised.weight,
        published=dial.published,
        place=None if published is None else place_of(published.weight, safe, unsafe),
        at_advised=_standing(field, advised),
        at_published=_standing(field, published),
        refit=refit,
    )


def place_of(strength: float, safe_up_to: float | None, unsafe_from: float | None) -> Place:
    """Where a strength lies: inside up to what was shown to be safe, outside from what was shown not to be."""
    if safe_up_to is not None and strength <= safe_up_to:
        return "inside"
    return "outside" if unsafe_from is not None and strength >= unsafe_from else "unknown"


__all__ = ["NONE", "SCHEMA", "Comparison", "MethodVerdict", "Place", "Standing", "compare_methods", "place_of"]
