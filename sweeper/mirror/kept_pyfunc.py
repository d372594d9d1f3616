"""A kept model as an MLflow pyfunc. MLflow runs this file (models-from-code); nothing of it is pickled.

It travels with `kept_layers.py` and needs MLflow, NumPy, pandas and safetensors, and nothing of this project.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd


class KeptPyfunc(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """Features (and what they are normalised by) in, embedding out."""

    def load_context(self, context: Any) -> None:
        """Read the model; weights that are not its own are refused."""
        from safetensors.numpy import load

        folder = Path(context.artifacts["kept"])
        self.facts: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        weights = (folder / "weights.safetensors").read_bytes()
        if hashlib.sha256(weights).hexdigest() != self.facts["weights"]:
            raise ValueError("weights.safetensors is damaged: it is not what model.json was written with")
        self.arrays = load(weights)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """One row in, one row out; columns beside those it needs are ignored."""
        from kept_layers import kept_embedding  # type: ignore[import-not-found]  # in the model's own code folder

        groups = {name: model_input[name].to_numpy(dtype=str) for name in ("batch", "plate") if name in model_input}
        negative = model_input["control_type"] == "negative" if "control_type" in model_input else None
        found = kept_embedding(
            self.facts,
            self.arrays,
            model_input[self.facts["features"]].to_numpy(dtype=np.float32),
            groups=groups,
            negative=None if negative is None else negative.to_numpy(dtype=bool),
        )
        return pd.DataFrame(found, columns=self.facts["columns"], index=model_input.index)


mlflow.models.set_model(KeptPyfunc())
