"""Small screens with known effects, and the real one of nine batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.metrics.evaluation import Evaluation

JUMP = Path(__file__).resolve().parents[5] / "shared/data/jump_source3_poscon/jump_source3_poscon_image_features.csv.gz"


def _wells(
    *, batches: int = 4, plates: int = 2, perturbations: int = 8, replicates: int = 2, controls: int = 4, seed: int = 0
) -> pd.DataFrame:
    """Per plate: `replicates` wells of every perturbation and `controls` of DMSO, at random of 96 positions."""
    rng = np.random.default_rng(seed)
    positions = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
    labels = np.r_[np.repeat([f"p{i}" for i in range(perturbations)], replicates), np.repeat("dmso", controls)]
    frames = [
        pd.DataFrame(
            {
                "batch": f"b{batch}",
                "plate": f"b{batch}/{plate}",
                "well": rng.choice(positions, len(labels), replace=False),
                "perturbation": labels,
                "control_type": np.where(labels == "dmso", "negative", "treatment"),
                "target": [None if label == "dmso" else f"t{int(label[1:]) // 2}" for label in labels],
            }
        )
        for batch in range(batches)
        for plate in range(plates)
    ]
    wells = pd.concat(frames, ignore_index=True)
    row = wells["well"].str[0].map("ABCDEFGH".index) + 1
    return wells.assign(row=row.astype("Int64"), column=wells["well"].str[1:].astype("Int64"))


def _embed(
    wells: pd.DataFrame, *, biology: float = 0.0, batch: float = 0.0, noise: float = 1.0, e: int = 16, seed: int = 0
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """biology · (a direction a perturbation, none for DMSO) + batch · (one a batch) + noise; directions are fixed."""
    perturbation = np.unique(wells["perturbation"], return_inverse=True)[1]
    names = np.unique(wells["perturbation"])
    of_perturbation = np.random.default_rng(101).normal(size=(200, e))[: len(names)]
    of_perturbation[names == "dmso"] = 0.0
    of_batch = np.random.default_rng(102).normal(size=(200, e))[np.unique(wells["batch"], return_inverse=True)[1]]
    noise_rows = np.random.default_rng([seed, 7]).normal(size=(len(wells), e))
    rows = biology * of_perturbation[perturbation] + batch * of_batch + noise * noise_rows
    return rows.astype(np.float32)


def _evaluation(
    test: np.ndarray[Any, Any],
    test_wells: pd.DataFrame,
    train: np.ndarray[Any, Any] | None = None,
    train_wells: pd.DataFrame | None = None,
    validation: np.ndarray[Any, Any] | None = None,
    validation_wells: pd.DataFrame | None = None,
    **rest: Any,
) -> Evaluation:
    nothing, no_wells = np.empty((0, test.shape[1]), dtype=np.float32), test_wells.iloc[:0]
    return Evaluation(
        test=test,
        test_wells=test_wells,
        train=nothing if train is None else train,
        train_wells=no_wells if train_wells is None else train_wells,
        validation=nothing if validation is None else validation,
        validation_wells=no_wells if validation_wells is None else validation_wells,
        **{"view": "held_out_plates", "seed": 0, **rest},
    )


@pytest.fixture(scope="session")
def make_wells() -> Callable[..., pd.DataFrame]:
    """Build the table of a simulated screen."""
    return _wells


@pytest.fixture(scope="session")
def embed() -> Callable[..., np.ndarray[Any, Any]]:
    """Build an embedding with known effects."""
    return _embed


@pytest.fixture(scope="session")
def evaluation() -> Callable[..., Evaluation]:
    """Build an evaluation; train and validation are empty unless given."""
    return _evaluation


@pytest.fixture(scope="session")
def jump() -> tuple[np.ndarray[Any, Any], pd.DataFrame]:
    """(1800, 65) z-scored features and wells of the JUMP positive controls: 9 batches × 8 compounds."""
    if not JUMP.exists():
        pytest.skip(f"needs {JUMP}")
    table = pd.read_csv(JUMP)
    features = table.loc[:, [name for name in table.columns if not name.startswith("Metadata_")]].to_numpy()
    wells = pd.DataFrame(
        {
            "batch": table["Metadata_Batch"],
            "plate": table["Metadata_Plate"],
            "well": table["Metadata_Well"],
            "perturbation": table["Metadata_Compound"],
            "control_type": "positive",
        }
    )
    return ((features - features.mean(axis=0)) / features.std(axis=0)).astype(np.float32), wells
