"""One simulated sweep and its decision, shared by the tests of the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweeper.decision import Decision, DecisionSettings, decide_sweep

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported by path; this folder's helper by name

from example_results import simulated_results

Decide = Callable[..., Decision]


def _decide(
    results: pd.DataFrame, *, view: str = "held_out_plates", fresh: Sequence[int] = (), **settings: Any
) -> Decision:
    chosen = DecisionSettings(**({"deciding_view": view, "draws": 400, "method": "bracket"} | settings))
    provenance = {"trainer": "abra", "dataset_hash": "sha256:00", "confirm_seeds": list(fresh)}
    return decide_sweep(results, settings=chosen, provenance=provenance)


@pytest.fixture(scope="session")
def decide() -> Decide:
    """Decide on a table with few draws."""
    return _decide


@pytest.fixture(scope="session")
def results() -> pd.DataFrame:
    """Two views, two margins; every run at the largest λ is lost, and one metric is unmeasurable."""
    lost = {(100.0, 0): "collapsed", (100.0, 1): "failed", (100.0, 2): "oom", (100.0, 3): "oom", (100.0, 4): "failed"}
    return simulated_results(lost=lost, unmeasured=("label_nmi",))


@pytest.fixture(scope="session")
def decision(results: pd.DataFrame) -> Decision:
    """The decision on `results`."""
    return _decide(results)
