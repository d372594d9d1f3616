"""Versions of what computes."""

from __future__ import annotations

import importlib.metadata
import platform

VERSIONED = (
    "sweeper",
    "torch",
    "timm",
    "ray",
    "optuna",
    "mlflow",
    "scikit-learn",
    "copairs",
    "numpy",
    "pandas",
    "plotly",
)


def versions() -> dict[str, str]:
    """Versions of what computes: packages and Python."""
    found = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {"python": platform.python_version(), **found}
