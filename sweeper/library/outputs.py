"""What a sweep leaves for people: results, decision and report.html, written from the store alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from sweeper.decision import Decision
    from sweeper.findings.ladder_table import LadderTable
    from sweeper.findings.unit_gains import Gains
    from sweeper.store.store import Store


class Outputs(NamedTuple):
    """What a sweep found; `gains` is None where no cell keeps values by batch, cell type and perturbation."""

    results: pd.DataFrame
    decision: Decision
    gains: Gains | None
    ladder: LadderTable | None = None

    @property
    def headline(self) -> dict[str, float]:
        """Failure rates and worst gains at the recommended strength, by name."""
        from sweeper.findings.unit_gains import headline

        return {} if self.gains is None else headline(self.gains, self.decision)


def write_outputs(store: Store) -> Outputs:
    """Write results.parquet, units.parquet, decision.json and report.html from the store alone."""
    from dashboards.report import write_report
    from sweeper.findings.stored import report_provenance, stored_gains, stored_ladder, tabulate_and_decide
    from sweeper.findings.stored_embeddings import StoredEmbeddings

    provenance = report_provenance(store)  # first: a store that cannot be reported on is left as it is
    results, decision = tabulate_and_decide(store)
    gains = stored_gains(store, results)
    ladder = stored_ladder(store, results)
    embeddings = StoredEmbeddings(store, results, decision.trainer)
    write_report(results, decision, provenance, store.report_path, gains=gains, ladder=ladder, embeddings=embeddings)
    store.publish_outputs()
    return Outputs(results, decision, gains, ladder)
