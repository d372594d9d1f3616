"""Every remark, reached through `decide_sweep`: what is said first, and the step that follows from it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from decision_curves import SHAPES, controls, exact_curve, sample, technical_curve, tidy

from sweeper.decision import Decision, DecisionSettings, decide_sweep
from sweeper.decision.verdict.baselines import compare_baselines
from sweeper.decision.verdict.remarks import REMARKS, Remark

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=2000)
NAMES = {"names": ("retrieval_map",), "technical_names": ("batch_probe_linear",)}


def judged(*tables: pd.DataFrame) -> Decision:
    return decide_sweep(pd.concat(tables, ignore_index=True), settings=SETTINGS, provenance={"trainer": "abra"})


def untrained(**places: tuple[float, float]) -> pd.DataFrame:
    """Controls at (biology, batch removal), with a little noise between seeds."""
    made = controls("held_out_plates", places, seeds=5, **NAMES)
    return made.assign(value=made["value"] + np.random.default_rng(2).normal(0, 0.003, len(made)))


def constant(value: float, seed: int = 4) -> np.ndarray:
    return sample(lambda x: np.full(len(x), value), np.random.default_rng(seed), sigma=0.004)


def sham(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(trainer="sham:abra")


def two_metrics() -> pd.DataFrame:
    """One metric is lost a third of a decade before the other, which makes up most of the composite."""
    rng = np.random.default_rng(5)
    technical = sample(technical_curve, rng, sigma=0.004)
    sooner = sample(lambda x: SHAPES["plateau_drop"](x + 0.35), rng, sigma=0.004)
    early = tidy(0.3 * sooner, technical, names=("early",))
    late = tidy(sample(SHAPES["plateau_drop"], rng, sigma=0.004), technical, names=("late",))
    return pd.concat([early, late.query("role == 'biological'")], ignore_index=True)


def lossy() -> pd.DataFrame:
    return tidy(*exact_curve("plateau_drop"))


CASES: dict[Remark, tuple[list[pd.DataFrame], str, str]] = {  # tables, what is said, the next step
    Remark.BASELINE_AS_GOOD: (
        [lossy(), untrained(batch_standardised=(1.05, 0.95), raw=(1.0, 0.1))],
        "Standardising per batch does as well",
        "Use it, or try another encoder",
    ),
    Remark.ENCODER_LOST_BIOLOGY: (
        [lossy(), untrained(raw=(2.0, 0.1))],
        "the encoder has lost 50 % of the biology that the raw features hold",
        "Change the encoder",
    ),
    Remark.SAME_WITH_PERMUTED_LABELS: (
        [lossy(), sham(tidy(*exact_curve("flat")))],
        "not by removing batch: the same happens with permuted labels",
        "another critic or method",
    ),
    Remark.NOTHING_TO_REMOVE: (
        [tidy(exact_curve("plateau_drop")[0], constant(0.98))],
        "There is nothing to remove",
        "sweep again when plates are added",
    ),
    Remark.CORRECTION_IMPROVES_BIOLOGY: (
        [tidy(exact_curve("improving")[0], constant(0.5)), sham(tidy(constant(0.7), constant(0.5)))],
        "Correction improves biology",
        "Confirm it on fresh seeds",
    ),
    Remark.GAIN_NOT_ATTRIBUTED: ([lossy()], "is not known: no sham arm was trained near it", "Run the sham arm there"),
    Remark.NO_SAFE_GAIN: (
        [tidy(*exact_curve("plateau_drop", technical=lambda x: technical_curve(x - 2)))],
        "Batch removal improves only beyond what is safe",
        "add plates that tell batch from phenotype",
    ),
    Remark.METRIC_LOST_EARLIER: (
        [two_metrics()],
        "The metric early is lost before the composite",
        "the advice stays below",
    ),
    Remark.BATCH_STILL_READABLE: (
        [tidy(exact_curve("plateau_drop")[0], constant(0.5))],
        "The batch is still readable at every strength",
        "a critic that sees what readers see, another method, or a wider range",
    ),
}


@pytest.mark.parametrize("remark", CASES)
def test_remark(remark: Remark) -> None:
    tables, said, step = CASES[remark]
    decision = judged(*tables)
    assert remark in decision.rule.remarks.codes
    assert said in decision.sentence
    assert step in decision.sentence
    assert "schedule" not in decision.sentence
    assert Decision.from_json(json.loads(json.dumps(decision.to_json()))) == decision


def test_every_remark_has_a_case() -> None:
    assert set(CASES) == set(Remark) == set(REMARKS)


def test_what_is_first_comes_before_the_rule() -> None:
    for remark in (Remark.BASELINE_AS_GOOD, Remark.ENCODER_LOST_BIOLOGY, Remark.NOTHING_TO_REMOVE):
        tables, said, _ = CASES[remark]
        words = judged(*tables).sentence
        assert words.index(said) < words.index("If you train")


def test_nothing_to_remove_and_a_loss_advise_no_correction() -> None:
    decision = judged(*CASES[Remark.NOTHING_TO_REMOVE][0])
    assert decision.rule.state == "NO_TECHNICAL_EFFECT"
    assert decision.rule.advice.recommended == 0.0
    assert "then do not correct" in decision.sentence
    assert "Biology still loses 10 % or more" in decision.sentence


def test_a_baseline_that_lacks_in_one_group_is_not_as_good() -> None:
    for place in ((1.05, 0.5), (0.5, 1.0)):
        found = judged(lossy(), untrained(batch_standardised=place)).rule.remarks
        assert Remark.BASELINE_AS_GOOD not in found.codes
        assert [item.as_good for item in found.baselines.measured] == [False]


def test_references_of_the_scale_are_no_baselines() -> None:
    found = judged(lossy(), untrained(one_hot_jitter=(1.5, 1.0), random=(0.0, 1.0))).rule.remarks
    assert found.baselines is None


def test_baselines_are_compared_seed_by_seed() -> None:
    """Seeds differ by more than the methods do: paired, the difference is still seen."""
    seeds = np.linspace(0.4, 0.6, 5)
    jitter = np.array([1, -1, 1, -1, 1]) * 1e-4
    trained = {0.0: {"biological": seeds, "technical": seeds}, 3.0: {"biological": seeds, "technical": seeds}}
    worse = {"raw": {"biological": seeds - 0.01 + jitter, "technical": seeds + 0.01 + jitter}}
    found = compare_baselines(worse, trained, weight=3.0, delta=0.1, confidence=0.95)
    assert found is not None
    assert (found.best, found.measured[0].as_good) == (None, False)
    assert found.measured[0].biology.mean == pytest.approx(-0.01, abs=1e-3)
    assert found.encoder_loss == pytest.approx(-0.01 / 0.49, abs=2e-3)
    assert not found.encoder_lost
    missing = {"raw": {"biological": np.full(5, np.nan), "technical": seeds}}
    assert compare_baselines(missing, trained, weight=3.0, delta=0.1, confidence=0.95) is None
