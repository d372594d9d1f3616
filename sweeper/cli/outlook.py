"""What can be decided, in lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.planning.foresight import ViewForesight
    from sweeper.planning.prepared import Prepared


def view_line(prepared: Prepared, view: str, folds: int) -> str:
    """A view and its splits."""
    from sweeper.planning.foresight import listed

    again = prepared.splits.drawn_again(view)
    drawn = f"; seed{'s' * (len(again) > 1)} {listed(again)} drawn again so that what decides is measured"
    return f"view:      {view}, {folds} split{'s' * (folds > 1)} a seed{drawn if again else ''}"


def foresight_lines(found: ViewForesight, *, brief: bool = False) -> list[str]:
    """Whether a view can decide, and which metrics it cannot measure."""
    lines = [f"decision:  {found.line}"]
    lines += [f"           not measurable: {line}" for line in found.lacking(brief=brief)]
    return lines


__all__ = ["foresight_lines", "view_line"]
