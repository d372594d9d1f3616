"""The rule, its grading, the sweep's document and the words made from it."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from decision_curves import SHAPES, STRENGTHS, controls, exact_curve, sample, technical_curve, tidy
from jsonschema import Draft202012Validator

import sweeper.decision as room
from sweeper.decision import DecisionSettings, decide_sweep, judge_curve, sentence
from sweeper.decision.verdict.certainty import DOWNGRADES, Grounds, steps
from sweeper.decision.verdict.json_codec import plain, read
from sweeper.decision.verdict.rule import Rule
from sweeper.decision.verdict.ruling import ASSUMPTIONS, rule

SETTINGS = DecisionSettings(deciding_view="held_out_plates", method="posterior", draws=500)
PROVENANCE = {"dataset_hash": "sha256:ab", "trainer": "abra", "settings_hash": "sha256:cd", "adaptive": False}
SCHEMA = json.loads((Path(room.__file__).parent / "rule.schema.json").read_text(encoding="utf-8"))
TOP = STRENGTHS[-1]


def curve_table(
    shape="plateau_drop", *, view="held_out_plates", margin=0.3, scale=1.0, technical=technical_curve, seeds=5
):
    biology, removal = exact_curve(shape, technical=technical, seeds=seeds)
    return tidy(scale * biology, removal, view=view, margin=margin)


def swept(*tables, settings=SETTINGS, provenance=PROVENANCE):
    return decide_sweep(pd.concat(tables, ignore_index=True), settings=settings, provenance=provenance).to_json()


def one_rule(table, provenance=PROVENANCE):
    found = judge_curve(table, view="held_out_plates", margin=0.3, settings=SETTINGS)
    target, departed = provenance.get("target", "this_screen"), provenance.get("departed", False)
    return plain(rule(found, Grounds.of(provenance, target=target, departed=departed)))


def said_of(made):
    """The sentence of a rule as its file holds it."""
    return sentence(read(Rule, made, "rule"))


def lose(table, strengths, seeds):
    hit = table["adversarial_weight"].isin(strengths) & table["seed"].isin(seeds)
    table.loc[hit, "status"] = "collapsed"
    table.loc[hit, "value"] = np.nan
    return table


@pytest.fixture(scope="module")
def document():
    places = {"label_shuffled": (0.0, 0.4), "raw": (0.3, 0.2)}
    names = {"names": ("retrieval_map",), "technical_names": ("batch_probe_linear",)}
    return swept(
        curve_table(margin=0.0, scale=0.8),
        curve_table(margin=0.3),
        curve_table("slow", view="held_out_batches", margin=0.0),
        lose(curve_table("slow", view="held_out_batches", margin=0.3), [TOP], (0, 1)),
        controls("held_out_plates", places, **names),
    )


def test_the_public_names():
    assert room.__all__ == [
        "STATES",
        "Decision",
        "DecisionSettings",
        "JudgedCurve",
        "Rule",
        "RuledCurve",
        "State",
        "ViewDecision",
        "decide_sweep",
        "decide_table",
        "judge_curve",
        "sentence",
    ]


def test_the_document_follows_its_schema_and_survives_json(document):
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(document)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_schema_refuses_what_is_missing_or_misspelt(document):
    for spoil in (
        lambda d: d.pop("sentence"),
        lambda d: d["rule"]["then"].pop("lambda_max"),
        lambda d: d["rule"].update(state="MAYBE"),
        lambda d: d["views"]["held_out_plates"]["margins"][0].update(extra=1),
    ):
        spoiled = deepcopy(document)
        spoil(spoiled)
        assert not Draft202012Validator(SCHEMA).is_valid(spoiled)


def test_views_are_apart_and_the_deciding_one_makes_the_rule(document):
    assert list(document["views"]) == ["held_out_batches", "held_out_plates"]
    assert [entry["margin"] for entry in document["views"]["held_out_plates"]["margins"]] == [0.0, 0.3]
    chosen = document["views"]["held_out_plates"]["chosen_margin"]
    assert chosen == 0.3  # both margins have a rule; biology at λ_E is higher here
    entry = next(e for e in document["views"]["held_out_plates"]["margins"] if e["margin"] == chosen)
    assert document["rule"] == entry["rule"]
    assert document["sentence"] == entry["sentence"] == said_of(document["rule"])
    assert document["provenance"] == PROVENANCE
    assert document["settings"]["delta"] == 0.10


def test_the_conditions_come_from_provenance_and_the_curve(document):
    assert document["rule"]["if"] == [
        {"var": "dataset_hash", "op": "==", "value": "sha256:ab"},
        {"var": "trainer", "op": "==", "value": "abra"},
        {"var": "view", "op": "==", "value": "held_out_plates"},
        {"var": "margin", "op": "==", "value": 0.3},
    ]
    assert [clause["var"] for clause in one_rule(curve_table(), {})["if"]] == ["trainer", "view", "margin"]


def test_a_disagreement_of_the_views_is_noted(document):
    safe = document["rule"]["estimate"]["safe_up_to"]
    slow = next(e for e in document["views"]["held_out_batches"]["margins"] if e["margin"] == 0.3)
    unsafe = slow["estimate"]["unsafe_from"]
    assert unsafe <= safe
    assert document["notes"] == [
        f"The views disagree: held-out plates say safe up to λ = {safe:.3g}, held-out batches say unsafe at "
        f"{unsafe:.3g}."
    ]
    agreeing = swept(curve_table(), curve_table(view="held_out_batches"))
    assert agreeing["notes"] == []


def test_a_view_whose_advice_lies_elsewhere_is_noted():
    rng = np.random.default_rng(3)
    biology, technical = sample(SHAPES["flat"], rng, sigma=0.25), sample(technical_curve, rng, sigma=0.01)
    document = swept(curve_table(), tidy(biology, technical, view="held_out_batches"))
    suggested = document["rule"]["then"]["lambda_recommended"]
    assert document["notes"] == [
        f"The views disagree: held-out plates suggest λ = {suggested:.3g}, but on held-out batches no strength is "
        "shown to be safe."
    ]


def test_the_margin_with_a_rule_goes_before_the_one_with_more_biology():
    empty = curve_table(margin=0.5, technical=lambda x: technical_curve(x - 2))  # nothing effective is safe
    low = curve_table(margin=0.0, scale=0.5)
    assert swept(empty, low)["views"]["held_out_plates"]["chosen_margin"] == 0.0
    assert swept(low, curve_table("flat", margin=0.1, seeds=2))["views"]["held_out_plates"]["chosen_margin"] == 0.0


def test_a_margin_with_too_little_data_does_not_stop_the_others():
    few = curve_table(margin=0.0)
    few = few[few["adversarial_weight"].isin(STRENGTHS[:4])]
    states = [e["state"] for e in swept(few, curve_table(margin=0.3))["views"]["held_out_plates"]["margins"]]
    assert states == ["INSUFFICIENT_DATA", "IDENTIFIED"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="value"), "lacks the column 'value'"),
        (lambda t: t[t["role"] == "technical"], "one group alone never decides"),
        (
            lambda t: t.assign(view="held_out_batches"),
            "in the deciding view 'held_out_plates'; it has held_out_batches",
        ),
        (lambda t: t.assign(trainer="other"), "no cells of trainer 'abra'"),
        (lambda t: t.iloc[:0], "no cells of trainer 'abra'"),
    ],
)
def test_a_sweep_that_cannot_be_judged_still_gives_a_document(spoil, message):
    document = swept(spoil(curve_table()))
    Draft202012Validator(SCHEMA).validate(document)
    assert document["rule"]["state"] == "INVALID_INPUT"
    assert document["sentence"].startswith("No rule: ")
    assert message in document["sentence"]
    assert document["rule"]["strength"] == "none"
    assert document["rule"]["certainty"] is None


def test_other_trainers_are_set_aside_only_when_one_is_named():
    both = pd.concat([curve_table(), curve_table("flat").assign(trainer="other")])
    assert decide_sweep(both, settings=SETTINGS, provenance=PROVENANCE).to_json()["rule"]["state"] == "IDENTIFIED"
    assert decide_sweep(both, settings=SETTINGS, provenance={}).to_json()["rule"]["state"] == "INVALID_INPUT"


@pytest.mark.slow
def test_certainty_drops_one_step_for_each_known_shortcoming():
    plainest = one_rule(curve_table())
    assert plainest["downgrades"] == ["risk_of_bias:no_sham_arm", "indirectness:one_screen"]
    assert (plainest["certainty"], plainest["strength"]) == ("low", "suggest")
    trained_on = one_rule(curve_table(), PROVENANCE | {"held_out_perturbations": 0.0})
    assert "risk_of_bias:training_classes" in trained_on["downgrades"]
    assert one_rule(curve_table(), PROVENANCE | {"held_out_perturbations": 0.2})["downgrades"] == plainest["downgrades"]
    adaptive = one_rule(curve_table(), PROVENANCE | {"adaptive": True, "design_djs": 0.3})
    assert {"risk_of_bias:adaptive_points", "confounding:design"} <= set(adaptive["downgrades"])
    assert adaptive["certainty"] == "very low"
    unstable = one_rule(lose(curve_table(), [STRENGTHS[4]], (0,)))
    assert "instability:collapse" in unstable["downgrades"]
    assert "instability:collapse" not in one_rule(lose(curve_table(), [TOP], (0,)))["downgrades"]
    rng = np.random.default_rng(3)
    noisy = tidy(sample(SHAPES["plateau_drop"], rng, sigma=0.12), sample(technical_curve, rng, sigma=0.01))
    rough = one_rule(noisy)
    assert "imprecision:seed_noise" in rough["downgrades"]
    untrusted = SETTINGS.model_copy(update={"lack_of_fit": 0.9999})
    bounded = plain(
        rule(judge_curve(noisy, view="held_out_plates", margin=0.3, settings=untrusted), Grounds.of(PROVENANCE))
    )
    assert bounded["state"] == "BRACKET_ONLY"
    assert {"imprecision:wide_bracket", "imprecision:seed_noise"} <= set(bounded["downgrades"])
    wide = tidy(sample(SHAPES["slow"], np.random.default_rng(3), seeds=3, sigma=0.14), exact_curve("slow", seeds=3)[1])
    assert "imprecision:wide_interval" in one_rule(wide)["downgrades"]
    assert set(DOWNGRADES) >= {*rough["downgrades"], *bounded["downgrades"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "table", "provenance"),
    [
        ("risk_of_bias:training_classes", curve_table, {"held_out_perturbations": 0.0}),
        ("risk_of_bias:adaptive_points", curve_table, {"adaptive": True}),
        ("risk_of_bias:assumed_floor", curve_table, {"assumed_floor": ["retrieval_map"]}),
        ("risk_of_bias:undeclared_settings", curve_table, {"departed": True}),
        ("confounding:design", curve_table, {"design_djs": 0.21}),
        ("indirectness:silhouettes", lambda: curve_table().replace({"metric": {"retrieval_map": "pasw"}}), {}),
        ("instability:collapse", lambda: lose(curve_table(), [STRENGTHS[4]], (0,)), {}),
    ],
)
def test_every_shortcoming_is_graded_by_itself(code, table, provenance):
    plainest = one_rule(curve_table())
    graded = one_rule(table(), PROVENANCE | provenance)
    assert set(graded["downgrades"]) - set(plainest["downgrades"]) == {code}
    shared = code in ("risk_of_bias:training_classes", "indirectness:silhouettes")
    assert steps(graded["downgrades"]) == steps(plainest["downgrades"]) + (not shared)
    assert DOWNGRADES[code] in said_of(json.loads(json.dumps(graded)))


def test_codes_of_one_shortcoming_lower_the_certainty_once():
    assert steps(list(DOWNGRADES)) == len(DOWNGRADES) - 4  # two pairs and three of imprecision
    assert steps(["imprecision:wide_interval", "imprecision:seed_noise"]) == 1
    assert steps([]) == 0


def test_with_a_sham_arm_and_a_window_at_every_loss_the_rule_recommends():
    rng = np.random.default_rng(11)
    arm = (0.0, *STRENGTHS[6:])
    sham = tidy(
        *(sample(lambda x: 0.8 + 0.0 * np.isfinite(x), rng, strengths=arm, sigma=0.01) for _ in range(2)),
        strengths=arm,
    ).assign(trainer="sham:abra")
    made = swept(curve_table(), sham)["rule"]
    assert made["downgrades"] == ["indirectness:one_screen"]
    assert (made["certainty"], made["strength"]) == ("moderate", "recommend")
    assert "then we recommend λ = " in said_of(made)
    assert "Certainty: moderate (lowered once: only one screen)." in said_of(made)
    lowered = swept(curve_table(), sham, provenance=PROVENANCE | {"adaptive": True})["rule"]
    assert (lowered["certainty"], lowered["strength"]) == ("low", "suggest")
    late = swept(curve_table(technical=lambda x: technical_curve(x - 1.9)), sham)["rule"]
    advised = [entry["lambda_recommended"] for entry in late["sensitivity"].values()]
    assert advised[0] == 0.0 < advised[-1]  # effective only beyond what is safe at the smallest loss
    assert late["strength"] != "recommend"


def test_metrics_that_lose_at_different_strengths_lower_the_certainty():
    rng = np.random.default_rng(5)
    technical = sample(technical_curve, rng, sigma=0.004)
    early = tidy(0.3 * sample(SHAPES["slow"], rng, sigma=0.004), technical, names=("early",))
    late = tidy(2 + sample(SHAPES["late"], rng, sigma=0.004), technical, names=("late",)).query("role == 'biological'")
    made = one_rule(pd.concat([early, late], ignore_index=True))
    assert "inconsistency:primary_metrics" in made["downgrades"]
    assert made["metrics"]["earliest"] == "early"
    assert made["metrics"]["lost_while_safe"] == []  # the rule follows the early one, so its loss lies above the bound
    assert (
        "The biological metrics disagree, and the rule follows the one that is lost first: early loses 10 % at"
        in said_of(made)
    )
    made["metrics"]["lost_while_safe"] = ["early"]
    assert "Caution: early alone loses 10 % at a λ that all metrics together call safe." in said_of(made)


def test_every_assumption_is_listed(document):
    about_new_perturbations = ["A8"]
    listed = [code for code in ASSUMPTIONS if code not in about_new_perturbations]
    assert document["rule"]["assumptions"] == listed


def test_plain_leaves_only_json():
    made = plain({"a": np.float64("nan"), 1: (np.int64(2), np.inf), "c": Path("x"), "d": np.bool_(True)})
    assert made == {"a": None, "1": [2, None], "c": "x", "d": True}


def test_the_words_of_a_two_sided_bracket(document):
    made = json.loads(json.dumps(document["rule"]))
    made["then"] = {"lambda_recommended": 3.0, "lambda_max": 10.0}
    made["state"] = "BRACKET_ONLY"
    made["method"]["fallback"]["because"] = "poor_fit"
    made["estimate"] |= {"safe_up_to": 10.0, "unsafe_from": 31.6}
    made["design"]["lambdas"] = [0, 0.1, 3.0, 10.0, 20.0, 31.6, 100.0]
    made["sensitivity"] = {"0.05": made["sensitivity"]["0.05"] | {"safe_up_to": None, "unsafe_from": 20.0}}
    made["remarks"] = None
    assert said_of(made) == (
        "If you train abra on this screen with margin 0.3 to correct the screen itself (held-out plates), then we "
        "suggest λ = 3, and not above 10. Safe up to λ = 10 (less than 10 % of biology lost, 95 % sure). Unsafe at "
        "31.6. In between: unknown. For 5 %: none shown to be safe, unsafe at 20. This holds for the perturbations of "
        "this screen. Sweep again if you add plates or batches, change the set of perturbations, or change the "
        "encoder or the length of training. Certainty: low (lowered twice: no sham arm, so damage to the training "
        "cannot be told from over-correction; only one screen). Not tested above λ = 100."
    )
    made["design"]["lambdas"].remove(20.0)
    assert "In between: not trained." in said_of(made)


def test_the_words_and_numbers_of_a_located_point(document):
    made = json.loads(json.dumps(document["rule"]))
    assert made["method"]["name"] == "bma-bms"
    assert made["method"]["fallback"]["because"] is None
    assert made["method"]["lof_p"] > 0.05
    assert sum(made["method"]["families"].values()) == pytest.approx(1)
    low, high = made["estimate"]["ci90"]
    assert low <= made["estimate"]["lambda_oc"] <= high
    assert made["then"]["lambda_max"] < low
    assert [entry["lambda_oc"] for entry in made["sensitivity"].values()][1] == made["estimate"]["lambda_oc"]
    made["estimate"] |= {"lambda_oc": 2.0, "ci90": [1.0, 3.6], "p_detect": 0.985}
    assert (
        "Above about λ = 2 (90 % interval 1 to 3.6) 10 % of biology or more is lost (very likely, P = 0.98)."
        in said_of(made)
    )
    made["estimate"]["p_detect"] = 0.9999
    assert "(virtually certain, P > 0.99)" in said_of(made)


@pytest.mark.slow
def test_the_words_of_the_other_states():
    def words(table):
        return said_of(json.loads(json.dumps(one_rule(table))))

    rng = np.random.default_rng(3)
    wild = tidy(sample(SHAPES["flat"], rng, sigma=0.12), sample(technical_curve, rng, sigma=0.01))
    assert words(wild).startswith("Not identified. If you train abra on this screen with margin 0.3")
    assert "and nothing was shown to be safe, not even λ = 0.001; a loss of" in words(wild)
    assert "over-correction was not reached; a loss of" in words(curve_table("improving"))
    unstable = words(lose(curve_table("flat"), STRENGTHS[9:], (0, 1, 2)))
    assert "At λ = 4.33 training fails (3 of 5 runs lost), which is not over-correction." in unstable
    assert words(lose(curve_table("flat"), STRENGTHS, (0, 1, 2))).startswith("No rule: training fails already at λ = 0")
    damaged = curve_table(technical=lambda x: technical_curve(x) - 0.3 * (np.where(np.isfinite(x), x, -9) > 0.5))
    assert "damage to the training, not over-correction" in words(damaged)
    below = tidy(sample(lambda x: np.where(np.isfinite(x), 0.6, 1.0), rng, sigma=0.004), exact_curve("flat")[1])
    assert (
        "any strength may already cost biology: λ = 0.001, the smallest above 0, is unsafe (10 % of biology"
        in words(below)
    )
    early = tidy(
        sample(
            lambda x: 1 - np.where(np.isfinite(x), 0.09 + 0.03 * np.maximum(x + 3, 0), 0),
            np.random.default_rng(1),
            sigma=0.03,
        ),
        exact_curve("flat")[1],
    )
    assert one_rule(early)["state"] == "BELOW_RANGE"
    assert "even λ = 0.001, the smallest above 0, was not shown to be safe, and λ = 0." in words(early)
    assert "nothing measurable to lose" in words(tidy(exact_curve("flat")[0] - 1, exact_curve("flat")[1]))
    useless = words(curve_table(technical=SHAPES["flat"]))
    assert "no strength that was tried removes more batch than λ = 0 does" in useless
    assert "Biology still loses 10 % or more at λ = 4.33 (95 % sure)." in useless
    rising = words(curve_table("improving", technical=lambda x: technical_curve(x - 3)))
    assert "Batch removal was still improving there: sweep larger λ." in rising
    empty = words(curve_table(technical=lambda x: technical_curve(x - 2)))
    assert "then do not correct: we suggest λ = 0" in empty
    short = words(curve_table().query("adversarial_weight < 0.01"))
    assert short.startswith("No rule: 3 strengths λ > 0 were run and 6 are needed: add 3.")


def test_failed_runs_and_missing_metrics_are_said():
    table = lose(curve_table(), [TOP], (0, 1))
    gone = table[table["role"] == "biological"].assign(metric="activity_map", value=np.nan, reason="no controls")
    said = said_of(one_rule(pd.concat([table, gone], ignore_index=True)))
    assert "Not measurable here, and so not judged: activity_map." in said
    assert "Training failed in 2 of 65 runs, and too often to judge λ = 100." in said


def test_an_unknown_view_is_named_as_it_is():
    table = curve_table(view="held_out_scanners")
    settings = SETTINGS.model_copy(update={"deciding_view": "held_out_scanners"})
    assert (
        "with margin 0.3 and judge it in the view held_out_scanners, then"
        in swept(table, settings=settings)["sentence"]
    )
