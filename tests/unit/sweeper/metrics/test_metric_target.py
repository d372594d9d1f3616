"""Metrics by target, and silhouettes of perturbations, against loops over pairs and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, average_precision_score, silhouette_score

from sweeper.metrics.biological.clustering import _clusters, label_ari, pasw
from sweeper.metrics.biological.target import nsc_accuracy, nscb_accuracy, target_recall, target_retrieval_map


def embed_targets(embed, wells, **effects):
    """Perturbations of one target share its direction."""
    renamed = wells.assign(perturbation=wells["target"].fillna("dmso"))
    return embed(renamed, **effects)


@pytest.mark.parametrize("across", [False, True])
def test_matching_equals_a_loop_over_wells(across, make_wells, embed, evaluation):
    wells = make_wells(perturbations=10)
    wells.loc[wells["perturbation"] == "p9", "target"] = None
    rows = embed_targets(embed, wells, biology=0.4, batch=0.4)
    similarity = 1 - cdist(rows, rows, "cosine")
    eligible = wells["target"].notna().to_numpy()
    hits: dict[str, list[bool]] = {}
    chances: dict[str, list[float]] = {}
    for i in np.flatnonzero(eligible):
        others = eligible & (wells["perturbation"] != wells["perturbation"][i]).to_numpy()
        if across:
            others &= (wells["batch"] != wells["batch"][i]).to_numpy()
        others = np.flatnonzero(others)
        same = (wells["target"][others] == wells["target"][i]).to_numpy()
        if same.any():
            hits.setdefault(wells["target"][i], []).append(same[np.argmax(similarity[i, others])])
            chances.setdefault(wells["target"][i], []).append(same.mean())
    raw, chance = (np.mean([np.mean(of_target) for of_target in found.values()]) for found in (hits, chances))
    found = (nscb_accuracy if across else nsc_accuracy)(evaluation(rows, wells))
    assert len(hits) == 4  # p8 lost its only companion
    assert found.raw == pytest.approx(raw)
    assert found.chance == pytest.approx(chance)
    assert found.value == pytest.approx((raw - chance) / (1 - chance))


def test_retrieval_equals_a_loop_over_wells(make_wells, embed, evaluation):
    """All that share the target are to be found, among other perturbations in other batches."""
    wells = make_wells(perturbations=10)
    rows = embed_targets(embed, wells, biology=0.4, batch=0.4)
    similarity = 1 - cdist(rows, rows, "cosine")
    known = wells["target"].notna().to_numpy()
    found: dict[str, list[float]] = {}
    for i in np.flatnonzero(known):
        elsewhere = (wells["perturbation"] != wells["perturbation"][i]) & (wells["batch"] != wells["batch"][i])
        others = np.flatnonzero(known & elsewhere.to_numpy())
        same = (wells["target"][others] == wells["target"][i]).to_numpy()
        found.setdefault(wells["target"][i], []).append(average_precision_score(same, similarity[i, others]))
    measured = target_retrieval_map(evaluation(rows, wells))
    assert measured.raw == pytest.approx(np.mean([np.mean(precisions) for precisions in found.values()]))
    assert 0 < measured.chance < measured.raw < 1
    assert 0 < measured.value < measured.raw


def test_the_gap_between_both_is_the_batch(make_wells, embed, evaluation):
    wells = make_wells(perturbations=12)
    whole = evaluation(embed_targets(embed, wells, biology=1, batch=3), wells)
    clean = evaluation(embed_targets(embed, wells, biology=1), wells)
    assert nsc_accuracy(whole).value > nscb_accuracy(whole).value + 0.1
    assert nsc_accuracy(clean).value == pytest.approx(nscb_accuracy(clean).value, abs=0.05)


def test_recall_equals_a_loop_over_pairs(make_wells, embed, evaluation):
    wells = make_wells(perturbations=24)
    rows = embed_targets(embed, wells, biology=0.3)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    names = sorted(set(wells["perturbation"]) - {"dmso"})
    centre = [np.median(unit[(wells["perturbation"] == name).to_numpy()], axis=0) for name in names]
    cosine = {(i, j): 1 - cdist([centre[i]], [centre[j]], "cosine")[0, 0] for i in range(24) for j in range(i + 1, 24)}
    low, high = np.percentile(list(cosine.values()), [5, 95])
    target = wells.drop_duplicates("perturbation").set_index("perturbation")["target"]
    known = [pair for pair in cosine if target[names[pair[0]]] == target[names[pair[1]]]]
    assert len(known) == 12
    recalled = np.mean([cosine[pair] <= low or cosine[pair] >= high for pair in known])
    found = target_recall(evaluation(rows, wells))
    assert found.raw == pytest.approx(recalled)
    assert found.chance == pytest.approx(0.1, abs=0.01)
    assert found.value == pytest.approx((recalled - found.chance) / (1 - found.chance))
    assert found.value > 0.3


@pytest.mark.parametrize("metric", [nsc_accuracy, nscb_accuracy, target_retrieval_map, target_recall])
def test_anchors(metric, make_wells, embed, evaluation):
    wells = make_wells(perturbations=40, replicates=1)
    noise = [metric(evaluation(embed(wells, seed=seed), wells)) for seed in range(16)]
    assert np.mean([found.value for found in noise]) == pytest.approx(0, abs=0.03)
    best = metric(evaluation(embed_targets(embed, wells, biology=20, e=32), wells))
    assert best.value == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("metric", [nsc_accuracy, nscb_accuracy, target_retrieval_map, target_recall])
def test_held_out_perturbations_alone_are_judged(metric, make_wells, embed, evaluation):
    """The held-out ones lose their target; training ones keep it and do not count."""
    wells = make_wells(perturbations=24)
    held_out = tuple(f"p{number}" for number in range(12))
    good, noise = embed_targets(embed, wells, biology=5), embed(wells)
    rows = np.where(wells["perturbation"].isin(held_out).to_numpy()[:, None], noise, good)
    other = np.where(wells["perturbation"].isin(held_out).to_numpy()[:, None], good, noise)
    held = {"held_out_perturbations": held_out}
    assert metric(evaluation(rows, wells, **held)).value < 0.25
    assert metric(evaluation(other, wells, **held)).value > 0.6


@pytest.mark.parametrize("metric", [nsc_accuracy, nscb_accuracy, target_retrieval_map, target_recall])
def test_targets_that_identify_nothing(metric, make_wells, embed, evaluation):
    wells = make_wells()
    rows = embed(wells)
    assert metric(evaluation(rows, wells.drop(columns="target"))).reason == "no targets among the test rows"
    alone = wells.assign(target=wells["target"].where(wells["target"].isna(), wells["perturbation"]))
    assert metric(evaluation(rows, alone)).value is None
    same = wells.assign(target=wells["target"].where(wells["target"].isna(), "t"))
    assert metric(evaluation(rows, same)).value is None


def test_perturbation_silhouette_equals_scikit_learn(make_wells, embed, evaluation):
    wells = make_wells()
    rows = embed(wells, biology=1)
    scored = (wells["control_type"] != "negative").to_numpy()
    found = pasw(evaluation(rows, wells))
    expected = silhouette_score(rows[scored], wells["perturbation"][scored])
    assert found.raw == found.value == pytest.approx((expected + 1) / 2, abs=1e-6)
    noise = pasw(evaluation(embed(wells), wells))
    assert noise.value == pytest.approx(noise.floor, abs=0.01)
    assert noise.floor < 0.5 < found.value


def test_ari_is_that_of_the_clusters(make_wells, embed, evaluation):
    wells = make_wells()
    whole = evaluation(embed(wells, biology=0.8), wells)
    assert label_ari(whole).value == pytest.approx(adjusted_rand_score(*_clusters(whole)))
    assert 0.2 < label_ari(whole).value < 1
