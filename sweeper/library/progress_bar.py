"""Progress in a notebook or a terminal, by tqdm."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from sweeper.running.sweep import Event


class ProgressBar:
    """A bar a round: cells finished of those known so far; nothing at all unless `shown`."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, event: Event) -> None:
        """Draw an event."""
        if not self._shown:
            return
        from tqdm.auto import tqdm

        if event.kind in ("warning", "round", "note"):
            tqdm.write(f"warning: {event.note}" if event.kind == "warning" else event.note)
        elif event.kind == "start":
            if self._bar is not None:
                self._bar.close()
            self._bar = tqdm(total=event.cells, initial=event.cells_done, unit="cell")
        elif self._bar is not None:
            self._bar.set_postfix_str(f"{event.training:.0f} in training", refresh=False)
            self._bar.update(event.cells_done - self._bar.n)
            self._bar.refresh()
