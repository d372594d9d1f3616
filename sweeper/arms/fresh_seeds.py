"""Which strengths are confirmed on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from typing import Any

FIRST_SEED = 1_000_000
"""Fresh seeds begin here: no sweep counts its own so far."""


def confirm_strengths(curve: Mapping[str, Any]) -> tuple[float, ...]:
    """λ = 0, the recommended strength, the safe bound, the loss and the largest: trained ones, ascending.

    Args:
        curve: the deciding curve, as in decision.json.

    Returns:
        None at all for a curve without a bound: there is nothing to confirm.
    """
    estimate = curve["estimate"]
    levels = [level["strength"] for level in curve["levels"] if level["kept"] and level["strength"] > 0]
    if estimate is None or not levels:
        return ()
    claimed = (estimate[name] for name in ("recommended", "safe_up_to", "unsafe_from"))
    wanted = [bound for bound in claimed if bound is not None]
    if not wanted:
        return ()
    nearest = (min(levels, key=lambda level: (abs(log10(level / bound)), level)) for bound in wanted)
    return tuple(sorted({0.0, levels[-1], *nearest}))
