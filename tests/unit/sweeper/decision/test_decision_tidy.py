"""Sweeps made elsewhere: any tidy table is judged like a stored sweep, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from decision_curves import STRENGTHS, exact_curve, lose, tidy, truth
from jsonschema import Draft202012Validator

import sweeper.decision as room
from sweeper.decision import DecisionSettings, decide_sweep, decide_table
from trainers.errors import InputError

SCHEMA = json.loads((Path(room.__file__).parent / "rule.schema.json").read_text(encoding="utf-8"))
NEEDED = ["adversarial_weight", "margin", "seed", "metric", "role", "value"]
QUICK = {"draws": 500, "method": "posterior"}


@pytest.fixture(scope="module")
def stored():
    """The table of a stored sweep."""
    return tidy(*exact_curve("plateau_drop"))


@pytest.fixture
def bare(stored):
    return stored[NEEDED].copy()


def test_the_table_of_a_stored_sweep_gives_the_same_rule(stored):
    settings = DecisionSettings(deciding_view="held_out_plates", **QUICK)
    known = decide_sweep(stored, settings=settings, provenance={"trainer": "abra"}).to_json()
    again = decide_table(stored, **QUICK).to_json()
    Draft202012Validator(SCHEMA).validate(again)
    assert again["rule"]["if"][0].pop("value").startswith("sha256:")
    assert again["rule"]["if"][1:] == known["rule"]["if"]
    for part in set(known["rule"]) - {"if"}:
        assert again["rule"][part] == known["rule"][part], part
    assert again["sentence"] == known["sentence"]
    assert known["rule"]["state"] == "IDENTIFIED"


def test_rungs_of_a_ladder_are_no_second_trainer(stored):
    rungs = stored[~stored["trainer"].str.startswith("control:")].assign(trainer="ladder:erm@01234567", value=0.0)
    tables = (stored, pd.concat([stored, rungs], ignore_index=True))
    plain, beside = (decide_table(table, **QUICK).to_json() for table in tables)
    assert beside["rule"]["if"][0].pop("value") != plain["rule"]["if"][0].pop("value"), "another table"
    assert beside["rule"] == plain["rule"]
    assert beside["sentence"] == plain["sentence"]


def test_six_columns_are_enough_and_an_assumed_floor_is_said(bare):
    document = decide_table(bare, **QUICK).to_json()
    Draft202012Validator(SCHEMA).validate(document)
    rule = document["rule"]
    low, high = rule["estimate"]["ci90"]
    assert low < truth("plateau_drop", 0.10) * 1.2  # the true floor is 0.05: without it the same loss looks smaller
    assert high < 10 * low
    assert "risk_of_bias:assumed_floor" in rule["downgrades"]
    assert "the floor of the metrics was assumed to be 0" in document["sentence"]
    assert document["deciding_view"] == "table"
    assert "If you train the model on this screen with margin 0.3" in document["sentence"]
    stated = decide_table(bare.assign(floor=0.05), **QUICK).to_json()
    assert "risk_of_bias:assumed_floor" not in stated["rule"]["downgrades"]
    assert stated["rule"]["estimate"]["lambda_oc"] < rule["estimate"]["lambda_oc"]


def test_the_order_of_rows_changes_nothing(bare):
    assert decide_table(bare, **QUICK) == decide_table(bare.sample(frac=1, random_state=1), **QUICK)


def test_numbers_may_be_text_and_folds_are_averaged(bare):
    text = bare.astype({"value": str, "seed": str, "adversarial_weight": str})
    assert decide_table(text, **QUICK).rule.advice == decide_table(bare, **QUICK).rule.advice
    folds = pd.concat([bare.assign(fold=fold, value=bare["value"] + 0.01 * (fold - 0.5)) for fold in (0, 1)])
    averaged = decide_table(folds, **QUICK).to_json()["rule"]
    assert averaged["estimate"]["lambda_oc"] == pytest.approx(decide_table(bare, **QUICK).rule.estimate.lambda_oc)


def _few(t):
    return t[t["adversarial_weight"].isin(STRENGTHS[:5])]


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        (_few, "INSUFFICIENT_DATA", "4 strengths λ > 0 were run and 6 are needed: add 2"),
        (lambda t: t[t["adversarial_weight"] > 0], "INSUFFICIENT_DATA", "λ = 0 was not run"),
        (
            lambda t: t[(t["seed"] < 1) | (t["adversarial_weight"] < 1)],
            "INSUFFICIENT_DATA",
            "has 1 usable run, 2 needed: missing are λ =",
        ),
        (lambda t: t[t["seed"] == 0], "INSUFFICIENT_DATA", "1 seed was run and 3 are needed"),
        (lambda t: lose(t.assign(status="ok"), STRENGTHS, range(5)), "UNSTABLE", "training fails already at λ = 0"),
        (
            lambda t: t.assign(value=t["value"].where((t["seed"] > 2) | (t["role"] == "technical"))),
            "INSUFFICIENT_DATA",
            "2 seeds are ok at more than half of the strengths and 3 are needed",
        ),
        (lambda t: t.assign(value=t["value"].where(t["role"] == "technical", 0.0)), "NO_BASELINE_SIGNAL", "No rule"),
        (
            lambda t: t.assign(value=t["value"].where(t["role"] == "technical", 0.5)),
            "NO_BASELINE_SIGNAL",
            "the same number in every run",
        ),
        (
            lambda t: t.assign(value=t["value"].where(t["role"] == "biological", 0.5)),
            "NO_TECHNICAL_EFFECT",
            "do not correct",
        ),
    ],
)
def test_too_little_gives_a_state_and_never_a_point(bare, change, state, said):
    document = decide_table(change(bare), **QUICK).to_json()
    assert document["rule"]["state"] == state
    assert said in document["sentence"]
    assert not document["rule"]["then"]["lambda_recommended"], "nothing, or not to correct"
    assert document["rule"]["then"]["lambda_max"] is None
    assert document["rule"]["certainty"] is None


def _put(column, row, value):
    def change(table):
        changed = table.astype({column: object})
        changed.loc[changed.index[row], column] = value
        return changed

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="seed"), "t.csv: column 'seed' is missing; there are adversarial_weight"),
        (lambda t: t.rename(columns={"value": "values"}), "column 'value' is missing; is it 'values'?"),
        (lambda t: t.assign(flor=0.1), "unknown column 'flor'; did you mean 'floor'?"),
        (lambda t: t.iloc[:0], "t.csv: the table has no rows"),
        (_put("role", 6, "biology"), "column 'role' holds 'biology' in row 7; expected one of biological, technical"),
        (_put("value", 2, "high"), "column 'value' holds 'high' in row 3; expected a finite number"),
        (_put("value", 2, np.inf), "column 'value' holds 'inf' in row 3; expected a finite number"),
        (_put("value", 4, 37.5), "column 'value' holds '37.5' in row 5; expected a scale whose best is 1, or a column"),
        (_put("adversarial_weight", 1, -1), "column 'adversarial_weight' holds '-1' in row 2; expected a strength"),
        (_put("adversarial_weight", 1, None), "column 'adversarial_weight' is empty in row 2"),
        (_put("seed", 0, 1.5), "column 'seed' holds '1.5' in row 1; expected a whole number"),
        (_put("margin", 0, None), "column 'margin' is empty in row 1; expected a margin"),
        (_put("margin", 3, -1), "column 'margin' holds '-1' in row 4; expected a margin of 0 to"),
        (_put("adversarial_weight", 3, 1e300), "column 'adversarial_weight' holds '1e+300' in row 4"),
        (_put("seed", 3, 1e17), "column 'seed' holds '1e+17' in row 4; expected a whole number"),
        (lambda t: _put("value", 3, 1e300)(t.assign(floor=0.0, ceiling=1.0)), "column 'value' holds '1e+300' in row 4"),
        (lambda t: _put("value", 3, -1e300)(t), "column 'value' holds '-1e+300' in row 4; expected a number from"),
        (lambda t: _put("floor", 3, -1e10)(t.assign(floor=0.0)), "column 'floor' holds '-10000000000.0' in row 4"),
        (
            lambda t: t.assign(metric=[["a", "b"]] * len(t)),
            "column 'metric' holds several values in row 1; expected one",
        ),
        (lambda t: t.assign(reason=[np.array(["a", "b"])] * len(t)), "column 'reason' holds several values in row 1"),
        (lambda t: t.assign(floor=0.5, ceiling=0.4), "column 'ceiling' holds '0.4' in row 1; expected the best value"),
        (_put("metric", 8, None), "column 'metric' is empty in row 9; expected a text"),
        (lambda t: _put("status", 3, "pruned")(t.assign(status="ok")), "column 'status' holds 'pruned' in row 4"),
        (lambda t: _put("primary", 3, "maybe")(t.assign(primary=True)), "'maybe' in row 4; expected true or false"),
        (lambda t: _put("floor", 3, None)(t.assign(floor=0.0)), "column 'floor' is empty in row 4"),
        (lambda t: pd.concat([t, t.iloc[[5]]]), "row 131 repeats row 6 (λ = 0.001, margin 0.3, seed 0"),
        (lambda t: pd.concat([t, t.assign(seed=t["seed"] + 7)]), "copies are not seeds"),
        (lambda t: t.assign(view=np.where(t["seed"] > 2, "a", "b")), "several views (a, b); say which one decides"),
        (lambda t: t.assign(trainer=np.where(t["seed"] > 2, "x", "y")), "several trainers (x, y)"),
        (lambda t: t[t["role"] == "technical"], "t.csv: no primary biological metric in the results; one group alone"),
        (lambda t: t[t["role"] == "biological"], "no primary technical metric"),
        (lambda t: t.assign(value=np.nan), "no biological metric could be measured"),
        (lambda t: t.assign(trainer="control:raw"), "no trained run, only controls"),
    ],
)
def test_bad_tables_are_refused_in_one_line(bare, change, message):
    with pytest.raises(InputError) as refused:
        decide_table(change(bare), source="t.csv")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delta": 1.5}, "settings: delta: expected a number below 1, got 1.5"),
        ({"metod": "posterior"}, "unknown key 'metod'; did you mean 'method'?"),
        ({"view": "elsewhere"}, "no view 'elsewhere'; there is table"),
        ({"trainer": "other"}, "no trainer 'other'; there is the model"),
        ({"primary_biological": ("nmi",)}, "names 'nmi', which is not in the results"),
    ],
)
def test_bad_settings_are_refused_in_one_line(bare, settings, message):
    with pytest.raises(InputError, match=r"^[^\n]*$") as refused:
        decide_table(bare, **settings)
    assert message in str(refused.value)


def test_settings_that_depart_from_the_declared_ones_are_said_and_graded(stored):
    declared = DecisionSettings(deciding_view="held_out_plates", **QUICK)
    used = declared.model_copy(update={"delta": 0.05})
    document = decide_sweep(stored, settings=used, provenance={}, declared=declared).to_json()
    Draft202012Validator(SCHEMA).validate(document)
    assert document["departures"] == [{"setting": "delta", "declared": 0.1, "used": 0.05}]
    assert "risk_of_bias:undeclared_settings" in document["rule"]["downgrades"]
    kept = decide_sweep(stored, settings=declared, provenance={}, declared=declared).to_json()
    assert kept["departures"] == []
    assert kept == decide_sweep(stored, settings=declared, provenance={}).to_json()
