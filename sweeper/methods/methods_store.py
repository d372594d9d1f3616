"""The folder of a comparison: one sweep a method below it, and what was found over all of them.

::

    <folder>/methods.json         what is compared: id, methods, configuration as given, command, notes
    <folder>/methods/<method>/    that method's sweep, a store of its own (`sweeper.store.store`)
    <folder>/comparison.json      the comparison (schema "methods-comparison/1")
    <folder>/comparison.parquet   every metric of every cell of every method, with a column `method`
    <folder>/report.html          the comparison; each method's own report is in its folder
    <folder>/mlflow.db            where nothing else is said: one parent run, below it one a method, below it its cells
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.decision.methods.comparison import Comparison
from sweeper.errors import InputError, StoreMismatchError
from sweeper.methods.methods_config import FOLDER
from sweeper.store.lease_files import FOLDER as LEASES
from sweeper.store.reading import DamagedFileError, read_object
from sweeper.store.store import Store, dump_json, write_atomically

NAME = "methods.json"


@dataclass(frozen=True)
class MethodsStore:
    """The folder of one comparison."""

    folder: Path

    @property
    def comparison_path(self) -> Path:
        """The comparison as JSON."""
        return self.folder / "comparison.json"

    @property
    def results_path(self) -> Path:
        """Tidy table over all methods."""
        return self.folder / "comparison.parquet"

    @property
    def report_path(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    @property
    def exists(self) -> bool:
        """Whether a comparison was begun here."""
        return (self.folder / NAME).exists()

    def check(self, comparison_id: str) -> None:
        """Raise `StoreMismatchError` unless the folder is free or this comparison's; writes nothing."""
        if self.exists:
            if (found := self.description()["comparison_id"]) != comparison_id:
                raise StoreMismatchError(
                    f"{self.folder}: holds another comparison (id {found}, this one is {comparison_id}: name or screen "
                    "differ); choose another folder"
                )
        elif self.folder.exists() and (not self.folder.is_dir() or any(map(_is_foreign, self.folder.iterdir()))):
            raise StoreMismatchError(
                f"{self.folder}: is not empty and not a comparison's folder; choose another folder"
            )

    def create(self, comparison_id: str, methods: tuple[str, ...], description: Mapping[str, Any]) -> None:
        """Write what is compared."""
        content = {"comparison_id": comparison_id, "methods": list(methods), **description}
        write_atomically(self.folder / NAME, dump_json(content))

    def description(self) -> dict[str, Any]:
        """methods.json; raises `InputError` where there is none, or it is damaged."""
        path = self.folder / NAME
        if not path.exists():
            raise InputError(f"{self.folder}: no comparison of methods here ({NAME} is missing)")
        data = read_object(path)
        for key in ("comparison_id", "methods", "name", "confidence"):
            if key not in data:
                raise DamagedFileError(path, f"not a comparison's description: {key} is missing")
        return data

    def stores(self) -> dict[str, Store]:
        """Method → its sweep's store, in the order of the comparison."""
        return {method: Store(self.folder / FOLDER / method) for method in self.description()["methods"]}

    def comparison(self) -> Comparison | None:
        """The comparison as it was made; None where there is none yet."""
        return Comparison.from_json(read_object(self.comparison_path)) if self.comparison_path.exists() else None


def _is_foreign(path: Path) -> bool:
    own = path.name in (LEASES, "mlartifacts", FOLDER) or path.name.startswith("mlflow.db")
    return not own and path.suffix != ".tmp"


__all__ = ["MethodsStore"]
