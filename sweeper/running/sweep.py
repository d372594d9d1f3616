"""Running a sweep: the grid, then rounds. Each round is proposed from what is finished, kept, and trained.

    grid and controls → the rounds of the arms, in the order of `sweeper.arms.arm_rounds`

A round is kept before it is trained, and what is kept is trained before anything further is proposed: a sweep that was
killed goes on along the same road, and one that is done finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.arms.arm_rounds import TITLES, next_round
from sweeper.planning.cells import Cell, PackPlan, make_packs
from sweeper.planning.prepared import Prepared
from sweeper.running.scoring import cell_record
from sweeper.spoken import strength_text
from sweeper.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something a person or a mirror wants to know while a sweep runs."""

    kind: str
    """"start" (cells to do), "progress", "cells" (finished cells on disk), "round" (strengths proposed), "note" (what
    else is being done), "warning"."""
    cells_done: int = 0
    cells: int = 0
    new: tuple[Cell, ...] = ()
    training: float = 0.0
    """Cells' worth of training in packs that are not finished yet."""
    note: str = ""


def run_sweep(
    prepared: Prepared,
    *,
    retry_failed: bool = False,
    tell: Callable[[Event], None] = lambda _: None,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Run every cell that is missing: controls and grid, then the rounds of proposals. Results are in the store.

    The store is there, and this process owns it. `tick` is called about once a second and may raise, to end the run.
    """
    prepared.store.sweep_leftovers()
    _Rounds(prepared, prepared.store, retry_failed, tell, tick).run()


class _Rounds:
    """Executes what is known, then asks for a round, until there is none; Ray only starts when something is missing."""

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        retry_failed: bool,
        tell: Callable[[Event], None],
        tick: Callable[[], None],
    ) -> None:
        self._prepared = prepared
        self._store = store
        self._retry = retry_failed
        self._tell = tell
        self._tick = tick
        self._executor: Any = None

    def run(self) -> None:
        prepared = self._prepared
        try:
            self._execute(prepared.known_cells())
            while (proposal := next_round(prepared, self._store)) is not None:
                number = len(self._store.proposals()) + 1
                self._store.write_proposal(number, proposal)
                cells = prepared.cells_of(proposal)
                own = proposal.own_trainer
                listed = ", ".join(strength_text(own, weight, margin) for weight, margin in proposal.strengths)
                note = f"round {number}: {TITLES[proposal.kind]}: {listed or 'nothing new'}"
                note += f" ({proposal.why})" if proposal.why else ""
                self._tell(Event(kind="round", note=note))
                self._execute(cells)
        finally:
            if self._executor is not None:
                self._executor.__exit__(None, None, None)

    def _execute(self, cells: Sequence[Cell]) -> None:
        from sweeper.running.worker import pack_content

        done = self._store.finished(retry=self._retry)
        missing = [cell for cell in cells if cell.cell_id not in done]
        self._tell(Event(kind="start", cells_done=len(cells) - len(missing), cells=len(cells)))
        if not missing:
            return
        if self._executor is None:
            from sweeper.running.executor import Executor

            self._executor = Executor(
                self._prepared.config.executor,
                self._store.folder,
                data=self._prepared.data_files(),
                warn=lambda text: self._tell(Event(kind="warning", note=text)),
                tick=self._tick,
            )
            self._executor.__enter__()
        config = self._prepared.config
        packs = make_packs(
            missing,
            workers=self._executor.workers,
            pack_size=config.pack_size,
            training_batches=self._prepared.batches_of(missing),
        )
        replace = self._store.finished()
        files = [
            (pack, self._store.write_pack(pack.pack_id, pack_content(pack, config, replace=replace))) for pack in packs
        ]
        follow = _Follow(self._store, packs, total=len(cells), already=len(cells) - len(missing), tell=self._tell)
        failures = self._executor.run(files, on_progress=follow.progress, on_pack=follow.pack)
        for failure in failures:
            self._record_failure(failure.pack, "oom" if failure.out_of_memory else "failed", failure.reason)
            follow.pack(failure.pack)
        for _, path in files:
            path.unlink(missing_ok=True)
        self._store.drop_checkpoints()

    def _record_failure(self, pack: PackPlan, status: str, reason: str) -> None:
        """A worker that died leaves its unfinished cells without a record: write what is known."""
        done = self._store.finished()
        for cell in pack.cells:
            if cell.cell_id not in done:
                record = cell_record(
                    cell, status=status, reason=reason, metrics=[], seconds={}, pack_cells=len(pack.cells)
                )
                self._store.write_cell(record, curve=[])


class _Follow:
    """Turns the executor's calls into events with cell counts."""

    def __init__(
        self, store: Store, packs: Sequence[PackPlan], *, total: int, already: int, tell: Callable[[Event], None]
    ) -> None:
        self._store = store
        self._sizes = {pack.pack_id: len(pack.cells) for pack in packs}
        self._total = total
        self._done = already
        self._told: set[str] = set()
        self._tell = tell

    def progress(self, progress: Any) -> None:
        training = sum(share * self._sizes[pack_id] for pack_id, share in progress.training.items())
        self._tell(Event(kind="progress", cells_done=self._done, cells=self._total, training=training))

    def pack(self, pack: PackPlan) -> None:
        finished = self._store.finished()
        new = tuple(cell for cell in pack.cells if cell.cell_id in finished and cell.cell_id not in self._told)
        self._told.update(cell.cell_id for cell in new)
        self._done += len(new)
        self._tell(Event(kind="cells", cells_done=self._done, cells=self._total, new=new))
