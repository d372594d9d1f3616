"""Corrected profiles as tables: the metadata of the rows as they came, the embedding beside them, one row each.

| suffix | what is in it |
|---|---|
| .parquet, .csv, .csv.gz | metadata columns in their order, `ROW_DIGEST`, marks of the row, the embedding's columns |
| .h5ad | X: features as they came; obs: metadata; obsm["X_sweeper"]: the embedding; uns["sweeper"]: where it is from |

A Parquet file says where it is from in its schema's metadata, under the key "sweeper".
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweeper.errors import InputError
from trainers.base import FloatArray
from trainers.screens.names import first_few
from trainers.screens.table import Screen

ROW_DIGEST = "Metadata_row_digest"
SUFFIXES = (".parquet", ".csv", ".csv.gz", ".h5ad")
OBSM = "X_sweeper"


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrected:
    """Corrected profiles, one row a row of what was given.

    Attributes:
        metadata: (n, …) of the rows as they came.
        embedding: (n, e), and its `columns`.
        screen: the rows as they were read.
        marks: further columns said of each row, by name.
        source: where it is from, plain values.
        notes: what a user should know, one line each.
    """

    metadata: pd.DataFrame
    embedding: FloatArray
    columns: tuple[str, ...]
    screen: Screen
    source: Mapping[str, Any]
    marks: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def frame(self) -> pd.DataFrame:
        """Metadata, digest and marks of every row, then the embedding."""
        described = self.described
        clash = [name for name in self.columns if name in described.columns]
        if clash:
            raise InputError(
                f"the metadata have columns {first_few(clash)}, which the embedding's are called; rename them"
            )
        values = pd.DataFrame(self.embedding, columns=list(self.columns), index=described.index)
        return pd.concat([described, values], axis=1)

    @property
    def described(self) -> pd.DataFrame:
        """Metadata, digest and marks of every row."""
        given = {name: column for name, column in self.metadata.items() if name not in (ROW_DIGEST, *self.marks)}
        added = {ROW_DIGEST: row_digests(self.screen), **self.marks}
        return pd.concat([pd.DataFrame(given), pd.DataFrame(added, index=self.metadata.index)], axis=1)


def row_digests(screen: Screen) -> list[str]:
    """(n,) 16 hex digits of the SHA-256 of each row: its place, then its d features as little-endian float32.

    Equal rows of equal place have equal digests, whatever else a table holds and in whatever order.
    """
    wells = screen.wells
    places = zip(wells["batch"], wells["plate"], wells["well"], wells["site"].astype("string").fillna(""), strict=True)
    rows = np.ascontiguousarray(screen.features, dtype="<f4")
    return [
        hashlib.sha256("\x1f".join(map(str, place)).encode() + b"\x1e" + row.tobytes()).hexdigest()[:16]
        for place, row in zip(places, rows, strict=True)
    ]


def check_output(path: Path) -> None:
    """Raise InputError for a file that could not be written, before any work is done."""
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"{path}: unknown format, expected one of {', '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder")


def write_corrected(corrected: Corrected, path: Path) -> None:
    """Write the table whole, by its suffix."""
    name = path.name.lower()
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        if name.endswith(".parquet"):
            _write_parquet(corrected, temporary)
        elif name.endswith(".h5ad"):
            _write_h5ad(corrected, temporary)
        else:
            corrected.frame.to_csv(temporary, index=False)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_parquet(corrected: Corrected, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(corrected.frame, preserve_index=False)
    kept = {**(table.schema.metadata or {}), b"sweeper": json.dumps(corrected.source, sort_keys=True).encode()}
    pq.write_table(table.replace_schema_metadata(kept), path, compression="zstd")


def _write_h5ad(corrected: Corrected, path: Path) -> None:
    import anndata

    obs = corrected.described.copy()
    for name in obs.columns:
        if obs[name].dtype == object or isinstance(obs[name].dtype, pd.StringDtype):
            obs[name] = obs[name].astype("string").astype("category")
    obs.columns = [str(name).replace("/", "_") for name in obs.columns]
    obs.index = pd.Index([str(row) for row in range(len(obs))])
    var = pd.DataFrame(index=pd.Index(list(corrected.screen.feature_names)))
    found = anndata.AnnData(X=np.asarray(corrected.screen.features), obs=obs, var=var)
    found.obsm[OBSM] = corrected.embedding
    found.uns["sweeper"] = json.dumps(corrected.source, sort_keys=True)
    found.write_h5ad(path)


__all__ = ["OBSM", "ROW_DIGEST", "SUFFIXES", "Corrected", "check_output", "row_digests", "write_corrected"]
