"""Running a sweep: the grid, then rounds. Each round is proposed from what is finished, kept, and trained.

    grid and controls → the rounds of the arms, in the order of `sweeper.arms.arm_rounds`

Several sweeps of one screen, one a method, run as one: their packs share the workers, and their rounds go side by side.

A round is kept before it is trained, and what is kept is trained before anything further is proposed: a sweep that was
killed goes on along the same road, and one that is done finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.arms.arm_rounds import TITLES, next_round
from sweeper.arms.proposal import Proposal
from sweeper.planning.cells import Cell, PackPlan, make_packs
from sweeper.planning.prepared import Prepared
from sweeper.running.adopted_controls import adopt_controls
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
    run_sweeps([prepared], retry_failed=retry_failed, tell=tell, tick=tick)


def run_sweeps(
    sweeps: Sequence[Prepared],
    *,
    retry_failed: bool = False,
    tell: Callable[[Event], None] = lambda _: None,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """As `run_sweep` for sweeps of one screen with the same splits and panel, on the same workers.

    Controls know no trainer: the first sweep scores them, and the others keep copies under their own ids.
    """
    for prepared in sweeps:
        prepared.store.sweep_leftovers()
    _Rounds(sweeps, retry_failed, tell, tick).run()


Planned = tuple[Prepared, tuple[Cell, ...]]
"""A sweep and cells of it."""


class _Rounds:
    """Executes what is known, then asks for a round, until there is none; Ray only starts when something is missing."""

    def __init__(
        self, sweeps: Sequence[Prepared], retry_failed: bool, tell: Callable[[Event], None], tick: Callable[[], None]
    ) -> None:
        self._sweeps = sweeps
        self._retry = retry_failed
        self._tell = tell
        self._tick = tick
        self._executor: Any = None

    def run(self) -> None:
        try:
            first, *others = self._sweeps
            shared = [(sweep, tuple(c for c in sweep.known_cells() if not c.is_control)) for sweep in others]
            self._execute([(first, first.known_cells()), *shared])
            for sweep in others:
                adopt_controls(first.store, first.known_cells(), sweep.store, sweep.known_cells())
            while proposed := [
                (sweep, proposal) for sweep in self._sweeps if (proposal := next_round(sweep, sweep.store)) is not None
            ]:
                self._execute([(sweep, self._kept(sweep, proposal)) for sweep, proposal in proposed])
        finally:
            if self._executor is not None:
                self._executor.__exit__(None, None, None)

    def _kept(self, prepared: Prepared, proposal: Proposal) -> tuple[Cell, ...]:
        """Keep a round and tell of it; returns its cells."""
        number = len(prepared.store.proposals()) + 1
        prepared.store.write_proposal(number, proposal)
        own = proposal.own_trainer
        listed = ", ".join(strength_text(own, weight, margin) for weight, margin in proposal.strengths)
        whose = f"{own}: " if len(self._sweeps) > 1 else ""
        note = f"{whose}round {number}: {TITLES[proposal.kind]}: {listed or 'nothing new'}"
        self._tell(Event(kind="round", note=note + (f" ({proposal.why})" if proposal.why else "")))
        return prepared.cells_of(proposal)

    def _execute(self, planned: Sequence[Planned]) -> None:
        from sweeper.running.worker import pack_content

        missing: list[Planned] = []
        for prepared, cells in planned:
            done = prepared.store.finished(retry=self._retry)
            missing.append((prepared, tuple(cell for cell in cells if cell.cell_id not in done)))
        total, left = sum(len(cells) for _, cells in planned), sum(len(cells) for _, cells in missing)
        self._tell(Event(kind="start", cells_done=total - left, cells=total))
        if not left:
            return
        executor = self._started()
        files: list[tuple[PackPlan, str]] = []
        stores: dict[str, Store] = {}
        for prepared, cells in missing:
            config, store = prepared.config, prepared.store
            replace = store.finished()
            for pack in make_packs(
                cells,
                workers=executor.workers,
                pack_size=config.pack_size,
                training_batches=prepared.batches_of(cells),
            ):
                stores[pack.pack_id] = store
                files.append((pack, store.write_pack(pack.pack_id, pack_content(pack, config, replace=replace))))
        follow = _Follow(stores, [pack for pack, _ in files], total=total, already=total - left, tell=self._tell)
        for failure in executor.run(files, on_progress=follow.progress, on_pack=follow.pack):
            status = "oom" if failure.out_of_memory else "failed"
            self._record_failure(stores[failure.pack.pack_id], failure.pack, status, failure.reason)
            follow.pack(failure.pack)
        for pack, file in files:
            stores[pack.pack_id].drop_pack(file)
        for prepared, _ in missing:
            prepared.store.drop_checkpoints()

    def _started(self) -> Any:
        if self._executor is None:
            from sweeper.running.executor import Executor

            first = self._sweeps[0]
            self._executor = Executor(
                first.config.executor,
                first.config.where,
                data=[path for sweep in self._sweeps for path in sweep.data_files()],
                warn=lambda text: self._tell(Event(kind="warning", note=text)),
                tick=self._tick,
            )
            self._executor.__enter__()
        return self._executor

    @staticmethod
    def _record_failure(store: Store, pack: PackPlan, status: str, reason: str) -> None:
        """A worker that died leaves its unfinished cells without a record: write what is known."""
        done = store.finished(among={cell.cell_id for cell in pack.cells})
        for cell in pack.cells:
            if cell.cell_id not in done:
                record = cell_record(
                    cell, status=status, reason=reason, metrics=[], seconds={}, pack_cells=len(pack.cells)
                )
                store.write_cell(record, curve=[])


class _Follow:
    """Turns the executor's calls into events with cell counts."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        packs: Sequence[PackPlan],
        *,
        total: int,
        already: int,
        tell: Callable[[Event], None],
    ) -> None:
        """`stores`: by the id of a pack."""
        self._stores = stores
        self._sizes = {pack.pack_id: len(pack.cells) for pack in packs}
        self._total = total
        self._done = already
        self._told: set[str] = set()
        self._tell = tell

    def progress(self, progress: Any) -> None:
        training = sum(share * self._sizes[pack_id] for pack_id, share in progress.training.items())
        self._tell(Event(kind="progress", cells_done=self._done, cells=self._total, training=training))

    def pack(self, pack: PackPlan) -> None:
        finished = self._stores[pack.pack_id].finished(among={cell.cell_id for cell in pack.cells})
        new = tuple(cell for cell in pack.cells if cell.cell_id in finished and cell.cell_id not in self._told)
        self._told.update(cell.cell_id for cell in new)
        self._done += len(new)
        self._tell(Event(kind="cells", cells_done=self._done, cells=self._total, new=new))
