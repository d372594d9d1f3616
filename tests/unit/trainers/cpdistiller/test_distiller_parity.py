"""The study beside the public code: what it does without a checkout, and what its committed result must show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--checkout", "nowhere"]])
def test_without_a_checkout_it_says_so_and_ends(arguments: list[str]) -> None:
    before = (BENCHMARKS / "cpdistiller_parity.json").read_bytes()
    command = [sys.executable, BENCHMARKS / "cpdistiller_parity.py", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("skipped: give a checkout of github.com/BioX-NKU/cpDistiller")
    assert (BENCHMARKS / "cpdistiller_parity.json").read_bytes() == before


def test_the_committed_losses_and_gradients_are_those_of_the_public_code() -> None:
    result = json.loads((BENCHMARKS / "cpdistiller_parity.json").read_text())
    assert "simulated" in result["tables"]
    for name, found in result["tables"].items():
        assert set(found["losses"]) == {"vae", "triplets", "batch", "row", "column", "total"}
        for loss in found["losses"].values():
            assert abs(loss["ours"] - loss["public"]) < 1e-4 * abs(loss["public"]), name
        assert found["gradients"]["largest_relative_difference"] < 1e-4, name
