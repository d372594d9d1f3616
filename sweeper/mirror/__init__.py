"""The MLflow mirror of a store."""

from pathlib import Path


def kept_pyfunc_path() -> Path:
    """The file that MLflow runs to make a kept model; it is never imported."""
    return Path(__file__).with_name("kept_pyfunc.py")
