"""Kept models in MLflow: each a logged model of the sweep's parent run, registered under the sweep's name.

Through `MlflowClient` alone, and safe to repeat: a model is found again by its identity.
"""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trainers.kept_layers
from sweeper.mirror import kept_pyfunc_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

ADVISED = "advised"
IDENTITY = "sweeper.model"
REQUIRED = ("mlflow", "numpy", "pandas", "safetensors")
EXAMPLE_ROWS = 4


@dataclass(frozen=True, kw_only=True)
class MirroredModel:
    """A kept model in plain values.

    Attributes:
        folder: of the model.
        name: its name, for people.
        identity: finds it again.
        features: the columns that it reads, `groups` those that rows are grouped by, `columns` those it gives.
        advised: it gets the alias.
        params, tags: shown beside it.
        example: a few rows that it can be tried on: column → values.
    """

    folder: Path
    name: str
    identity: str
    features: tuple[str, ...]
    groups: tuple[str, ...]
    columns: tuple[str, ...]
    advised: bool
    params: Mapping[str, str]
    tags: Mapping[str, str]
    example: Mapping[str, Sequence[Any]]


def log_models(
    client: MlflowClient, models: Sequence[MirroredModel], *, experiment: str, run: str, registered: str
) -> None:
    """Log what is not there yet, register it, and let the alias `advised` follow the decision."""
    from mlflow.exceptions import MlflowException

    name = _allowed(registered)
    advised: str | None = None
    for model in models:
        logged = _found(client, model, experiment) or _logged(client, model, experiment, run)
        version = _version(client, name, logged, model, run)
        advised = version if model.advised else advised
    if advised is not None:
        client.set_registered_model_alias(name, ADVISED, advised)
        return
    try:  # nothing is advised any more; an alias of an earlier decision would still be loaded
        client.delete_registered_model_alias(name, ADVISED)
    except MlflowException:
        return


def save_pyfunc(model: MirroredModel, path: Path) -> None:
    """The model as an MLflow pyfunc in a folder of its own: code, signature, input example, requirements."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains of its own type hints while it is imported
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema, TensorSpec

    inputs: list[ColSpec | TensorSpec] = [ColSpec("string", name) for name in model.groups]
    inputs += [ColSpec("double", name) for name in model.features]
    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(kept_pyfunc_path()),
        code_paths=[str(trainers.kept_layers.__file__)],
        artifacts={"kept": str(model.folder)},
        signature=ModelSignature(Schema(inputs), Schema([ColSpec("float", name) for name in model.columns])),
        input_example=pd.DataFrame(dict(model.example)),
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIRED],
    )


def _allowed(name: str) -> str:
    """In the characters that MLflow allows in the name of a model."""
    return re.sub(r"[/:.%\"']", "_", name)


def _found(client: MlflowClient, model: MirroredModel, experiment: str) -> LoggedModel | None:
    wanted = f"tags.`{IDENTITY}` = '{model.identity}'"
    found = client.search_logged_models([experiment], filter_string=wanted)
    return next((each for each in found if str(each.status) in ("READY", "LoggedModelStatus.READY")), None)


def _logged(client: MlflowClient, model: MirroredModel, experiment: str, run: str) -> LoggedModel:
    tags = {**model.tags, IDENTITY: model.identity}
    made = client.create_logged_model(
        experiment, name=_allowed(model.name), source_run_id=run, tags=tags, params={**model.params}
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            save_pyfunc(model, Path(folder) / "model")
            client.log_model_artifacts(made.model_id, str(Path(folder) / "model"))
    except BaseException:
        client.finalize_logged_model(made.model_id, "FAILED")
        raise
    return client.finalize_logged_model(made.model_id, "READY")


def _version(client: MlflowClient, name: str, logged: LoggedModel, model: MirroredModel, run: str) -> str:
    """The registered version of a logged model, made where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.tags.get(IDENTITY) == model.identity:
            return str(version.version)
    # A database would look the model up in whatever store the process has for its own; a server in its own.
    served = client.tracking_uri.startswith(("http://", "https://", "databricks"))
    made = client.create_model_version(
        name,
        f"models:/{logged.model_id}" if served else logged.artifact_location,
        run_id=run,
        tags={**model.tags, IDENTITY: model.identity},
        description=model.name,
        model_id=logged.model_id,
    )
    return str(made.version)


__all__ = ["ADVISED", "MirroredModel", "log_models", "save_pyfunc"]
