"""What came of sweeps that were disturbed at random moments."""

from __future__ import annotations

from tables.common import STUDIES, load


def table() -> list[str]:
    """Its lines."""
    if not (STUDIES / "chaos.json").exists():
        return ["The study has not been run to an end yet, so that there is no table of it.", ""]
    return [*load("chaos")["table"], ""]
