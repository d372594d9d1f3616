"""The only way from the sweep to its report: results, decision and report.html from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.store import Store


def write_outputs(store: Store) -> Mapping[str, Any]:
    """Write results.parquet, decision.json and report.html from the store alone; returns the decision."""
    from dashboards.report import write_report

    from sweeper.sweep import report_provenance, tabulate_and_decide

    results, decision = tabulate_and_decide(store)
    write_report(results, decision, report_provenance(store), store.report_path)
    return decision


def print_summary(store: Store, decision: Mapping[str, Any]) -> None:
    """The sentence and where things are."""
    print(f"\n{decision['sentence']}\n")
    print(f"report:   {store.report_path}")
    print(f"decision: {store.decision_path}")
    print(f"results:  {store.results_path}")
