"""Perturbations nested in batches: never a point; between targets that span batches a decision is made, and says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from decision_curves import exact_curve, tidy

from sweeper.decision import DecisionSettings, decide_sweep
from sweeper.decision.verdict.confounded import Nesting, confounded
from sweeper.decision.verdict.states import State

NESTED = Nesting(batches=10, perturbations=103, spanning=0, targets=12, spanning_targets=10)
SETTINGS = DecisionSettings(deciding_view="held_out_plates", method="bracket", draws=1000)


def decided(nesting: Nesting | None, name: str):
    table = tidy(*exact_curve("plateau_drop"), names=(name,))
    return decide_sweep(
        table, settings=SETTINGS, provenance={"nesting": None if nesting is None else nesting.to_json()}
    )


def test_a_curve_of_nested_perturbations_has_no_point_and_no_advice_and_says_what_to_do() -> None:
    found = decided(NESTED, "perturbation_accuracy")
    assert found.rule.state == State.CONFOUNDED_BY_DESIGN
    assert found.rule.advice.recommended is None
    assert found.rule.advice.most is None
    assert (found.rule.estimate.lambda_oc, found.rule.estimate.safe_up_to) == (None, None)
    assert found.rule.firmness == "none"
    assert found.rule.certainty is None
    assert found.sentence == (
        "No rule: Each of 103 perturbations lies in one of 10 batches only, so what tells perturbations apart may be "
        "the batch: judge biology between perturbations that share a target (biology: target; 10 of 12 targets lie in "
        "several batches), or add plates that repeat perturbations in other batches."
    )
    assert decided(None, "perturbation_accuracy").rule.state == State.BRACKET_ONLY
    crossed = replace(NESTED, spanning=80)
    assert decided(crossed, "perturbation_accuracy").rule.state == State.BRACKET_ONLY


def test_between_targets_that_span_batches_it_is_judged_and_the_sentence_says_so() -> None:
    found = decided(NESTED, "nscb_accuracy")
    assert found.rule.state == State.BRACKET_ONLY
    assert (
        "Biology is judged between different perturbations that share a target, in different batches" in found.sentence
    )
    assert "share a target" not in decided(None, "retrieval_map").sentence


@pytest.mark.parametrize(
    ("changes", "biology", "told"),
    [
        ({}, ("nscb_accuracy",), None),
        ({}, ("nscb_accuracy", "retrieval_map"), "(biology: target; 10 of 12"),
        ({}, (), "(biology: target; 10 of 12"),
        ({"spanning": 1}, (), "102 of 103 perturbations lie in one of 10 batches only"),
        ({"spanning": 2}, (), None),
        ({"batches": 1}, (), None),
        ({"spanning_targets": 1}, ("nscb_accuracy",), "1 of 12 targets lie in several batches: add plates"),
        ({"targets": 0, "spanning_targets": 0}, (), "may be the batch: add plates"),
    ],
)
def test_what_is_confounded(changes: dict[str, int], biology: tuple[str, ...], told: str | None) -> None:
    found = confounded(replace(NESTED, **changes), biology)
    assert (found is None) if told is None else (found is not None and told in found)
