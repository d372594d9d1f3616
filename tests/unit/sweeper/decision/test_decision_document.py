"""The decision as a file: what its types say is what its schema says, and what is written is read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from enum import StrEnum
from math import inf, nan
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints

import pandas as pd
import pytest
from decision_curves import exact_curve, technical_curve, tidy
from jsonschema import Draft202012Validator

import sweeper.decision as room
from sweeper.decision import Decision, DecisionSettings, Rule, State, decide_sweep
from sweeper.decision.verdict.json_codec import MAY_LACK, UNWRITTEN, _written, plain, read, under
from trainers.errors import InputError

SCHEMA = json.loads((Path(room.__file__).parent / "rule.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def decision() -> Decision:
    biology, removal = exact_curve("plateau_drop", technical=technical_curve, seeds=5)
    tables = [tidy(biology, removal, view="held_out_plates", margin=margin) for margin in (0.0, 0.3)]
    sham = tidy(biology, removal, view="held_out_plates", margin=0.0).assign(trainer="sham:abra")
    settings = DecisionSettings(deciding_view="held_out_plates", draws=400, method="posterior")
    whole = pd.concat([*tables, sham], ignore_index=True)
    declared = settings.model_copy(update={"delta": 0.2})
    return decide_sweep(whole, settings=settings, provenance={"trainer": "abra", "n": (1, 2)}, declared=declared)


def test_what_is_written_is_read_again(decision: Decision) -> None:
    text = json.dumps(decision.to_json(), allow_nan=False)
    again = Decision.from_json(json.loads(text))
    assert again == decision
    assert json.dumps(again.to_json()) == text
    assert decision.departures
    assert decision.curve is not None
    assert decision.curve.mechanism is not None
    assert decision.curve.mechanism.points


def test_a_decision_on_nothing_is_written_and_read_too(decision: Decision) -> None:
    empty = decide_sweep(pd.DataFrame(), settings=decision.settings, provenance={})
    assert empty.rule.state is State.INVALID_INPUT
    assert empty.curve is None
    assert Decision.from_json(empty.to_json()) == empty


def _schema_of(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = SCHEMA["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _parts(kind: Any) -> list[Any]:
    """Dataclasses within a type, with the schema's way to them."""
    if isinstance(kind, type) and is_dataclass(kind):
        return [(kind, ())]
    inner = [one for one in get_args(kind) if one not in (NoneType, Ellipsis)]
    step = {"tuple": ("items",), "Mapping": ("additionalProperties",)}.get(getattr(kind, "__name__", ""), ())
    return [(found, (*step, *way)) for one in inner for found, way in _parts(one)]


def _compare(kind: Any, schema: dict[str, Any], seen: set[str]) -> None:
    keys = dict(_written(kind))
    assert set(schema["required"]) == set(keys), kind.__name__
    assert set(schema["properties"]) == set(keys) or not schema.get("properties"), kind.__name__
    seen.add(kind.__name__)
    hints = get_type_hints(kind)
    for key, one in keys.items():
        for inner, way in _parts(hints[one.name]):
            below = _schema_of(schema["properties"][key])
            for step in way:
                below = _schema_of(below[step])
            if "required" in below and below.get("properties"):
                _compare(inner, below, seen)


def test_the_schema_has_the_keys_of_the_types() -> None:
    seen: set[str] = set()
    _compare(Decision, SCHEMA, seen)
    assert {"Decision", "ViewDecision", "RuledCurve", "Rule", "RuleEstimate", "Estimate", "Level", "NextPoints"} <= seen
    assert len(seen) > 30


def test_the_schema_and_the_reader_accept_what_is_written(decision: Decision) -> None:
    Draft202012Validator(SCHEMA).validate(decision.to_json())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d.update(schema="overcorrection-rule/9"), "schema is 'overcorrection-rule/9', expected"),
        (lambda d: d.pop("sentence"), "decision: key 'sentence' is missing"),
        (lambda d: d["rule"].update(firmness="suggest"), "decision.rule: unknown key 'firmness'"),
        (lambda d: d["rule"].update(state="MAYBE"), "decision.rule.state: expected a State, got 'MAYBE'"),
        (lambda d: d["rule"].update(strength="do"), "expected one of 'recommend', 'suggest', 'none', got 'do'"),
        (
            lambda d: d["rule"]["design"].update(runs=1.5),
            "rule.design.runs: expected a whole number, got '1.5'",
        ),
        (lambda d: d["rule"]["design"].update(runs=True), "expected a whole number, got 'True'"),
        (lambda d: d["rule"]["design"].update(range=[1.0]), "decision.rule.design.range: expected 2 values"),
        (lambda d: d["settings"].update(delta=7), "decision.settings.delta: "),
        (lambda d: d.update(views=[]), "decision.views: expected an object, got '[]'"),
        (lambda d: d.update(notes="x"), "decision.notes: expected a list, got 'x'"),
    ],
)
def test_a_spoilt_file_is_refused_in_one_line_that_names_the_place(decision: Decision, spoil: Any, said: str) -> None:
    document = decision.to_json()
    spoil(document)
    with pytest.raises(InputError) as refused:
        Decision.from_json(document)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_from_before_seeds_were_placed_is_read(decision: Decision) -> None:
    document = decision.to_json()
    del document["next_points"]["seeds_at"]
    assert Decision.from_json(document).next_points.seeds_at is None


def test_the_codec_keeps_keys_numbers_and_what_is_not_written() -> None:
    class Kind(StrEnum):
        ONE = "one"

    found = read(_Example, {"key": 1, "many": {"a": [None, 2]}, "kind": "x"}, "it")
    assert found == _Example(value=1.0, many={"a": (inf, 2.0)}, kind="x")
    assert plain(_Example(value=nan, many={"a": (inf,)}, kind="x", later=3)) == {
        "key": None,
        "many": {"a": [None]},
        "kind": "x",
        "later": 3,
    }
    assert read(Kind, "one", "it") is Kind.ONE
    assert read(str | float, 2, "it") == 2.0
    assert read(str | float, "2", "it") == "2"


@dataclass(frozen=True)
class _Example:
    value: float = field(metadata=under("key"))
    many: Mapping[str, tuple[float, ...]]
    kind: Literal["x", "y"]
    later: int = field(default=0, metadata=MAY_LACK)
    hidden: int = field(default=0, metadata=UNWRITTEN)


def test_a_rule_by_itself_is_read_as_its_sentence_needs_it(decision: Decision) -> None:
    assert read(Rule, json.loads(json.dumps(plain(decision.rule))), "rule") == decision.rule
