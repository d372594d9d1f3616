"""The pseudo-batch arm in the report: its own section, and in no curve."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from dashboards.report import build_page, render_report

ROW = "1 − B(λ) / B(0)"


@pytest.mark.slow
def test_the_arm_has_a_section_and_changes_no_curve(results: pd.DataFrame, decision: dict[str, Any]) -> None:
    plain = build_page(results, decision, {})
    assert "What a correction for nothing costs" not in render_report(plain)
    trained = results[results["trainer"].str.startswith("abra") & results["adversarial_weight"].isin([0.0, 10.0])]
    arm = trained.assign(trainer="pseudo:abra", cell_id="pseudo-" + trained["cell_id"])
    page = build_page(pd.concat([results, arm]), decision, {})
    document = render_report(page)
    assert "What a correction for nothing costs" in document
    assert ROW in document
    for before, after in zip(plain.sections, page.sections, strict=True):
        assert [row.adversarial_weight for row in after.pseudo] == [0.0, 10.0]
        assert after.pseudo[1].loss is not None
        assert after.metrics == before.metrics
        assert after.composites == before.composites
        assert after.strengths == before.strengths
