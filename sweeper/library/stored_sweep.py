"""A sweep on disk, for a notebook: its cells, results, decision and figures. Nothing here writes."""

from __future__ import annotations

import html
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sweeper.config.sweep_config import SweepConfig
from sweeper.decision import Decision
from sweeper.errors import InputError
from sweeper.findings.stored import (
    all_records,
    planned_cells,
    results_table,
    stored_config,
    stored_decision,
)
from sweeper.planning.cells import OF_CELL
from sweeper.store.store import Store

if TYPE_CHECKING:
    import plotly.graph_objects as go

MISSING = "missing"
"""Status of a planned cell that is not finished."""


def open_store(folder: Path | str) -> StoredSweep:
    """The sweep in a folder or at a URL, finished or not.

    >>> sweep = sweeper.open_store("runs/tiny")
    >>> sorted(sweep.results["metric"].unique())
    ['batch_probe_linear', 'perturbation_accuracy']
    >>> sweep.figure("tradeoff").layout.height > 0
    True

    Raises:
        InputError: there is no sweep in the folder, or the URL cannot be read.
    """
    found = StoredSweep(Store.at(folder))
    found.store.refresh()
    found.store.description()
    return found


class StoredSweep:
    """A sweep in its folder. What is read is kept: open it again to see what has been added since."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return f"<sweep {self.name!r} in {self.store.where}: {self._counts()}>"

    @property
    def folder(self) -> Path:
        """Where it is; of a URL, its copy on this machine."""
        return self.store.folder

    @cached_property
    def name(self) -> str:
        """Its name in the configuration."""
        return str(self.store.description()["name"])

    @cached_property
    def config(self) -> SweepConfig:
        """The configuration it was run with."""
        return stored_config(self.store)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The cells, one row each: what names them, `status` (ok, failed, collapsed, oom, or missing) and `reason`.

        First those planned so far, then finished ones that only an earlier, larger configuration planned.
        """
        records = {record["cell_id"]: record for record in all_records(self.store)}
        planned = {cell.cell_id: {key: getattr(cell, key) for key in OF_CELL} for cell in planned_cells(self.store)}
        nothing = {"status": MISSING, "reason": None}
        rows = [
            {**named, **{key: records.get(cell_id, nothing)[key] for key in nothing}}
            for cell_id, named in planned.items()
        ]
        rows += [record for cell_id, record in records.items() if cell_id not in planned]
        return pd.DataFrame(rows, columns=[*OF_CELL, "status", "reason"])

    @cached_property
    def results(self) -> pd.DataFrame:
        """Every metric of every finished cell, one row each: `sweeper.store.results.COLUMNS`."""
        return results_table(self.store)

    @cached_property
    def decision(self) -> Decision:
        """The decision as it was declared before the sweep and written after it.

        Raises:
            InputError: none has been made yet.
        """
        found = stored_decision(self.store)
        if found is None:
            raise InputError(
                f"{self.store.where}: no decision yet; `sweeper.run` goes on, or `sweeper.decide` on what is there"
            )
        return found

    def figure(self, name: str = "tradeoff", *, view: str | None = None) -> go.Figure:
        """A figure of the report.

        Args:
            name: "tradeoff" (at the chosen margin; "tradeoff 0.2" at another), "frontier", "heat technical", "heat
                biological", "composite technical", "composite biological", "probe", "gain", or a metric; of the view
                that decides also "embedding", "lost" and "plates".
            view: the evaluation view; None: the one that decides.

        Raises:
            InputError: there is no such figure; the message lists those there are.
        """
        from sweeper.library.figures import named_figure

        return named_figure(self, name, self.config.decision.deciding_view if view is None else view)

    def _counts(self) -> str:
        counts = self.cells["status"].value_counts()
        return f"{len(self.cells)} cells, " + ", ".join(f"{count} {status}" for status, count in counts.items())

    def _repr_html_(self) -> str:
        rows = {"cells": self._counts(), "folder": self.store.where}
        if self.store.decision_path.exists():
            rows = {"decision": self.decision.sentence, **rows}
        if self.store.report_path.exists():
            rows["report"] = self.store.named(self.store.report_path)
        listed = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for key, text in rows.items()
        )
        return f"<table><caption>{html.escape(self.name)}</caption>{listed}</table>"
