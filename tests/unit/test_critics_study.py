"""The study of critics: who is compared where, on hand-made runs."""

from __future__ import annotations

import pytest

from benchmarks import critics


def runs(weights, removed, biology, seconds=10.0):
    rows = [
        {
            "adversarial_weight": weight,
            "seed": seed,
            "status": "ok",
            "reader": 0.5,
            "removed": removed[weight] + 0.01 * seed,
            "biology": [biology[weight] + 0.1 * seed, biology[weight] + 0.1 * seed],
        }
        for weight in weights
        for seed in critics.SEEDS
    ]
    return {"seconds": seconds, "cells": len(rows), "rows": rows}


@pytest.fixture
def found(monkeypatch):
    monkeypatch.setattr(critics, "STRENGTHS", {"ridge": (1.0, 10.0), "kernel": (1.0, 10.0)})
    return {
        "none": runs((0.0,), {0.0: 0.4}, {0.0: 1.0}),
        "ridge": runs((1.0, 10.0), {1.0: 0.5, 10.0: 0.9}, {1.0: 1.0, 10.0: 0.5}),
        "kernel": runs((1.0, 10.0), {1.0: 0.6, 10.0: 0.8}, {1.0: 1.1, 10.0: 1.0}, seconds=25.0),
    }


def test_the_best_strength_is_the_most_removal_among_those_that_keep_biology(found):
    table = critics.compared(found)
    assert table["zero"]["T"] == pytest.approx(0.42)
    assert table["ridge"]["best"]["adversarial_weight"] == 1.0
    assert table["ridge"]["best"]["gain"] == pytest.approx(0.1)
    assert table["ridge"]["best"]["B_kept"] == pytest.approx(1.0)
    assert table["ridge"]["most"] == pytest.approx(0.92)
    assert table["kernel"]["best"]["adversarial_weight"] == 10.0
    assert table["kernel"]["times_ridge"] == 2.5


def test_a_strength_that_lost_a_run_is_never_the_best(found):
    lost = next(row for row in found["kernel"]["rows"] if row["adversarial_weight"] == 10.0)
    lost |= {"status": "collapsed", "reader": None, "removed": None, "biology": []}
    table = critics.compared(found)
    assert [level["runs"] for level in table["kernel"]["levels"]] == [5, 4]
    assert table["kernel"]["best"]["adversarial_weight"] == 1.0


def test_the_table_stands_between_its_markers(found):
    result = {"screens": {"one": critics.compared(found), "two": critics.compared({**found, "kernel": found["ridge"]})}}
    text = critics.with_table(f"a\n{critics.BEGIN}\nold\n{critics.END}\nb\n", result)
    assert "old" not in text
    assert (
        "| kernel | 0.820 (10; +0.400 ± 0.000; 1.00) · 0.820 | 0.520 (1; +0.100 ± 0.000; 1.00) · 0.920 | 1.0–2.5 |"
        in text
    )
    assert text.endswith(f"{critics.END}\nb\n")
