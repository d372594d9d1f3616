"""Judging a stored sweep again, with other settings than those declared, or writing what was declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweeper.decision import Decision, decide_sweep
from sweeper.decision.input.decision_settings import decision_settings
from sweeper.errors import InputError
from sweeper.findings.stored import deciding_units, decision_provenance
from sweeper.library.outputs import Outputs, write_outputs
from sweeper.library.stored_sweep import StoredSweep, open_store


def decide(sweep: StoredSweep | Path | str, *, view: str | None = None, **settings: Any) -> Decision:
    """Judge a stored sweep, from its finished cells. Writes nothing.

    >>> decision = sweeper.decide("runs/tiny", delta=0.05)
    >>> [change.setting for change in decision.departures]
    ['delta']

    Args:
        sweep: a sweep, or its folder.
        view: the evaluation view that decides; None: the one that was declared.
        settings: fields of `DecisionSettings` in place of those declared before the sweep, e.g. `method="posterior"`.

    Returns:
        The decision. Settings that depart from those declared are listed, and lower the certainty.

    Raises:
        InputError: a view or a setting that there is not, no sweep, or no finished cell.
    """
    found = _opened(sweep)
    config, store = found.config, found.store
    views = [spec.view for spec in config.views]
    chosen = config.decision.deciding_view if view is None else view
    if chosen not in views:
        raise InputError(f"view {chosen}: the sweep has {', '.join(views)}")
    declared = config.decision
    given = decision_settings({**declared.model_dump(), **settings, "deciding_view": chosen}, "decide")
    if found.results.empty:
        raise InputError(f"{store.where}: no finished cell yet; run the sweep first")
    return decide_sweep(
        found.results,
        settings=given,
        provenance=decision_provenance(store.description(), store.proposals()),
        declared=declared,
        next_options=config.next_options,
        units=deciding_units(store, given),
    )


def write_report(sweep: StoredSweep | Path | str) -> Outputs:
    """Write results.parquet, units.parquet, decision.json and report.html anew, from the stored cells alone.

    >>> outputs = sweeper.write_report("runs/tiny")
    >>> outputs.decision == sweeper.open_store("runs/tiny").decision
    True

    Args:
        sweep: a sweep, or its folder.

    Raises:
        InputError: no sweep, or no finished cell.
    """
    return write_outputs(_opened(sweep).store)


def _opened(sweep: StoredSweep | Path | str) -> StoredSweep:
    return sweep if isinstance(sweep, StoredSweep) else open_store(sweep)
