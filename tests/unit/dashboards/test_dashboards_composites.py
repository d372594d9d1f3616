"""T and B of the whole panel in the report: recomputed here from the table, drawn, and deciding nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dashboards.composite_curves import BASELINES, composite_view
from dashboards.records import checked
from dashboards.report import build_page, render_report
from sweeper.metrics.composites import composites

VIEW = "held_out_plates"
METRICS = {
    "batch_probe_linear": ("technical", True),
    "cilisi": ("technical", True),
    "plate_variance": ("technical", False),
    "retrieval_map": ("biological", True),
    "label_ami": ("biological", False),
}


def cell(rng: Any, trainer: str, weight: float | None, seed: int, fold: int, absent: tuple[str, ...] = ()) -> list[Any]:
    lines = []
    for metric, (role, primary) in METRICS.items():
        lines.append(
            {
                "cell_id": f"{trainer}-{weight}-{seed}-{fold}",
                "trainer": trainer,
                "adversarial_weight": weight,
                "margin": None if weight is None else 0.3,
                "seed": seed,
                "split": f"{VIEW}/{fold}",
                "view": VIEW,
                "metric": metric,
                "role": role,
                "value": np.nan if metric in absent else rng.uniform(0.2, 0.9),
                "status": "ok",
                "primary": primary,
                "floor": 0.1,
                "ceiling": 0.95,
                "raw": 0.5,
                "chance": 0.1,
                "reason": "not identifiable" if metric in absent else None,
            }
        )
    return lines


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    runs = [(seed, fold) for seed in range(3) for fold in range(2)]
    lines = [line for weight in (0.0, 1.0, 10.0) for run in runs for line in cell(rng, "abra", weight, *run)]
    lines += [line for run in runs for line in cell(rng, "control:raw", None, *run)]
    lines += [line for run in runs for line in cell(rng, "control:plate_control_centred", None, *run, ("label_ami",))]
    lines += [line for run in runs for line in cell(rng, "sham:abra", 1.0, *run)]
    return pd.DataFrame(lines)


def of_cell(table: pd.DataFrame, cell_id: str) -> Any:
    return composites(table[table["cell_id"] == cell_id].to_dict("records"))


def test_numbers_are_means_of_the_cells_and_differences_are_paired(table: pd.DataFrame) -> None:
    found = composite_view(checked(table), view=VIEW, margins=(0.3,))
    assert found is not None
    assert [row.adversarial_weight for row in found.rows] == [0.0, 1.0, 10.0]
    row = found.rows[1]
    for place, role in enumerate(("technical", "biological")):
        own = np.array([[getattr(of_cell(table, f"abra-1.0-{s}-{f}"), role) for f in range(2)] for s in range(3)])
        raw = np.array(
            [[getattr(of_cell(table, f"control:raw-None-{s}-{f}"), role) for f in range(2)] for s in range(3)]
        )
        seeds, paired = own.mean(axis=1), (own - raw).mean(axis=1)
        assert row.composites[place].mean == pytest.approx(seeds.mean())
        assert row.composites[place].sd == pytest.approx(seeds.std(ddof=1))
        assert row.differences[0][place].mean == pytest.approx(paired.mean())
        assert row.differences[0][place].sd == pytest.approx(paired.std(ddof=1))
        level = found.curves[place].lines[0][1][1]
        assert (level.mean, len(level.seeds)) == (pytest.approx(seeds.mean()), 3)


def test_a_baseline_that_lacks_a_part_is_not_compared_with(table: pd.DataFrame) -> None:
    found = composite_view(checked(table), view=VIEW, margins=(0.3,))
    assert found is not None
    assert set(BASELINES) == {"raw", "plate_control_centred"}
    assert found.baselines == ("raw",)
    assert "row and column: ridge" in found.absent
    assert not found.unequal


def test_nothing_trained_or_measured_is_none(table: pd.DataFrame) -> None:
    assert composite_view(checked(table), view="held_out_batches", margins=(0.3,)) is None
    assert composite_view(checked(table.assign(value=np.nan)), view=VIEW, margins=(0.3,)) is None
    assert composite_view(checked(table[table["trainer"] == "control:raw"]), view=VIEW, margins=(0.3,)) is None


@pytest.mark.slow
def test_the_page_shows_them_as_deciding_nothing(
    results: pd.DataFrame, decision: dict[str, Any], tmp_path: Path
) -> None:
    page = build_page(results, decision, {})
    assert all(section.composites for section in page.sections)
    document = render_report(page)
    assert "T and B of the whole panel" in document
    assert "they decide nothing, and they are never added up" in document
    assert "Not in them: batch: mixing" in document
