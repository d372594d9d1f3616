"""Mechanism, next points and the second dial in words, from the decision alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from decision_curves import exact_curve, technical_curve, tidy

from sweeper.decision import DecisionSettings, judge_curve
from sweeper.decision.verdict.certainty import Grounds
from sweeper.decision.verdict.margin_choice import Choice, Compared
from sweeper.decision.verdict.margin_frontier import Frontier, FrontierPoint, Pair, Shift
from sweeper.decision.verdict.next_points import NextPoints
from sweeper.decision.verdict.rule import Cause
from sweeper.decision.verdict.ruling import rule as rule_of
from sweeper.decision.verdict.states import State
from sweeper.decision.words.advice import choice_text, frontier_text, mechanism_text, next_text

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=400)
TABLE = tidy(*exact_curve("plateau_drop", technical=technical_curve))
RULE = rule_of(judge_curve(TABLE, view="held_out_plates", margin=0.3, settings=SETTINGS), Grounds())


def rule(label=None, sham=None, djs=None, unsafe=3.0, judged=True):
    estimate = replace(RULE.estimate, lambda_peak=0.1 if judged else None, unsafe_from=unsafe)
    return replace(RULE, cause=Cause(label, sham, djs), estimate=estimate)


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        (
            rule("B_subspace", 0.01, 0.05),
            "Cause: batch and biology share directions",
            "(design index 0.05; the sham arm loses 1 %).",
        ),
        (
            rule("B_subspace", 0.01, 0.3),
            "Cause: the design.",
            "(design index 0.3; the sham arm loses 1 %).",
        ),
        (rule("C_optimiser", 0.2), "Cause: damage to the training", "critic or method (the sham arm loses 20 %)."),
        (rule("C_optimiser"), "Cause: damage to the training, which is not over-correction.", "critic or method."),
        (rule("A_or_C", 0.2, 0.4), "Cause: damage to the training or the design.", "the sham arm loses 20 %)."),
        (rule(djs=0.1), "Cause unknown: without a sham arm", "looks the same (design index 0.1)."),
    ],
)
def test_every_mechanism_comes_with_its_advice(given, start, end):
    said = mechanism_text(given)
    assert said.startswith(start)
    assert said.endswith(end)


def test_without_a_loss_there_is_nothing_to_explain():
    assert mechanism_text(rule(unsafe=None)) == ""
    assert mechanism_text(rule(judged=False)) == ""


@pytest.mark.parametrize(
    ("strengths", "seeds", "cells", "seconds", "said"),
    [
        ([1.8, 3.2, 5.6], 0, 9, None, "Train λ = 1.8, 3.2 and 5.6 with the same seeds: 9 cells."),
        ([], 2, 26, 2700.0, "Add 2 seeds at every strength: 26 cells, about 45 min of one worker."),
        (
            [2.0],
            1,
            1,
            20.0,
            "Train λ = 2 with the same seeds and add 1 seed at every strength: 1 cell, about 20 s of one worker.",
        ),
        ([2.0], 0, 100, 10000.0, "Train λ = 2 with the same seeds: 100 cells, about 2.8 h of one worker."),
        ([], 0, 0, None, ""),
    ],
)
def test_next_points_are_said_with_their_cost(strengths, seeds, cells, seconds, said):
    assert next_text(NextPoints("between", tuple(strengths), seeds, None, cells, seconds)) == said


def frontier(status, *, order="not told apart", left_out=(), **numbers):
    points = tuple(FrontierPoint(margin, State.BRACKET_ONLY, None, None, None, None, None) for margin in (0.0, 0.4))
    return Frontier(points, (Pair(0.0, 0.4, order),), Shift(status, (), tuple(left_out), **numbers))


def test_the_shift_is_said_with_its_interval():
    said = frontier_text(frontier("estimated", order="later", slope=2.5, lower=2.1, upper=2.9, p_later=0.999), 0.95)
    assert said == (
        "Each further 0.1 of margin multiplies the over-correction point by 1.78 (90 % interval 1.62 to 1.95; that "
        "larger margins have it at a larger λ is virtually certain, P > 0.99). It lies at a larger λ at margin 0.4 "
        "than at 0 (the intervals do not overlap)."
    )


def test_a_shift_downwards_is_a_factor_below_one():
    said = frontier_text(frontier("estimated", slope=-1.1, lower=-1.2, upper=-1.0, p_later=0.0), 0.95)
    assert "multiplies the over-correction point by 0.776 (90 % interval 0.759 to 0.794;" in said
    assert "exceptionally unlikely" in said


def test_what_cannot_be_estimated_is_said():
    said = frontier_text(frontier("not estimable", left_out=[(0.4, "not reached within the range")]), 0.95)
    assert "unknown: fewer than two margins locate it (margin 0.4: not reached within the range)." in said
    assert said.endswith("The margins cannot be told apart: their intervals overlap.")
    assert "it is bounded, not located" in frontier_text(frontier("bracket", order="earlier"), 0.95)
    assert "at a smaller λ at margin 0.4 than at 0" in frontier_text(frontier("bracket", order="earlier"), 0.95)
    alone = frontier("bracket")
    assert frontier_text(replace(alone, points=alone.points[:1], pairs=()), 0.95) == ""


def test_the_choice_of_the_margin_is_explained():
    def compared(margin, difference, p):
        return Compared(margin, 1.0, 0.5, difference, 5, p, p)

    def choice(by, margin=0.4):
        both = (compared(0.0, None, None), compared(0.4, 0.03, 0.004))
        return Choice(margin, by, "perturbation_accuracy", both)

    assert choice_text(choice("accuracy")) == (
        "Margin 0.4 was chosen: where batch removal begins to work perturbation accuracy is +0.03 against margin 0 "
        "(paired over 5 seeds, Holm p = 0.004)."
    )
    assert "is lower at the others" in choice_text(choice("accuracy", margin=0.0))
    for by, words in (
        ("rule", "firmest"),
        ("biology", "most biology"),
        ("state", "says most"),
        ("smallest", "smallest"),
    ):
        assert words in choice_text(choice(by))
    assert choice_text(choice("only")) == ""
