"""What came of sweeps that were disturbed at random moments."""

from __future__ import annotations

from tables.common import STUDIES, load


def table() -> list[str]:
    """Its lines; none before the study's first result."""
    return [*load("chaos")["table"], ""] if (STUDIES / "chaos.json").exists() else []
