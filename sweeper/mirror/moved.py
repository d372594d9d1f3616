"""A sweep's folder that was moved or copied: MLflow keeps absolute places of artefacts in its SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow's tables that name places of artefacts."""
_SECONDS = 30.0


def follow_artefacts(database: Path, root: str) -> int:
    """Let every place below another root of the same name, "…/mlartifacts", be below `root`; how many roots there were.

    Nothing is changed where the artefacts are not below `root`: they were left behind.

    Args:
        root: file URI of the folder beside `database` that artefacts are in.
    """
    folder, name = database.parent / root.rpartition("/")[2], root.rpartition("/")[2]
    if not database.exists() or not folder.is_dir():
        return 0
    with closing(sqlite3.connect(database, timeout=_SECONDS)) as opened, opened:
        known = {table for (table,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "experiments" not in known:
            return 0
        found = opened.execute("SELECT artifact_location FROM experiments WHERE lifecycle_stage = 'active'").fetchall()
        earlier = {place for (place,) in found if str(place).endswith(f"/{name}") and place != root}
        for old in sorted(earlier):
            for table, column in PLACES:
                if table in known:
                    opened.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - names of ours
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (root, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
    return len(earlier)


__all__ = ["follow_artefacts"]
