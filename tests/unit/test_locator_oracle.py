"""The best possible test: its formula against draws, and what less knowledge costs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from benchmarks.locator import oracle


@pytest.fixture(scope="module")
def drawn():
    return oracle.means(oracle.NULL, 1500), oracle.means(oracle.LOSS, 1500)


def test_the_likelihood_ratio_has_the_stated_false_alarms_and_power(drawn):
    null, loss = (oracle.statistic(y) for y in drawn)
    error = 4 / np.sqrt(len(null))
    assert (null.mean(), null.std()) == (pytest.approx(0, abs=error), pytest.approx(1, abs=error))
    assert loss.mean() == pytest.approx(oracle.distance(level_known=False), abs=error)
    limit = ndtri(0.95)
    expected = ndtr(oracle.distance(level_known=False) - limit)
    assert (loss > limit).mean() == pytest.approx(expected, abs=error / 2)


def test_the_less_is_known_the_less_is_seen(drawn):
    null, loss = (oracle.by_family(y) for y in drawn)
    by_family = (loss > np.quantile(null, 0.95)).mean()
    known, estimated = (ndtr(oracle.distance(level_known=level) - ndtri(0.95)) for level in (True, False))
    assert 0.5 < by_family < estimated + 0.02 < known


def test_the_family_statistic_is_of_the_better_fitting_side(drawn):
    null, loss = drawn
    assert np.median(oracle.by_family(null)) < np.median(oracle.by_family(loss))


def test_the_table_has_a_row_for_each_oracle_and_price(tmp_path, monkeypatch):
    monkeypatch.setattr(oracle, "DRAWS", 50)
    found = oracle.measure(tmp_path)
    assert len(oracle.table(found)) == 5  # the locator has not been run
    found["methods"]["locator"] = {"power": [0.1, 0.2, 0.3], "limits": [0.9, 0.8, 0.7], "repetitions": 50}
    found["reported"] = [{"setting": "s", "shape": "drop", "repetitions": 50, "share": [0.1, 0.2, 0.3, 0.4]}]
    assert "0.200 ± 0.057" in oracle.table(found)[5]
    assert oracle.table(found)[-1].startswith("| s, drop | 50 | 0.100 ± 0.042 |")
    text = oracle.with_table(f"before\n{oracle.BEGIN}\nold\n{oracle.END}\nafter", found)
    assert "old" not in text
    assert text.endswith("\nafter")
