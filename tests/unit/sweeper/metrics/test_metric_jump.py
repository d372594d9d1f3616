"""Nine real batches: the numbers that an independent linear analysis of the same table gave.

| quantity | raw | batch means subtracted |
|---|---|---|
| batch accuracy, 5 folds of plates (chance .111) | .787 | .056 |
| cross-batch, other-well mAP, mean over wells (chance .101) | .231 | .245 |
| cross-batch, other-well 1-NN | .401 | .437 |
| compound accuracy, leaving one batch out (chance .125) | .669 | .722 |
"""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.metrics.biological.retrieval import replicate_ranking
from sweeper.metrics.classifier import balanced_accuracy, fit
from sweeper.metrics.gate import judge
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.registry import measure


@pytest.fixture(scope="module")
def centred(jump):
    rows, wells = jump
    rows = rows.copy()
    for batch in wells["batch"].unique():
        inside = (wells["batch"] == batch).to_numpy()
        rows[inside] -= rows[inside].mean(axis=0)
    return rows


def raw_values(rows, wells, evaluation, *names):
    whole = evaluation(rows, wells, options=PanelOptions(probe_groups="plate"))
    return [found.raw for _, found in measure(whole, names)]


def test_batch_probe(jump, centred, evaluation):
    rows, wells = jump
    assert raw_values(rows, wells, evaluation, "batch_probe_linear")[0] == pytest.approx(0.787, abs=0.03)
    assert raw_values(centred, wells, evaluation, "batch_probe_linear")[0] == pytest.approx(0.056, abs=0.03)


def test_retrieval(jump, centred, evaluation):
    rows, wells = jump
    for embedding, precision, neighbour in ((rows, 0.231, 0.401), (centred, 0.245, 0.437)):
        found = replicate_ranking(evaluation(embedding, wells))
        assert len(found.queries) == 1800
        assert found.precision.mean() == pytest.approx(precision, abs=0.001)
        assert found.expected.mean() == pytest.approx(0.101, abs=0.001)
        assert found.nearest.mean() == pytest.approx(neighbour, abs=0.012)


def test_retrieval_of_features_centred_on_their_plate(jump, evaluation):
    rows, wells = jump[0].copy(), jump[1]
    for inside in wells.groupby("plate").indices.values():
        rows[inside] -= rows[inside].mean(axis=0)
    assert replicate_ranking(evaluation(rows, wells)).precision.mean() == pytest.approx(0.232, abs=0.001)


def test_compound_accuracy(jump, centred):
    wells = jump[1]
    labels = np.unique(wells["perturbation"], return_inverse=True)[1]
    for embedding, expected in ((jump[0], 0.669), (centred, 0.722)):
        found = np.empty_like(labels)
        for batch in wells["batch"].unique():
            out = (wells["batch"] == batch).to_numpy()
            found[out] = fit(embedding[~out], labels[~out]).predict(embedding[out])
        assert balanced_accuracy(labels, found) == pytest.approx(expected, abs=0.02)


def test_centring_mixes_batches(jump, centred, evaluation):
    rows, wells = jump
    before, after = (raw_values(embedding, wells, evaluation, "batch_mixing_bras")[0] for embedding in (rows, centred))
    assert after > before + 0.08


def test_secondary_technical_metrics_see_the_centring(jump, centred, evaluation):
    names = ("batch_probe_knn", "batch_variance", "pcr", "cilisi", "ilisi")
    before, after = (
        {metric.name: (found.value - found.floor) / (found.ceiling - found.floor) for metric, found in measured}
        for measured in (measure(evaluation(rows, jump[1]), names) for rows in (jump[0], centred))
    )
    for name in names:
        assert after[name] > before[name] + 0.02, name
    assert after["batch_variance"] == pytest.approx(1)
    assert before["cilisi"] < 0.75


def test_the_table_has_not_collapsed(jump):
    assert judge(jump[0], own_units=True) == (None, ())
