"""Curves with a known answer, those of the decision's tests; and packs that run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "decision"))


class HereExecutor:
    """Runs packs one after another in this process: what Ray does with them is tested where Ray is."""

    workers = 2

    def __init__(self, *_: Any, **__: Any) -> None:
        self.packs: list[Any] = []

    def __enter__(self) -> HereExecutor:
        return self

    def __exit__(self, *_: Any) -> None: ...

    def run(self, files: Sequence[tuple[Any, str]], *, on_pack: Callable[[Any], None], **_: Any) -> list[Any]:
        from sweeper.running.worker import PackRun

        for pack, path in files:
            work = PackRun(path)
            while work.advance():
                pass
            list(work.finish())
            on_pack(pack)
            self.packs.append(pack)
        return []


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> HereExecutor:
    """The executor of every sweep of the test."""
    import sweeper.running.executor as executor

    made = HereExecutor()
    monkeypatch.setattr(executor, "Executor", lambda *_, **__: made)
    return made
