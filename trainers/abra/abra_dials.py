"""The two dials of ABRA, whatever it encodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.trainer import Dial, Spaced

WEIGHT = Dial(name="adversarial weight", symbol="λ", grid=Spaced(low=0.1, high=1000.0, count=13), by="critic")
MARGIN = Dial(
    name="angular margin", short="margin", symbol="m", high=math.pi / 2, closed=False, scale="linear", grid=(0.0, 0.3)
)


def check_adversarial_rung(changes: Mapping[str, Any], strengths: Sequence[tuple[float, float]]) -> None:
    """Raise ValueError where a rung switches an adversary on that no weight brings to bear."""
    for key in ("statistics", "critic"):
        value = changes.get(key, "none")
        if value != "none" and all(weight == 0 for weight, _ in strengths):
            raise ValueError(f"{key} = {value} does nothing at adversarial_weight 0; give the rung a λ")


__all__ = ["MARGIN", "WEIGHT", "check_adversarial_rung"]
