"""The panel's numbers are those of scib-metrics, to 1e-4, and where they differ on purpose the test says how.

The designs are random but of few sizes: JAX compiles anew for every shape.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper.metrics.biological.clustering import pasw
from sweeper.metrics.neighbours import neighbours
from sweeper.metrics.technical.connectivity import graph_connectivity, graph_connectivity_directed
from sweeper.metrics.technical.kbet import kbet_controls
from sweeper.metrics.technical.lisi import cilisi, ilisi, lisi
from sweeper.metrics.technical.mixing import batch_mixing_bras
from sweeper.metrics.technical.silhouette import asw_batch, tasw_batch, tasw_column, tasw_row
from sweeper.metrics.technical.variance import batch_variance, pcr

SIZES = (32, 32, 8, 8, 8, 4, 2, 1, 1)
"""Wells of every perturbation: unbalanced, two of them alone."""
SHARES = {"one": [1.0], "balanced": [0.25] * 4, "unbalanced": [0.7, 0.1, 0.1, 0.1]}
TOLERANCE = 1e-4

fixed = settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Reference = Callable[..., Any]


@pytest.fixture(scope="module")
def scib() -> Iterator[Reference]:
    """Call scib-metrics in its own process."""
    if importlib.util.find_spec("scib_metrics") is None:
        pytest.skip("needs the extra metrics-reference")
    ours, theirs = Pipe()
    server = Path(__file__).with_name("scib_metrics_server.py")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(
        [sys.executable, server, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=environment
    ) as process:
        theirs.close()

        def call(name: str, *arguments: Any, **options: Any) -> Any:
            ours.send((name, arguments, options))
            found = ours.recv()
            if isinstance(found, Exception):
                raise found
            return found

        yield call
        ours.close()
        process.wait(timeout=30)


@st.composite
def screens(
    draw: st.DrawFn, batches: tuple[str, ...] = ("balanced", "unbalanced"), ties: bool = True
) -> tuple[Any, pd.DataFrame]:
    """An irregular screen of 96 wells without controls and an embedding, in half of them on a coarse grid."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shares = SHARES[draw(st.sampled_from(batches))]
    label = rng.permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    batch = rng.choice(len(shares), len(label), p=shares)
    batch[np.flatnonzero(label == 0)[: len(shares)]] = np.arange(len(shares))
    row, column = rng.integers(0, 4, len(label)), rng.integers(0, 4, len(label))
    wells = pd.DataFrame(
        {
            "batch": [f"b{number}" for number in batch],
            "plate": [f"b{number}" for number in batch],
            "well": [f"{'ABCD'[r]}{c + 1:02d}" for r, c in zip(row, column, strict=True)],
            "perturbation": [f"p{number}" for number in label],
            "control_type": "treatment",
            "row": row,
            "column": column,
        }
    )
    biology, effect = draw(st.sampled_from([0.0, 1.0])), draw(st.sampled_from([0.0, 0.5, 2.0]))
    rows = rng.normal(size=(len(label), 8))
    rows += biology * rng.normal(size=(len(SIZES), 8))[label] + effect * rng.normal(size=(4, 8))[batch]
    if ties and draw(st.booleans()):
        rows[:, 2:] = np.round(rows[:, 2:] / 3)  # steps of 3: most rows have others at the very same distance
        rows[:, :2] = np.round(rows[:, :2])
    return rows.astype(np.float32) + np.float32(3), wells


def with_self(index: Any, distance: Any) -> tuple[Any, Any]:
    """Neighbours as scib-metrics keeps them: the well itself first."""
    own = np.arange(len(index))[:, None]
    return np.hstack([own, index]), np.hstack([np.zeros(own.shape), distance]).astype(np.float32)


@fixed
@given(screens())
def test_silhouettes(scib, evaluation, drawn):
    rows, wells = drawn
    found = evaluation(rows, wells)
    perturbation, batch = (wells[column].to_numpy() for column in ("perturbation", "batch"))
    assert pasw(found).raw == pytest.approx(scib("silhouette_label", rows, perturbation), abs=TOLERANCE)
    for metric, column in ((tasw_batch, "batch"), (tasw_row, "row"), (tasw_column, "column")):
        s = scib("silhouette_label", rows, wells[column].to_numpy(), rescale=False)
        assert metric(found).raw == pytest.approx(s, abs=TOLERANCE)
        assert metric(found).value == pytest.approx((1 - s) / 2, abs=TOLERANCE)
    assert asw_batch(found).raw == pytest.approx(scib("silhouette_batch", rows, perturbation, batch), abs=TOLERANCE)
    assert batch_mixing_bras(found).raw == pytest.approx(scib("bras", rows, perturbation, batch), abs=TOLERANCE)


@fixed
@given(screens())
def test_lisi(scib, evaluation, drawn):
    rows, wells = drawn
    found = evaluation(rows, wells)
    batch = wells["batch"].to_numpy()
    near = with_self(*neighbours(rows, 89))
    codes = found.code("batch")
    np.testing.assert_allclose(lisi(rows, [codes])[0], scib("lisi", *near, batch), atol=TOLERANCE)
    assert ilisi(found).raw == pytest.approx(scib("ilisi", *near, batch), abs=TOLERANCE)
    scaled = []
    for _, inside in wells.groupby("perturbation"):
        own = inside["batch"].to_numpy()
        if len(own) >= 10 and len(np.unique(own)) > 1:
            near = with_self(*neighbours(rows[inside.index], len(own) - 1))
            scaled.extend((scib("lisi", *near, own) - 1) / (len(np.unique(own)) - 1))
    assert cilisi(found).raw == pytest.approx(np.mean(scaled), abs=TOLERANCE)


@fixed
@given(screens())
def test_kbet(scib, evaluation, drawn):
    """Neighbours as the metric's definition says; the well itself is none of them."""
    rows, wells = drawn
    wells = wells.assign(control_type="negative", perturbation="dmso")
    near = neighbours(rows, max(10, len(rows) // (4 * wells["batch"].nunique())))
    reference = scib("kbet", *near, wells["batch"].to_numpy())
    assert kbet_controls(evaluation(rows, wells)).raw == pytest.approx(reference, abs=TOLERANCE)


def connectivity(scib: Reference, name: str, rows: Any, wells: pd.DataFrame) -> float:
    """Without the perturbations of one well, which both libraries count as connected and the panel leaves out."""
    found = scib(name, *with_self(*neighbours(rows, 14)), wells["perturbation"].to_numpy())
    alone = SIZES.count(1)
    return float((found * len(SIZES) - alone) / (len(SIZES) - alone))


@fixed
@given(screens(batches=tuple(SHARES)))
def test_connectivity_of_scib_metrics(scib, evaluation, drawn):
    rows, wells = drawn
    found = graph_connectivity_directed(evaluation(rows, wells))
    assert found.raw == pytest.approx(connectivity(scib, "directed", rows, wells), abs=TOLERANCE)


@fixed
@given(screens(batches=tuple(SHARES), ties=False))
def test_connectivity_of_scib(scib, evaluation, drawn):
    """Without ties: where most neighbours of a well are at one distance, UMAP's weight of the others rounds to 0."""
    rows, wells = drawn
    found = graph_connectivity(evaluation(rows, wells))
    assert found.raw == pytest.approx(connectivity(scib, "undirected", rows, wells), abs=TOLERANCE)


@fixed
@given(screens())
def test_principal_component_regression(scib, evaluation, drawn):
    rows, wells = drawn
    reference = scib("pcr", rows, wells["batch"].to_numpy(), categorical=True)
    found = evaluation(rows, wells)
    assert pcr(found).raw == pytest.approx(reference, abs=TOLERANCE)
    assert batch_variance(found).raw == pytest.approx(reference, abs=TOLERANCE)


def test_principal_component_regression_of_a_wide_embedding_takes_50_components(scib, evaluation, make_wells, embed):
    wells = make_wells()
    rows = embed(wells, biology=1, batch=1, e=70)
    reference = scib("pcr", rows, wells["batch"].to_numpy(), categorical=True, n_components=50)
    assert pcr(evaluation(rows, wells)).raw == pytest.approx(reference, abs=TOLERANCE)


@settings(fixed, max_examples=3)
@given(screens(batches=("one",)))
def test_one_batch_is_a_number_there_and_not_identifiable_here(scib, evaluation, drawn):
    rows, wells = drawn
    found = evaluation(rows, wells)
    label, batch = wells["perturbation"].to_numpy(), wells["batch"].to_numpy()
    np.testing.assert_allclose(scib("lisi", *with_self(*neighbours(rows, 89)), batch), 1, atol=TOLERANCE)
    assert np.isfinite(scib("pcr", rows, batch, categorical=True))
    for name in ("silhouette_batch", "bras"):
        with pytest.raises(ValueError, match="No objects to concatenate"):
            scib(name, rows, label, batch)
    for metric in (ilisi, cilisi, pcr, asw_batch, batch_mixing_bras, tasw_batch, kbet_controls):
        assert metric(found).value is None
        assert metric(found).reason.startswith("not identifiable")
    assert pasw(found).raw == pytest.approx(scib("silhouette_label", rows, label), abs=TOLERANCE)


def test_a_collapsed_perturbation_is_mixed_in_both(scib, evaluation, make_wells, embed):
    """All wells of a perturbation at one point: no batch is apart, in either; the gate is what refuses it."""
    wells = make_wells(perturbations=2)
    rows = embed(wells, biology=1)
    inside = (wells["perturbation"] == "p0").to_numpy()
    rows[inside] = rows[inside][0]
    label, batch = (wells[column].to_numpy() for column in ("perturbation", "batch"))
    found = evaluation(rows, wells)
    assert asw_batch(found).raw == pytest.approx(scib("silhouette_batch", rows, label, batch), abs=TOLERANCE)
