"""T and B: anchored, averaged in the declared order, what is absent named."""

from __future__ import annotations

import math

import pytest

from sweeper.metrics.composites import BIOLOGICAL, TECHNICAL, anchored, composites
from sweeper.metrics.registry import REGISTRY

MEMBERS = {name for members in TECHNICAL.values() for names in members.values() for name in names}
MEMBERS |= {name for names in BIOLOGICAL.values() for name in names}


def row(metric, value, floor=0.0, ceiling=1.0, reason=None):
    return {"metric": metric, "value": value, "floor": floor, "ceiling": ceiling, "reason": reason}


def all_rows(**values):
    return [row(name, values.get(name, 0.5)) for name in sorted(MEMBERS)]


def test_every_member_is_a_metric_of_its_group_and_none_is_parity_or_guard():
    for role, names in (
        ("technical", {name for members in TECHNICAL.values() for part in members.values() for name in part}),
        ("biological", {name for part in BIOLOGICAL.values() for name in part}),
    ):
        for name in names:
            assert REGISTRY[name].role == role
            assert REGISTRY[name].standing in {"primary", "secondary"}, name


def test_anchoring():
    assert anchored(0.7, 0.2, 1.2) == pytest.approx(0.5)
    assert anchored(0.0, 0.2, 1.2) == pytest.approx(-0.2)
    assert math.isnan(anchored(0.5, 0.9, 0.9))


def test_means_over_parts_then_factors():
    found = composites(
        all_rows(
            batch_mixing_bras=1.0,
            cilisi=0.0,
            batch_variance=0.5,
            plate_variance=0.8,
            plate_cilisi=0.2,
            plate_reader=0.1,
            row_column_ridge=1.0,
        )
    )
    assert found.factors == pytest.approx({"batch": 0.5, "plate": 0.4, "row and column": 1.0})
    assert found.technical == pytest.approx((0.5 + 0.4 + 1.0) / 3)
    assert found.biological == pytest.approx(0.5)
    assert found.geometric == pytest.approx(math.sqrt(0.5 * found.technical))
    assert found.absent == {}


def test_the_strongest_reader_counts_and_the_worse_probe_where_there_is_none():
    probes = [row("batch_probe_linear", 0.9), row("batch_probe_knn", 0.2)]
    assert composites([*all_rows(batch_reader=0.7), *probes]).parts["batch: probe"] == pytest.approx(0.7)
    older = [line for line in all_rows() if line["metric"] != "batch_reader"]
    assert composites([*older, *probes]).parts["batch: probe"] == pytest.approx(0.2)
    assert composites([*older, probes[0]]).parts["batch: probe"] == pytest.approx(0.9)
    assert "batch: probe" in composites(older).absent


def test_parts_are_clipped_to_their_anchors():
    found = composites(all_rows(activity_map=-3.0, cilisi=1.7))
    assert found.parts["activity"] == 0.0
    assert found.parts["batch: local mixing"] == 1.0


def test_what_is_absent_is_left_out_and_named():
    rows = [line for line in all_rows(retrieval_map=0.9) if line["metric"] not in {"label_ami", "row_column_ridge"}]
    rows = [
        row("activity_map", None, reason="no negative controls") if r["metric"] == "activity_map" else r for r in rows
    ]
    rows = [row("batch_variance", 0.5, 1.0, 1.0) if r["metric"] == "batch_variance" else r for r in rows]
    rows = [row("cilisi", 0.5, None, None) if r["metric"] == "cilisi" else r for r in rows]
    found = composites(rows)
    assert found.biological == pytest.approx((0.9 + 0.5) / 2)
    assert "row and column" not in found.factors
    assert found.absent == {
        "batch: local mixing": "no floor below a ceiling is stated",
        "batch: variance": "no floor below a ceiling is stated",
        "row and column: ridge": "not measured",
        "activity": "no negative controls",
        "clusters": "not measured",
    }


def test_one_group_alone_has_no_geometric_mean():
    found = composites([row("retrieval_map", 0.5)])
    assert (found.technical, found.biological, found.geometric) == (None, 0.5, None)
    assert composites([]).biological is None
