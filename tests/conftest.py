"""What holds for every test, and for every process that one starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# The library that the panel is compared with brings umap-learn, which takes 15 s of every report.
os.environ["SWEEPER_UMAP"] = "0"


@pytest.fixture(scope="session", autouse=True)
def nothing_of_mlflow_is_left_where_tests_stand() -> Iterator[None]:
    """MLflow makes a store in the working directory for whoever asks it without an address: nothing of ours may."""
    left = [Path("mlflow.db").absolute(), Path("mlruns").absolute()]
    before = [path for path in left if path.exists()]
    yield
    assert [path for path in left if path.exists()] == before
