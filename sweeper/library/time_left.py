"""How long it will still take, told so that it does not swing.

Cells finish in bursts: a pack trains for a while, then all its cells are scored. The moment at which the work will be
done is therefore followed slowly: a new reckoning moves it by the share of the work that was done since the last one.
"""

from __future__ import annotations

MEANINGFUL = 0.05
"""Share of the work before which nothing is told: the start-up would dominate."""
MEMORY = 0.15
"""Share of the work over which an earlier reckoning is forgotten."""


class TimeLeft:
    """Seconds left of some work, from its share done so far."""

    def __init__(self, began: float) -> None:
        """`began`: when, in seconds of any clock."""
        self._began = began
        self._share = 0.0
        self._end: float | None = None

    def __call__(self, now: float, share: float) -> float | None:
        """Seconds left at `now`, 0 or more; None where it is too early to say.

        Args:
            share: of the work that is done, 0 to 1; where it falls back, the largest so far counts.
        """
        if share < MEANINGFUL:
            return None
        gained = max(0.0, share - self._share)
        if gained or self._end is None:
            reckoned = self._began + (now - self._began) / share
            weight = 1.0 if self._end is None else min(1.0, gained / MEMORY)
            self._end = reckoned if self._end is None else self._end + weight * (reckoned - self._end)
            self._share = max(self._share, share)
        if self._end <= now:  # overdue: what is left takes as long as it took so far
            self._end = now + (now - self._began) * (1.0 - self._share) / self._share
        return max(0.0, self._end - now)


def coarse(seconds: float) -> float:
    """Rounded as people say it: to 5 s up to a minute, then half a minute, a minute, 5 minutes."""
    step = 5 if seconds < 60 else 30 if seconds < 300 else 60 if seconds < 3600 else 300
    return max(step, step * round(seconds / step))


__all__ = ["MEANINGFUL", "TimeLeft", "coarse"]
