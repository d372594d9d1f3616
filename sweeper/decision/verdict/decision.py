"""The decision of a whole sweep: one value, from which the report, the command line and the mirror read.

Its file (decision.json, schema "overcorrection-rule/1") holds the same under the keys that `rule.schema.json` names.
Sentences in it (`sentence`, `reasons`, `notes`, `unless`) are worded by the version that wrote it; what programs read
are the numbers and codes beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sweeper.decision.input.decision_settings import DecisionSettings, Departure
from sweeper.decision.verdict.certainty import Grounds
from sweeper.decision.verdict.json_codec import plain, read
from sweeper.decision.verdict.margin_choice import Choice
from sweeper.decision.verdict.margin_frontier import Frontier
from sweeper.decision.verdict.next_points import NextPoints
from sweeper.decision.verdict.ready_rules import ReadyRules
from sweeper.decision.verdict.rule import Rule
from sweeper.decision.verdict.ruling import SCHEMA
from sweeper.decision.verdict.values import JudgedCurve
from sweeper.decision.words.rule_text import sentence
from trainers.errors import InputError


@dataclass(frozen=True, kw_only=True)
class RuledCurve(JudgedCurve):
    """A judged curve with its own rule, and that in words."""

    rule: Rule
    sentence: str

    @classmethod
    def of(cls, curve: JudgedCurve, rule: Rule) -> RuledCurve:
        """The curve with its rule."""
        judged = {field.name: getattr(curve, field.name) for field in fields(JudgedCurve)}
        return cls(**judged, rule=rule, sentence=sentence(rule))


@dataclass(frozen=True)
class ViewDecision:
    """Every curve of one evaluation view.

    Attributes:
        chosen_margin: the margin that this view chooses by itself, and `choice` why.
        frontier: how the over-correction point moves with the margin.
        margins: one curve a margin, ascending.
    """

    chosen_margin: float | None
    choice: Choice
    frontier: Frontier
    margins: tuple[RuledCurve, ...]

    def at(self, margin: float | None) -> RuledCurve | None:
        """The curve of one margin."""
        return next((curve for curve in self.margins if curve.margin == margin), None)

    @property
    def chosen(self) -> RuledCurve:
        """The curve of the chosen margin."""
        return next(curve for curve in self.margins if curve.margin == self.chosen_margin)


@dataclass(frozen=True)
class Decision:
    """Every trade-off curve of a sweep, the one that decides, and its If/Then rule.

    Attributes:
        provenance: what the rule is conditional on: data, trainer, versions; as JSON.
        departures: settings that differ from those declared before the sweep.
        views: by name; never mixed in one number.
        rule: of the deciding curve, and `sentence` the rule in words.
        ready_rules: fixed conditions evaluated on the deciding curve; None without a readable curve.
        next_points: what to train next for the deciding curve.
        notes: where another view contradicts the rule.
    """

    schema: str
    provenance: Mapping[str, Any]
    settings: DecisionSettings
    departures: tuple[Departure, ...]
    deciding_view: str
    views: Mapping[str, ViewDecision]
    rule: Rule
    sentence: str
    ready_rules: ReadyRules | None
    next_points: NextPoints
    notes: tuple[str, ...]

    @property
    def curve(self) -> RuledCurve | None:
        """The curve that decides; None where none could be read."""
        view = self.views.get(self.deciding_view)
        return None if view is None else view.at(self.rule.margin)

    @property
    def trainer(self) -> str | None:
        """Whose strengths these are."""
        return Grounds.of(self.provenance).trainer

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Seeds of the confirmation, which take part in nothing that they confirm."""
        return Grounds.of(self.provenance).fresh_seeds

    def to_json(self) -> dict[str, Any]:
        """The document: plain values, finite numbers, null where there is none."""
        return dict(plain(self))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Decision:
        """Inverse of `to_json`.

        Raises:
            InputError: the document has another schema, or a key or value that it cannot have; one line.
        """
        given = document.get("schema")
        if given != SCHEMA:
            raise InputError(f"decision: schema is {given!r}, expected {SCHEMA!r}")
        found: Decision = read(cls, document, "decision")
        return found
