from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data"


@pytest.fixture
def profiles() -> pd.DataFrame:
    """3 batches × 2 plates × 6 wells in the Metadata_* convention; every batch names its plates alike."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "Metadata_Batch": f"E{batch}",
            "Metadata_Plate": f"Plate{plate}",
            "Metadata_Well": well,
            "Metadata_Perturbation": name,
            "Metadata_pert_type": kind,
            "Metadata_moa": moa,
            "Metadata_Source": f"site_{batch % 2}",
        }
        for batch in (1, 2, 3)
        for plate in (1, 2)
        for well, name, kind, moa in (
            ("A01", "alpha", "trt", "kinase"),
            ("A02", "beta", "trt", "kinase"),
            ("B01", "gamma", "trt", None),
            ("B02", "DMSO", "negcon", None),
            ("C01", "DMSO", "negcon", None),
            ("C02", "omega", "poscon_cp", None),
        )
    ]
    frame = pd.DataFrame(rows)
    for name in ("AreaShape", "Texture", "Count"):
        frame[name] = rng.standard_normal(len(frame)).astype(np.float32)
    return frame


@pytest.fixture
def jump() -> Path:
    """The real JUMP table, if it lies beside the project."""
    path = SHARED / "jump_source3_poscon" / "jump_source3_poscon_image_features.csv.gz"
    if not path.exists():
        pytest.skip(f"real data absent: {path}")
    return path


@pytest.fixture
def wells() -> Callable[..., pd.DataFrame]:
    """A factory of balanced wells tables: every perturbation on every plate, in as many positions as asked."""

    def build(batches: int = 4, plates: int = 3, perturbations: int = 6, positions: int = 2) -> pd.DataFrame:
        rows = [
            {
                "batch": f"b{batch}",
                "plate": f"b{batch}p{plate}",
                "well": f"{'ABCDEFGH'[place]}{number + 1:02d}",
                "perturbation": "DMSO" if number == perturbations else f"x{number}",
                "control_type": "negative" if number == perturbations else "treatment",
                "target": pd.NA if number == perturbations else f"t{number // 2}",
                "cell_type": f"c{batch % 2}",
            }
            for batch in range(batches)
            for plate in range(plates)
            for number in range(perturbations + 1)
            for place in range(positions)
        ]
        return pd.DataFrame(rows).astype({"target": "string", "cell_type": "string"})

    return build
