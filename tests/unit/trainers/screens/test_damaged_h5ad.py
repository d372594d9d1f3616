"""HDF5 may loop or crash on a damaged file, where no exception can be caught: it is tried in a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from trainers.errors import InputError
from trainers.screens import matrices
from trainers.screens.matrices import read_matrix


@pytest.fixture
def path(tmp_path: Path) -> Path:
    obs = pd.DataFrame({"Metadata_Plate": ["a", "b"]}, index=["0", "1"])
    made = anndata.AnnData(np.ones((2, 3), dtype=np.float32), obs=obs)
    made.write_h5ad(tmp_path / "t.h5ad")
    return tmp_path / "t.h5ad"


def test_a_whole_file_is_read(path: Path) -> None:
    assert read_matrix(path, None).measured.shape == (2, 3)


def test_a_crash_of_the_library_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "_READ_TEXT", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(InputError, match=r"t\.h5ad: not a readable \.h5ad file \(damaged: HDF5 crashes on it\)"):
        read_matrix(path, None)


def test_a_read_that_does_not_end_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = subprocess.run

    def briefly(*given: Any, timeout: float, **named: Any) -> Any:
        assert timeout >= 30
        return whole(*given, timeout=0.5, **named)

    monkeypatch.setattr(matrices, "_READ_TEXT", "while True: pass")
    monkeypatch.setattr(matrices.subprocess, "run", briefly)
    with pytest.raises(InputError, match="reading its text does not end"):
        read_matrix(path, None)
