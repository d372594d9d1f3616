"""Pictures of embeddings: what they show where the truth is known, and that they say when there is nothing to show."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from example_results import PLATE_COLUMNS, PLATE_ROWS, SimulatedEmbeddings, simulated_results

from dashboards.figures.embedding import describe_embeddings, draw_embeddings
from dashboards.figures.heatmap import SCALES
from dashboards.figures.lost import describe_lost
from dashboards.figures.style import (
    BIOLOGICAL,
    CATEGORIES,
    EFFECTIVE,
    INK,
    LOSS,
    MUTED,
    PAPER,
    SAFE,
    SAFE_INK,
    TECHNICAL,
    UNSAFE,
    dark_palette,
)
from dashboards.lost_first import lost_first
from dashboards.pictures import NOT_KEPT
from dashboards.position_effect import position_effect
from dashboards.projection import MOST_WELLS, has_umap, project
from dashboards.report import Page, build_page, render_report
from sweeper.decision import Decision
from sweeper.findings.stored_embeddings import EmbeddedRun
from sweeper.findings.unit_gains import Gains, gains

PLATES = "held_out_plates"
FEW = (0.0, 0.03, 0.1, 0.3, 1.0, 10.0, 100.0)
EVIL = "<img src=x onerror=alert(1)>"
LABELS = ("raw features", "recommended")


@pytest.fixture(scope="module")
def run() -> EmbeddedRun:
    return SimulatedEmbeddings().run(view=PLATES, margin=0.3, weights=[None, 1.0])


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return simulated_results(views=[PLATES], margins=[0.3], lambdas=FEW, seeds=3)


@pytest.fixture(scope="module")
def judged(table: pd.DataFrame, decide: Any) -> Decision:
    decision: Decision = decide(table)
    return decision


@pytest.fixture(scope="module")
def by_perturbation(table: pd.DataFrame) -> Gains:
    """P00 loses 0.3 from λ = 1 on, P01 0.2 from 10 on, P02 0.04 everywhere; the others gain."""
    cells = table[table["metric"] == "activity_map"]
    weight = cells["adversarial_weight"].fillna(0.0)
    steps = {
        "P00": np.where(weight >= 1.0, -0.3, 0.01),
        "P01": np.where(weight >= 10.0, -0.2, 0.01),
        "P02": np.where(weight > 0, -0.04, 0.0),
        EVIL: np.where(weight > 0, 0.02, 0.0),
    }
    parts = [
        cells.assign(axis="perturbation", unit=unit, wells=4, fold=0, value=(0.5 + step).astype("float32"))
        for unit, step in steps.items()
    ]
    units = pd.concat(parts, ignore_index=True)
    units = units.drop(columns=["role", "status", "primary", "floor", "ceiling", "raw", "chance", "reason"])
    return gains(units, table, trainer="abra", delta=0.1)


def test_the_plane_shows_the_batch_before_and_not_after(run: EmbeddedRun) -> None:
    planes = project(run, LABELS)
    codes = pd.factorize(pd.Series(planes.batches))[0]

    def share(plane: np.ndarray) -> float:
        means = np.stack([plane[codes == code].mean(axis=0) for code in np.unique(codes)])[codes]
        return float(((means - plane.mean(axis=0)) ** 2).sum() / ((plane - plane.mean(axis=0)) ** 2).sum())

    before, after = (share(plane) for plane in planes.planes)
    assert before > 0.7
    assert after < 0.1
    assert all(0 < (explained or 0) <= 1 for explained in planes.explained)
    assert "PCA of 192 of 192 held-out wells" in describe_embeddings(planes)


def test_the_plane_is_that_of_the_singular_vectors(run: EmbeddedRun) -> None:
    plane = project(run, LABELS).planes[0]
    centred = run.vectors[0] - run.vectors[0].mean(axis=0)
    covariance = np.linalg.eigh(np.cov(centred.T))
    expected = centred @ covariance.eigenvectors[:, ::-1][:, :2]
    for axis in (0, 1):
        assert abs(np.corrcoef(plane[:, axis], expected[:, axis])[0, 1]) > 0.999
    assert np.abs(plane).max() <= 1


def test_a_point_has_the_number_of_its_well_in_every_panel(run: EmbeddedRun) -> None:
    planes = project(run, LABELS, first=["P07"])
    assert planes.named_perturbations[0] == "P07"
    assert "DMSO" not in planes.named_perturbations
    figure = draw_embeddings(planes)
    for axis in ("x", "x2", "x3", "x4"):
        wells = [well for trace in figure.data if trace.xaxis == axis for well in trace.customdata]
        assert sorted(wells) == list(range(planes.wells))
    assert len(figure.layout.meta["linked"]) == planes.wells


def test_a_large_screen_is_thinned_the_same_way_each_time() -> None:
    rng = np.random.default_rng(0)
    count = 2 * MOST_WELLS
    wells = pd.DataFrame(
        {"batch": "B1", "perturbation": [f"P{i % 7}" for i in range(count)], "control_type": "treatment"}
    )
    vectors = tuple(rng.normal(size=(count, 3)).astype(np.float32) for _ in range(2))
    run = EmbeddedRun(0, "held_out_plates/0", wells, (None, 1.0), vectors)
    first, second = project(run, LABELS), project(run, LABELS)
    assert (first.wells, first.of) == (MOST_WELLS, count)
    assert first.perturbations == second.perturbations
    assert all(np.array_equal(a, b) for a, b in zip(first.planes, second.planes, strict=True))


def test_umap_is_drawn_where_it_is_installed(run: EmbeddedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class UMAP:
        def __init__(self, **options: Any) -> None:
            given.update(options)

        def fit_transform(self, vectors: np.ndarray) -> np.ndarray:
            return vectors[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    assert not has_umap(), "switched off"
    monkeypatch.setenv("SWEEPER_UMAP", "1")
    assert has_umap()
    planes = project(run, LABELS, method="UMAP")
    assert planes.explained == (None, None)
    assert given["random_state"] == 0, "the same picture each time"
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace())
    assert not has_umap(), "a folder of that name"


def test_the_position_effect_is_found_where_it_was_planted(run: EmbeddedRun) -> None:
    effect = position_effect(run, LABELS)
    before, after = effect.maps
    assert effect.wells == 192
    assert before.share > 3 * before.chance
    assert after.share < 2 * after.chance
    scores = np.array(before.scores, dtype=float)
    assert scores.shape == (PLATE_ROWS, PLATE_COLUMNS)
    assert abs(np.corrcoef(scores.mean(axis=0), np.arange(PLATE_COLUMNS))[0, 1]) > 0.95


def test_position_and_perturbation_that_are_one_are_not_told_apart() -> None:
    run = SimulatedEmbeddings(fixed=True).run(view=PLATES, margin=0.3, weights=[None, 1.0])
    effect = position_effect(run, LABELS)
    assert effect.maps == ()
    assert "cannot be told apart" in effect.reason
    unknown = run.wells.assign(row=pd.array([pd.NA] * len(run.wells), dtype="Int64"))
    effect = position_effect(EmbeddedRun(0, "", unknown, run.weights, run.vectors), LABELS)
    assert "no well says its row and column" in effect.reason


def test_perturbations_come_in_the_order_in_which_they_are_lost(by_perturbation: Gains) -> None:
    found = lost_first(by_perturbation, view=PLATES, margin=0.3, metric="activity_map", limit=0.1)
    assert found is not None
    assert [(item.unit, item.lost_from) for item in found.shown] == [("P00", 1.0), ("P01", 10.0), ("P02", None)]
    assert (found.lost, found.of) == (2, 4)
    assert found.shown[0].clear == (False, False, False, True, True, True)
    assert "2 of 4 perturbations are lost somewhere; first P00 from λ = 1; P01 from λ = 10." in describe_lost(found)
    assert lost_first(by_perturbation, view="official", margin=0.3, metric="activity_map", limit=0.1) is None


@pytest.fixture(scope="module")
def page(table: pd.DataFrame, judged: Decision, by_perturbation: Gains) -> Page:
    embeddings: Any = SimulatedEmbeddings(first=EVIL)
    return build_page(table, judged, {}, gains=by_perturbation, embeddings=embeddings)


def test_the_page_has_the_pictures_with_names_kept_as_text(page: Page) -> None:
    names = [chart.id for chart in page.charts]
    assert {"view0-embedding", "view0-lost", "view0-plates"} <= set(names)
    html = render_report(page)
    assert EVIL not in html
    assert [html.index(f'id="{name}"') for name in names] == sorted(html.index(f'id="{name}"') for name in names)


def test_a_page_without_embeddings_says_so(table: pd.DataFrame, judged: Decision) -> None:
    page = build_page(table, judged, {})
    assert not {"view0-embedding", "view0-lost", "view0-plates"} & {chart.id for chart in page.charts}
    html = render_report(page)
    assert html.count(NOT_KEPT) == 2
    assert "No values by perturbation were kept" in html


def test_every_colour_of_a_figure_has_a_counterpart_on_dark_paper(page: Page) -> None:
    palette = dark_palette()
    tints = tuple(key for key in palette if key.endswith(","))

    def colours(value: Any, key: str = "") -> list[str]:
        if isinstance(value, dict):
            return [found for name, inner in value.items() for found in colours(inner, name)]
        if isinstance(value, list):
            return [found for inner in value for found in colours(inner, key)]
        colour = isinstance(value, str) and ("color" in key or value.startswith(("#", "rgb")))
        return [value] if colour and key != "colorbar" else []

    used = {colour for chart in page.charts for colour in colours(json.loads(chart.json))}
    assert len(used) > 10
    transparent = "rgba(0,0,0,0)"
    assert {colour for colour in used if colour not in palette and not colour.startswith(tints)} <= {transparent}


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast of two "#RRGGBB"."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_words_and_marks_on_coloured_cells_stand_out(dark: bool) -> None:
    palette = {**dark_palette(), PAPER: "#14181D"} if dark else {PAPER: "#FFFFFF"}

    def seen(colour: str) -> str:
        return palette.get(colour, colour)

    for scale in SCALES.values():
        assert all(contrast(seen(INK), seen(colour)) >= 4.5 for _, colour in scale)
    assert contrast(seen(INK), seen(LOSS)) >= 3, "the dot of a clear loss"
    assert all(
        contrast(seen(colour), seen(PAPER)) >= 3 for colour in (*CATEGORIES, BIOLOGICAL, TECHNICAL, SAFE, UNSAFE)
    )
    assert all(contrast(seen(colour), seen(PAPER)) >= 4.5 for colour in (INK, MUTED, SAFE_INK, UNSAFE, EFFECTIVE))


def test_the_same_embeddings_give_the_same_bytes(
    page: Page, table: pd.DataFrame, judged: Decision, by_perturbation: Gains, tmp_path: Path
) -> None:
    embeddings: Any = SimulatedEmbeddings(first=EVIL)
    again = build_page(table.sample(frac=1.0, random_state=1), judged, {}, gains=by_perturbation, embeddings=embeddings)
    assert render_report(again) == render_report(page)
