"""What a sweep found, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeper.decision.methods.comparison import Comparison
    from sweeper.library.outputs import Outputs
    from sweeper.methods.methods_store import MethodsStore
    from sweeper.store.store import Store


def print_outputs(store: Store, outputs: Outputs) -> None:
    """What the sweep found, and where things are."""
    from dashboards.summary import ladder_summary, text_summary

    print(f"\n{text_summary(outputs.decision, outputs.results, outputs.gains)}\n")
    if outputs.ladder is not None:
        print(f"{ladder_summary(outputs.ladder)}\n")
    print(f"report:   {store.named(store.report_path)}")
    print(f"decision: {store.named(store.decision_path)}")
    print(f"results:  {store.named(store.results_path)}")


def print_comparison(store: MethodsStore, comparison: Comparison) -> None:
    """What was found over all methods, and where things are."""
    from dashboards.comparison_report import comparison_summary

    print(f"\n{comparison_summary(comparison)}\n")
    print(f"report:   {store.report_path}")
    print(f"decision: {store.comparison_path}")
    print(f"results:  {store.results_path}")


def print_mlflow(ways: Sequence[str]) -> None:
    """How to look at it in MLflow; nothing where it is not mirrored."""
    for number, way in enumerate(ways):
        print(f"{'' if number else 'MLflow:':<10}{way}")
