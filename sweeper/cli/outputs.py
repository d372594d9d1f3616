"""The only way from the sweep to its report: results, decision and report.html from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from sweeper.store import Store


def write_outputs(store: Store) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Write results.parquet, decision.json and report.html from the store alone; returns results and decision."""
    from dashboards.report import write_report
    from sweeper.sweep import report_provenance, tabulate_and_decide

    results, decision = tabulate_and_decide(store)
    write_report(results, decision, report_provenance(store), store.report_path)
    return results, decision


def print_outputs(store: Store, results: pd.DataFrame, decision: Mapping[str, Any]) -> None:
    """What the sweep found, and where things are."""
    from dashboards.summary import text_summary

    print(f"\n{text_summary(decision, results)}\n")
    print(f"report:   {store.report_path}")
    print(f"decision: {store.decision_path}")
    print(f"results:  {store.results_path}")
