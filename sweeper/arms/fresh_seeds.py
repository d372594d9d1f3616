"""Which strengths are confirmed on fresh seeds."""

from __future__ import annotations

from math import log10

from sweeper.decision import JudgedCurve

FIRST_SEED = 1_000_000
"""Fresh seeds begin here: no sweep counts its own so far."""


def confirm_strengths(curve: JudgedCurve) -> tuple[float, ...]:
    """λ = 0, the recommended strength, the safe bound, the loss and the largest: trained ones, ascending.

    Args:
        curve: the deciding curve.

    Returns:
        None at all for a curve without a bound: there is nothing to confirm.
    """
    levels = curve.kept_weights
    wanted = [bound for bound in (curve.recommended, curve.safe_up_to, curve.unsafe_from) if bound]
    if not wanted or not levels:
        return ()
    nearest = (min(levels, key=lambda level: (abs(log10(level / bound)), level)) for bound in wanted)
    return tuple(sorted({0.0, levels[-1], *nearest}))
