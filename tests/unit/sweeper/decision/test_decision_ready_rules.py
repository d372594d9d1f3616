"""Ready rules: each condition true, false and not measurable, on tables where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from decision_curves import SHAPES, STRENGTHS, controls, exact_curve, sample, tidy

from sweeper.decision import DecisionSettings, decide_sweep, decide_table
from sweeper.decision.input.decision_settings import ReadyThresholds
from sweeper.decision.verdict.json_codec import read
from sweeper.decision.verdict.ready_rules import SOURCES, ReadyRule, in_words
from sweeper.decision.words.printed import printed
from trainers.errors import InputError

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=500)
NAMES = {"names": ("retrieval_map",), "technical_names": ("batch_probe_linear",)}
RULES = (
    "new_batches_are_harder",
    "technical_metrics_alone",
    "control_is_as_good",
    "retrieval_falls_within_and_across",
    "retrieval_low_across_only",
    "sham_arm_loses_too",
)


def secondary(name, curve, *, view="held_out_plates", sigma=0.004, seed=0):
    """Rows of a further biological metric that decides nothing, its floor at 0."""
    rng = np.random.default_rng(seed)
    values = sample(curve, rng, sigma=sigma)
    table = tidy(values, values, view=view, names=(name,), floor=0.0)
    return table[table["role"] == "biological"].assign(primary=False)


def constant(height):
    return lambda x: height + 0.0 * np.where(np.isfinite(x), x, 0.0)


def deciding(shape="plateau_drop", **kwargs):
    return tidy(*exact_curve(shape, **kwargs))


def rules(*tables, settings=SETTINGS):
    document = decide_sweep(
        pd.concat(tables, ignore_index=True), settings=settings, provenance={"trainer": "abra"}
    ).to_json()
    return {item["id"]: item for item in document["ready_rules"]["rules"]}


def values(rule):
    return {item["name"]: item["value"] for item in rule["numbers"]}


@pytest.fixture(scope="module")
def plain():
    return rules(deciding())


def test_every_rule_is_there_with_its_thresholds_and_their_sources(plain):
    assert tuple(plain) == RULES
    for rule in plain.values():
        assert (rule["holds"] is None) == (rule["reason"] is not None)
        assert rule["thresholds"]
        assert all(item["source"] == SOURCES[item["setting"]] for item in rule["thresholds"])
    judged = {name for name, source in SOURCES.items() if source.startswith("judgement")}
    assert judged == set(ReadyThresholds.model_fields)


@pytest.mark.parametrize(("drop", "sigma", "holds"), [(0.20, 0.01, True), (0.02, 0.01, False), (0.06, 0.25, False)])
def test_a_drop_on_new_batches_makes_adversarial_learning_worth_testing(drop, sigma, holds):
    gap = secondary("accuracy_gap", constant(-drop), view="held_out_batches", sigma=sigma)
    other = tidy(*exact_curve("flat"), view="held_out_batches")
    rule = rules(deciding(), other, gap)["new_batches_are_harder"]
    assert rule["holds"] is holds
    assert values(rule)["drop"] == pytest.approx(drop, abs=0.3 * sigma + 0.02)
    assert rule["numbers"][0]["unit"] == "balanced accuracy"


@pytest.mark.slow
def test_the_drop_may_come_from_the_two_accuracies_and_only_from_held_out_batches(plain):
    batches = {"view": "held_out_batches"}
    inside = secondary("in_distribution_accuracy", constant(0.8), **batches)
    outside = secondary("perturbation_accuracy", constant(0.6), seed=1, **batches)
    rule = rules(deciding(), inside, outside)["new_batches_are_harder"]
    assert rule["holds"] is True
    assert rule["numbers"][0]["unit"] == "chance-corrected accuracy"
    assert values(rule)["drop"] == pytest.approx(0.2, abs=0.03)
    assert plain["new_batches_are_harder"]["reason"] == "no view holds batches out at this margin"
    none = tidy(*exact_curve("flat"), view="held_out_batches")
    assert "add the view held_out_plates" in rules(deciding(), none)["new_batches_are_harder"]["reason"]
    two = inside[inside["seed"] < 2]
    assert "fewer than 3 seeds" in rules(deciding(), two, outside)["new_batches_are_harder"]["reason"]


@pytest.mark.parametrize(("elsewhere", "holds"), [(0.6, True), (0.79, False)])
def test_without_validation_rows_the_drop_is_from_held_out_plates_of_the_same_seeds(elsewhere, holds):
    plates = secondary("perturbation_accuracy", constant(0.8))
    batches = secondary("perturbation_accuracy", constant(elsewhere), seed=1, view="held_out_batches")
    rule = rules(deciding(), plates, batches)["new_batches_are_harder"]
    assert rule["holds"] is holds
    assert rule["numbers"][0]["unit"] == "chance-corrected accuracy against held-out plates"
    assert values(rule)["drop"] == pytest.approx(0.8 - elsewhere, abs=0.03)


def test_batch_removal_alone_would_choose_too_strong_a_correction(plain):
    rule = plain["technical_metrics_alone"]
    assert rule["holds"] is True
    assert rule["condition"].startswith("the goal is phenotype similarity")
    assert rule["then"] == "do not decide on batch-removal metrics alone"
    found = values(rule)
    assert found["best batch removal at λ ="] > found["recommended λ ="]
    assert found["biology lost there"] > 0.1
    assert rules(deciding("flat"))["technical_metrics_alone"]["holds"] is False


@pytest.mark.parametrize(("biology", "removal", "holds"), [(0.999, 0.9, True), (0.999, 0.6, False), (0.9, 0.9, False)])
def test_a_control_that_is_as_good_is_used_instead(biology, removal, holds):
    place = controls("held_out_plates", {"batch_standardised": (biology, removal)}, **NAMES)
    rule = rules(deciding(), place)["control_is_as_good"]
    assert rule["holds"] is holds
    assert [item["value"] for item in rule["numbers"][:2]] == pytest.approx([biology, removal])
    assert rules(deciding())["control_is_as_good"]["holds"] is None


@pytest.mark.slow
def test_retrieval_that_falls_within_and_across_is_over_correction(plain):
    assert "was not measured" in plain["retrieval_falls_within_and_across"]["reason"]
    falling, flat = SHAPES["plateau_drop"], constant(0.9)
    both = (secondary("activity_map", falling), secondary("within_batch_activity", falling, seed=1))
    rule = rules(deciding(), *both)["retrieval_falls_within_and_across"]
    assert rule["holds"] is True
    assert values(rule)["within-batch retrieval loses"] == pytest.approx(0.59, abs=0.06)
    kept = secondary("within_batch_activity", flat, seed=1)
    assert rules(deciding(), both[0], kept)["retrieval_falls_within_and_across"]["holds"] is False
    stuck = deciding(technical=constant(0.4))  # nothing is removed: not over-correction
    assert rules(stuck, *both)["retrieval_falls_within_and_across"]["holds"] is False
    noise = secondary("within_batch_activity", lambda x: 1.0 - 0.12 * (x > 1), sigma=0.3, seed=1)
    assert rules(deciding(), both[0], noise)["retrieval_falls_within_and_across"]["holds"] is False


@pytest.mark.parametrize(("across", "within", "holds"), [(0.1, 0.8, True), (0.7, 0.8, False), (0.1, 0.0, None)])
def test_retrieval_that_is_low_only_across_is_batch_or_misalignment(across, within, holds):
    extra = (
        secondary("activity_map", constant(across), sigma=1e-6),
        secondary("within_batch_activity", constant(within) if within else constant(-0.5), seed=1, sigma=1e-6),
    )
    rule = rules(deciding(), *extra)["retrieval_low_across_only"]
    assert rule["holds"] is holds
    assert "not over-correction" in rule["then"]


def test_within_batch_retrieval_that_was_lost_is_not_called_misalignment():
    extra = (
        secondary("activity_map", constant(0.05)),
        secondary("within_batch_activity", lambda x: 0.9 - 0.6 * (x > -9)),
    )
    assert rules(deciding(), *extra)["retrieval_low_across_only"]["holds"] is False


def sham(loss):
    rng = np.random.default_rng(11)
    arm = (0.0, *STRENGTHS[9:])
    made = sample(lambda x: 0.8 * (1 - loss * np.isfinite(x)), rng, strengths=arm, sigma=0.01)
    removal = sample(SHAPES["flat"], rng, strengths=arm, sigma=0.01)
    return tidy(made, removal, strengths=arm).assign(trainer="sham:abra")


@pytest.mark.parametrize(("loss", "holds"), [(0.4, True), (0.0, False)])
def test_a_sham_arm_that_loses_as_much_is_damage_to_the_training(loss, holds):
    rule = rules(deciding(), sham(loss))["sham_arm_loses_too"]
    assert rule["holds"] is holds
    assert values(rule)["loses"] == pytest.approx(loss, abs=0.03)
    assert rule["thresholds"][0]["value"] == pytest.approx(0.05)
    flat = rules(deciding("flat"), sham(loss))["sham_arm_loses_too"]
    assert (flat["holds"], "nothing to explain" in flat["reason"]) == (None, True)


def test_thresholds_are_settings():
    gap = secondary("accuracy_gap", constant(-0.1), view="held_out_batches")
    strict = SETTINGS.model_copy(update={"ready": ReadyThresholds(accuracy_drop=0.3)})
    rule = rules(deciding(), gap, settings=strict)["new_batches_are_harder"]
    assert rule["holds"] is False
    assert rule["thresholds"] == [{"setting": "accuracy_drop", "value": 0.3, "source": SOURCES["accuracy_drop"]}]
    assert "drops by 0.3 or more" in rule["condition"]


def test_a_curve_that_cannot_be_judged_measures_nothing_and_breaks_nothing():
    few = deciding()
    found = rules(few[few["adversarial_weight"].isin(STRENGTHS[:3])])
    assert {rule["holds"] for rule in found.values()} == {None}


def test_the_words_carry_verdict_and_numbers(plain):
    said = in_words(read(ReadyRule, plain["technical_metrics_alone"], "rule"))
    assert said.startswith(
        "If the goal is phenotype similarity, and the strength with the best batch removal has lost 10 %"
    )
    assert "then do not decide on batch-removal metrics alone. Holds here: best batch removal at λ = " in said
    assert "% of peak" in said
    assert in_words(read(ReadyRule, plain["sham_arm_loses_too"], "rule")).endswith(
        "Not measurable here: no sham arm (batch labels permuted) was trained at this margin."
    )
    text = printed(decide_sweep(deciding(), settings=SETTINGS, provenance={"trainer": "abra"}))
    assert "ready rules\n- If without correction" in text


def test_batch_removal_metrics_alone_are_refused_as_a_decision():
    technical = deciding().query("role == 'technical'")
    document = decide_sweep(technical, settings=SETTINGS, provenance={"trainer": "abra"}).to_json()
    assert document["rule"]["state"] == "INVALID_INPUT"
    assert document["rule"]["then"] == {"lambda_recommended": None, "lambda_max": None}
    assert document["sentence"] == (
        "No rule: no primary biological metric in the results; one group alone never decides."
    )
    with pytest.raises(InputError, match="one group alone never decides"):
        decide_table(technical)
