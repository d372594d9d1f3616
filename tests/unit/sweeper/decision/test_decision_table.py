"""Refusals: what cannot be judged is INVALID_INPUT with one line that says what to mend."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from decision_curves import STRENGTHS, exact_curve, tidy

from sweeper.decision import DecisionSettings, judge_curve
from sweeper.decision.input.results_table import canonical, curves, prepare

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=500)


def judged(table, *, view="held_out_plates", margin=0.3, settings=SETTINGS):
    return judge_curve(table, view=view, margin=margin, settings=settings)


@pytest.fixture
def table():
    return tidy(*exact_curve("plateau_drop"))


def _twice(table):
    return pd.concat([table, table.iloc[[7]]], ignore_index=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t[t["role"] == "technical"], "no primary biological metric"),
        (lambda t: t[t["role"] == "biological"], "no primary technical metric"),
        (_twice, "recorded twice"),
        (lambda t: t.drop(columns="floor"), "lacks the column 'floor'"),
        (lambda t: t.assign(status="pruned"), "unknown status 'pruned'"),
        (lambda t: t.assign(role="both"), "unknown role 'both'"),
        (lambda t: t.assign(adversarial_weight="strong"), "not numeric"),
        (lambda t: t.assign(adversarial_weight=-t["adversarial_weight"]), "finite number of 0 or more"),
        (lambda t: t.assign(adversarial_weight=t["adversarial_weight"].replace(0.0, np.nan)), "finite number"),
        (lambda t: t.assign(margin=t["margin"].where(t.index > 0)), "without a margin"),
        (lambda t: t.assign(seed=t["seed"].where(t.index > 0)), "seed is empty"),
        (lambda t: t.assign(trainer=np.where(t["seed"] == 1, "other", "abra")), "several trainers"),
        (lambda t: t.assign(split=None), "empty entries"),
        (lambda t: t.assign(role=np.where(t["seed"] == 1, "technical", t["role"])), "under both roles"),
        (lambda t: t.assign(primary=False), "no primary biological"),
        (lambda t: t.assign(ceiling=t["floor"]), "not below its ceiling"),
        (
            lambda t: t.assign(value=t["value"].where(t["role"] == "technical")),
            "no biological metric could be measured",
        ),
        (lambda t: t.iloc[:0], "the table has no trained cells"),
    ],
)
def test_a_table_that_cannot_be_judged_is_refused_in_one_line(table, spoil, message):
    decision = judged(spoil(table))
    assert decision.state == "INVALID_INPUT"
    assert len(decision.reasons) == 1
    assert message in decision.reasons[0]
    assert "\n" not in decision.reasons[0]
    assert decision.estimate is None


def test_an_unknown_margin_names_those_that_exist(table):
    assert "held_out_plates at margin 0.3" in judged(table, margin=0.5).reasons[0]


def test_a_named_metric_must_exist_and_have_the_role(table):
    absent = SETTINGS.model_copy(update={"primary_biological": ("nmi",)})
    assert "names 'nmi', which is not in the results" in judged(table, settings=absent).reasons[0]
    wrong = SETTINGS.model_copy(update={"primary_biological": ("batch_probe_linear",)})
    assert "which is technical" in judged(table, settings=wrong).reasons[0]


def test_copied_seeds_are_refused(table):
    copies = table.assign(seed=table["seed"] + 5)
    decision = judged(pd.concat([table, copies], ignore_index=True))
    assert decision.state == "INVALID_INPUT"
    assert "seeds 0 and 5 gave identical values" in decision.reasons[0]


def test_strengths_equal_to_12_digits_are_one_level(table):
    blurred = table.assign(adversarial_weight=table["adversarial_weight"] * (1 + 1e-15 * (table["seed"] % 3)))
    assert blurred["adversarial_weight"].nunique() > len(STRENGTHS)
    assert [level.weight for level in judged(blurred).levels] == list(STRENGTHS)
    assert canonical(0.1 + 0.2) == canonical(0.3) != canonical(0.3 + 1e-11)
    assert judged(table, margin=0.1 + 0.2).margin == 0.3


def test_curves_lists_every_view_and_margin(table):
    both = pd.concat([table, tidy(*exact_curve("flat"), view="held_out_batches", margin=0.0)], ignore_index=True)
    assert curves(prepare(both)) == {"held_out_batches": [0.0], "held_out_plates": [0.3]}


def test_settings_refuse_what_makes_no_sense():
    for wrong in (
        {"delta": 0.0},
        {"confidence": 0.4},
        {"primary_biological": ("a", "a")},
        {"min_seeds": 1},
        {"other": 1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DecisionSettings(deciding_view="held_out_plates", **wrong)
    assert DecisionSettings(deciding_view="x", delta=0.15).all_deltas == (0.05, 0.10, 0.15, 0.20)
