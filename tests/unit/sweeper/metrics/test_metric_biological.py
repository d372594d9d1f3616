"""Retrieval, accuracy and clustering: perfect, at chance, misled, and not measurable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from sweeper.metrics.biological.accuracy import accuracy_gap, in_distribution_accuracy, perturbation_accuracy
from sweeper.metrics.biological.clustering import label_ami, label_ari, label_nmi
from sweeper.metrics.biological.fraction import activity_fraction
from sweeper.metrics.biological.retrieval import activity_map, nn_accuracy, retrieval_map, within_batch_activity
from sweeper.metrics.biological.target import target_consistency
from sweeper.metrics.panel_options import PanelOptions

TEST_ONLY = (activity_map, within_batch_activity, retrieval_map, nn_accuracy, label_nmi, label_ami, label_ari)


def one_hot(wells, columns=("perturbation",), noise=0.01):
    """A perfect embedding: one axis a perturbation; a little noise keeps rows apart."""
    code = np.unique(wells[list(columns)].astype(str).agg("/".join, axis=1), return_inverse=True)[1]
    rng = np.random.default_rng(0)
    return (np.eye(code.max() + 1)[code] + noise * rng.normal(size=(len(code), code.max() + 1))).astype(np.float32)


@pytest.mark.parametrize("metric", TEST_ONLY)
def test_perfect(metric, make_wells, evaluation):
    wells = make_wells()
    assert metric(evaluation(one_hot(wells), wells)).value == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("metric", TEST_ONLY)
def test_noise_is_at_the_floor(metric, make_wells, embed, evaluation):
    wells = make_wells()
    found = [metric(evaluation(embed(wells, seed=seed), wells)) for seed in range(24)]
    assert np.mean([one.value - one.floor for one in found]) == pytest.approx(0, abs=0.025)
    assert np.mean([one.raw - one.chance for one in found]) == pytest.approx(0, abs=0.025)


def test_within_and_across_batches_tell_the_failures_apart(make_wells, embed, evaluation):
    """Both low: phenotype lost. Within high, across low: batch left. Both high: neither."""
    wells = make_wells(perturbations=6)
    clean, batch, lost = (
        [metric(evaluation(embed(wells, **effects), wells)).value for metric in (within_batch_activity, activity_map)]
        for effects in ({"biology": 3}, {"biology": 3, "batch": 10}, {})
    )
    assert min(clean) > 0.9
    assert batch[0] > 0.5
    assert batch[1] < 0
    assert max(map(abs, lost)) < 0.2


def test_activity_within_a_batch_needs_a_second_plate(make_wells, evaluation):
    wells = make_wells(plates=1)
    found = within_batch_activity(evaluation(one_hot(wells), wells))
    assert found.value is None
    assert "another plate of its batch" in found.reason


@pytest.mark.parametrize("metric", [activity_map, retrieval_map])
def test_phenotype_misaligned_between_batches_is_no_phenotype(metric, make_wells, embed, evaluation):
    """Perturbations are perfect within a batch and swapped between batches: mixed, and wrong."""
    wells = make_wells(plates=1, replicates=4)
    swapped = wells.assign(
        perturbation=[
            label if label == "dmso" else f"p{(int(label[1:]) + 2 * int(batch[1:])) % 8}"
            for label, batch in zip(wells["perturbation"], wells["batch"], strict=True)
        ]
    )
    assert metric(evaluation(one_hot(swapped), wells)).value < 0.15


def test_a_batch_effect_pushes_activity_below_chance(make_wells, embed, evaluation):
    wells = make_wells()
    assert activity_map(evaluation(embed(wells, batch=5), wells)).value < -0.5
    assert retrieval_map(evaluation(embed(wells, batch=5), wells)).value > -0.1


def test_activity_without_controls(make_wells, embed, evaluation):
    wells = make_wells(controls=0)
    found = activity_map(evaluation(embed(wells), wells))
    assert (found.value, found.reason) == (None, "no negative controls among the test rows")


def test_activity_says_whose_controls_it_took(make_wells, evaluation):
    """One plate of four lacks controls: its queries take those of its batch."""
    wells = make_wells(batches=2)
    wells = wells[(wells["plate"] != "b0/0") | (wells["perturbation"] != "dmso")].reset_index(drop=True)
    found = activity_map(evaluation(one_hot(wells), wells))
    assert found.value == pytest.approx(1)
    assert found.reason == "16 of 64 queries took the controls of their batch: fewer than 2 on their plate"


def test_activity_needs_two_controls_somewhere(make_wells, evaluation):
    wells = make_wells(plates=1, controls=1)
    found = activity_map(evaluation(one_hot(wells), wells))
    assert found.value is None
    assert "2 negative controls" in found.reason


def fixed_layout(wells):
    return wells.assign(well="A" + wells["perturbation"].str[1:])


@pytest.mark.parametrize("metric", [activity_map, retrieval_map, nn_accuracy])
def test_a_fixed_layout_is_measured_only_on_request(metric, make_wells, evaluation):
    wells = fixed_layout(make_wells())
    found = metric(evaluation(one_hot(wells), wells))
    assert found.value is None
    assert "another well position (option different_wells)" in found.reason
    same_well = PanelOptions(different_wells=False)
    assert metric(evaluation(one_hot(wells), wells, options=same_well)).value == pytest.approx(1)


@pytest.mark.parametrize("metric", [activity_map, retrieval_map, nn_accuracy])
def test_one_batch_is_measured_across_plates_on_request(metric, make_wells, evaluation):
    wells = make_wells(batches=1, plates=3)
    found = metric(evaluation(one_hot(wells), wells))
    assert found.value is None
    assert "another batch" in found.reason
    across = PanelOptions(replicates_across="plate")
    assert metric(evaluation(one_hot(wells), wells, options=across)).value == pytest.approx(1)


@pytest.mark.parametrize("metric", TEST_ONLY)
def test_held_out_perturbations_alone_are_scored(metric, make_wells, evaluation):
    """Training perturbations fall on one point, held-out ones are perfect, and the other way round."""
    wells = make_wells()
    held_out = ("p1", "p4", "p6")
    merged = wells.assign(
        perturbation=wells["perturbation"].where(wells["perturbation"].isin([*held_out, "dmso"]), "p")
    )
    lost = wells.assign(perturbation=wells["perturbation"].where(~wells["perturbation"].isin(held_out), "dmso"))
    held = {"held_out_perturbations": held_out}
    assert metric(evaluation(one_hot(merged), wells, **held)).value == pytest.approx(1, abs=1e-6)
    found = metric(evaluation(one_hot(lost), wells, **held))
    assert found.value - found.floor < 0.15


def test_one_perturbation_has_nothing_to_be_told_from(make_wells, embed, evaluation):
    wells = make_wells(perturbations=1)
    for metric in (retrieval_map, nn_accuracy):
        assert metric(evaluation(embed(wells), wells)).reason.startswith("fewer than 2 perturbations")
    for metric in (label_nmi, label_ami):
        assert metric(evaluation(embed(wells), wells)).reason.startswith("fewer than 2 scored perturbations")
    assert activity_map(evaluation(one_hot(wells), wells)).value == pytest.approx(1)


def test_perturbations_with_one_well_are_left_out(make_wells, evaluation):
    wells = make_wells(batches=2, plates=1)
    alone = wells.iloc[[0]].assign(perturbation="alone")
    table = pd.concat([wells, alone], ignore_index=True)
    assert retrieval_map(evaluation(one_hot(table), table)).value == pytest.approx(1)


def test_nearest_neighbour_by_hand(evaluation):
    """Four wells on a circle: two find their replicate in the other batch first, two do not."""
    wells = pd.DataFrame(
        {
            "batch": ["x", "x", "y", "y"],
            "plate": ["x/0", "x/0", "y/0", "y/0"],
            "well": ["A01", "A02", "A03", "A04"],
            "perturbation": ["p", "q", "p", "q"],
            "control_type": "treatment",
        }
    )
    angle = np.array([0.0, 1.0, 0.3, 0.4])
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    found = nn_accuracy(evaluation(rows, wells))
    # p in x: nearest in y is p. q in x: nearest is q. p in y: nearest is p. q in y: nearest is p (0.4 against 0.6).
    assert found.raw == pytest.approx((1 + 0.5) / 2)
    assert (found.value, found.chance) == (pytest.approx(0.5), 0.5)


def test_accuracy_follows_the_phenotype(make_wells, embed, evaluation):
    wells = make_wells(replicates=4)

    def accuracy(biology, seed=0):
        train = embed(wells, biology=biology, seed=100 + seed)
        return perturbation_accuracy(evaluation(embed(wells, biology=biology, seed=seed), wells, train, wells))

    assert accuracy(10).value == 1
    assert np.mean([accuracy(0, seed).raw for seed in range(10)]) == pytest.approx(1 / 8, abs=0.02)
    assert accuracy(0.2).value < accuracy(0.5).value < accuracy(1).value
    assert accuracy(0).chance == 1 / 8


def test_accuracy_below_chance_is_negative(make_wells, evaluation):
    wells = make_wells()
    turned = wells.assign(
        perturbation=wells["perturbation"].map(
            lambda label: label if label == "dmso" else f"p{(int(label[1:]) + 1) % 8}"
        )
    )
    found = perturbation_accuracy(evaluation(one_hot(wells), wells, one_hot(turned), wells))
    assert found.raw == 0
    assert found.value == pytest.approx(-1 / 7)


def test_accuracy_judges_perturbations_of_the_training_rows_only(make_wells, evaluation):
    wells = make_wells()
    known = ~wells["perturbation"].isin(["p0", "p1"])
    train_wells = wells[known].reset_index(drop=True)
    test = one_hot(wells)
    found = perturbation_accuracy(evaluation(test, wells, test[known], train_wells))
    assert (found.value, found.chance) == (1, 1 / 6)
    unseen = wells[~known].reset_index(drop=True)
    unseen = unseen[unseen["perturbation"] != "dmso"].reset_index(drop=True)
    found = perturbation_accuracy(evaluation(one_hot(wells)[: len(unseen)], unseen, test[known], train_wells))
    assert found.reason == "no test row has a perturbation of the training rows"


def test_accuracy_needs_training_rows(make_wells, embed, evaluation):
    wells = make_wells()
    for metric in (perturbation_accuracy, in_distribution_accuracy, accuracy_gap):
        assert metric(evaluation(embed(wells), wells)).reason.startswith("fewer than 2 perturbations besides")


def test_gap_is_the_drop_between_validation_and_test(make_wells, embed, evaluation):
    wells = make_wells(replicates=4)
    train, validation = (embed(wells, biology=1, seed=seed) for seed in (1, 2))
    rows = embed(wells, biology=0.3, seed=3)
    whole = evaluation(rows, wells, train, wells, validation, wells)
    inside, outside, gap = in_distribution_accuracy(whole), perturbation_accuracy(whole), accuracy_gap(whole)
    assert inside.raw > outside.raw + 0.2
    assert gap.raw == pytest.approx(inside.raw - outside.raw)
    assert gap.value == -gap.raw
    assert (gap.floor, gap.ceiling) == (-7 / 8, 0)


def test_gap_without_validation_rows(make_wells, embed, evaluation):
    wells = make_wells()
    found = evaluation(embed(wells), wells, embed(wells, seed=1), wells)
    assert accuracy_gap(found).reason == "no training perturbation has wells both in validation and in test"
    assert in_distribution_accuracy(found).reason == "no validation row has a perturbation of the training rows"


def test_nmi_at_chance_is_far_from_zero_and_ami_is_not(make_wells, embed, evaluation):
    """4 wells a perturbation, 60 perturbations."""
    wells = make_wells(batches=4, plates=1, perturbations=60, replicates=1, controls=4)
    noise = evaluation(embed(wells), wells)
    nmi, ami = label_nmi(noise), label_ami(noise)
    assert nmi.raw > 0.6
    assert nmi.value == pytest.approx(nmi.floor, abs=0.03)
    assert ami.value == pytest.approx(0, abs=0.06)


def test_mutual_information_equals_scikit_learn_on_separable_clusters(make_wells, evaluation):
    """Perturbations merged in pairs: k-means splits the pairs as it likes, so its own clusters are compared."""
    from sweeper.metrics.biological.clustering import _clusters

    wells = make_wells()
    merged = wells.assign(perturbation=wells["target"].fillna("dmso"))
    found = evaluation(one_hot(merged), wells)
    labels, clusters = _clusters(found)
    assert len(np.unique(clusters)) == 8
    assert len(labels) == 128
    assert label_nmi(found).raw == pytest.approx(normalized_mutual_info_score(labels, clusters))
    assert label_ami(found).raw == pytest.approx(adjusted_mutual_info_score(labels, clusters))
    assert 0.6 < label_nmi(found).raw < 0.95


def test_a_constant_embedding_has_one_cluster(make_wells, evaluation):
    wells = make_wells()
    found = label_nmi(evaluation(np.ones((len(wells), 4), dtype=np.float32), wells))
    assert found.raw == pytest.approx(0, abs=1e-9)


def test_targets_found_through_shared_directions(make_wells, embed, evaluation):
    wells = make_wells(perturbations=12)
    by_target = wells.assign(perturbation=wells["target"].fillna("dmso"))
    found = target_consistency(evaluation(embed(by_target, biology=5, e=64), wells))
    assert found.value == pytest.approx(1)
    noise = [target_consistency(evaluation(embed(wells, seed=seed), wells)).value for seed in range(20)]
    assert abs(np.mean(noise)) < 0.08
    held_out = target_consistency(evaluation(embed(wells, biology=5, e=64), wells, held_out_perturbations=("p0",)))
    assert held_out.value < 1


def test_targets_that_are_absent_or_single(make_wells, embed, evaluation):
    wells = make_wells()
    assert target_consistency(evaluation(embed(wells), wells.assign(target=None))).reason.startswith("no targets")
    without = wells.drop(columns="target")
    assert target_consistency(evaluation(embed(wells), without)).reason.startswith("no targets")
    single = wells.assign(target=wells["perturbation"].where(wells["perturbation"] != "dmso"))
    assert target_consistency(evaluation(embed(wells), single)).reason.startswith("no scored perturbation shares")


def test_active_fraction(make_wells, embed, evaluation):
    """Half the perturbations have a phenotype; copairs' null finds them, and none in noise."""
    wells = make_wells(replicates=3, controls=8)
    rows = embed(wells)
    half = wells["perturbation"].isin(["p0", "p1", "p2", "p3"]).to_numpy()
    rows[half] = embed(wells, biology=3)[half]
    found = activity_fraction(evaluation(rows, wells), null_size=500)
    assert found["perturbation"].tolist() == [f"p{number}" for number in range(8)]
    assert found["active"].tolist() == [True] * 4 + [False] * 4
    assert found["queries"].tolist() == [24] * 8
    noise = activity_fraction(evaluation(embed(wells), wells), null_size=500)
    assert noise["active"].mean() == 0
    few = make_wells(batches=2, plates=1, replicates=1)
    assert activity_fraction(evaluation(embed(few), few), null_size=10).empty
