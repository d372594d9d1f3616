"""Running a sweep: the grid, then rounds. Each round is proposed from what is finished, kept, and trained.

    grid and controls → optuna or locate, round by round → the arms (sham, pseudo-batch) → the bounds on fresh seeds

A round is kept before it is trained, and what is kept is trained before anything further is proposed: a sweep that was
killed goes on along the same road, and one that is done finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweeper.arms import locate
from sweeper.arms.fresh_seeds import FIRST_SEED, confirm_strengths
from sweeper.arms.observed import strength_composites
from sweeper.arms.optuna_rounds import SAMPLER, propose
from sweeper.arms.proposal import Block, Kind, Proposal
from sweeper.arms.sham import sham_strengths
from sweeper.config.sections import PseudoArm, ShamArm
from sweeper.content import content_hash
from sweeper.decision import JudgedCurve, decide_sweep
from sweeper.decision.input.results_table import PSEUDO_PREFIX, SHAM_PREFIX
from sweeper.decision.verdict.next_points import NextPoints
from sweeper.decision.verdict.states import State
from sweeper.findings.stored import deciding_units, decision_provenance, results_table
from sweeper.planning.cells import Cell, PackPlan, make_packs
from sweeper.planning.description import versions
from sweeper.planning.prepared import Prepared, confirm_seeds, known_cells, proposed_cells
from sweeper.running.scoring import cell_record
from sweeper.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something a person or a mirror wants to know while a sweep runs."""

    kind: str
    """"start" (cells to do), "progress", "cells" (finished cells on disk), "round" (strengths proposed), "warning"."""
    cells_done: int = 0
    cells: int = 0
    new: tuple[Cell, ...] = ()
    training: float = 0.0
    """Cells' worth of training in packs that are not finished yet."""
    note: str = ""


def run_sweep(
    prepared: Prepared, *, retry_failed: bool = False, tell: Callable[[Event], None] = lambda _: None
) -> None:
    """Run every cell that is missing: controls and grid, then the rounds of proposals. Results are in the store.

    The store is there, and this process owns it.
    """
    prepared.store.sweep_leftovers()
    _Rounds(prepared, prepared.store, retry_failed, tell).run()


NOTHING_TO_EXPLAIN = (State.NO_BASELINE_SIGNAL, State.NO_TECHNICAL_EFFECT)
"""States without a bound to confirm, and without anything that a correction for nothing could have cost."""
TITLES: Mapping[Kind, str] = {
    "optuna": "Optuna proposes",
    "locate": "towards the point",
    "sham": "sham arm",
    "pseudo": "pseudo-batch arm",
    "confirm": "confirmation",
}


def next_round(prepared: Prepared, store: Store) -> Proposal | None:
    """The round that follows from everything finished so far; None: the sweep is complete."""
    config, kept = prepared.config, store.proposals()
    found = _search_round(prepared, store, kept)
    if found is None and config.sham.enabled:
        found = _sham_round(prepared, store, kept)
    if found is None and config.pseudo.enabled:
        found = _pseudo_round(prepared, store, kept)
    if found is None and config.confirm.seeds:
        found = _confirm_round(prepared, store, kept)
    return found


def _search_round(prepared: Prepared, store: Store, kept: Sequence[Proposal]) -> Proposal | None:
    config = prepared.config
    made = [proposal for proposal in kept if proposal.kind == config.search]
    if config.search == "optuna":
        return _optuna_round(prepared, store, kept, len(made) + 1) if len(made) < config.optuna.rounds else None
    if len(made) >= config.locate.rounds:
        return None
    curve, points = _deciding_curve(prepared, store, kept)
    if curve is None:
        return None
    spent = sum(
        len(proposed_cells(proposal, config, sweep_id=prepared.sweep_id, folds=prepared.folds)) for proposal in made
    )
    view = config.decision.deciding_view
    return locate.propose(points, curve, options=config.locate, trainer=config.trainer, view=view, spent=spent)


def _optuna_round(prepared: Prepared, store: Store, kept: Sequence[Proposal], number: int) -> Proposal:
    config = prepared.config
    results = results_table(store)
    results = results[~results["seed"].isin(confirm_seeds(kept))]
    strengths = propose(
        strength_composites(results, view=config.decision.deciding_view, trainer=config.trainer),
        options=config.optuna,
        margins=config.optuna.margin or config.strengths.margin,
        round_number=number,
        study_name=prepared.sweep_id,
    )
    return Proposal(
        kind="optuna",
        trainer=config.trainer,
        blocks=(Block(strengths=tuple(strengths)),),
        how={"sampler": SAMPLER, "options": config.optuna.model_dump(mode="json"), "versions": versions()},
    )


def _sham_round(prepared: Prepared, store: Store, kept: Sequence[Proposal]) -> Proposal | None:
    design = prepared.designs[prepared.config.decision.deciding_view]
    if design.movable == 0:
        return None
    why, how = "batch labels permuted within perturbation", {"movable": round(design.movable, 4)}
    return _arm_round(prepared, store, kept, kind="sham", arm=prepared.config.sham, why=why, how=how)


def _pseudo_round(prepared: Prepared, store: Store, kept: Sequence[Proposal]) -> Proposal | None:
    batch = prepared.pseudo_batch
    if batch is None:
        return None
    why = f"batch {batch} split into two at random"
    return _arm_round(prepared, store, kept, kind="pseudo", arm=prepared.config.pseudo, why=why, how={"batch": batch})


def _arm_round(
    prepared: Prepared,
    store: Store,
    kept: Sequence[Proposal],
    *,
    kind: Literal["sham", "pseudo"],
    arm: ShamArm | PseudoArm,
    why: str,
    how: Mapping[str, Any],
) -> Proposal | None:
    """Proposed once for what the real arm holds; again, for strengths the arm lacks, when that has grown."""
    config = prepared.config
    made = [proposal for proposal in kept if proposal.kind == kind]
    basis = _basis(prepared, kept)
    curve, _ = _deciding_curve(prepared, store, kept)
    if curve is None or not _to_explain(curve, kind) or _made_for(made, basis, curve):
        return None
    have = {strength for proposal in made for strength in proposal.strengths}
    margin = float(curve.margin or 0.0)
    wanted = [(weight, margin) for weight in (0.0, *sham_strengths(curve, arm.strengths))]
    new = tuple(strength for strength in wanted if strength not in have)
    if not new or len(wanted) == 1:
        return None
    return Proposal(
        kind=kind,
        trainer=f"{SHAM_PREFIX if kind == 'sham' else PSEUDO_PREFIX}{config.trainer}",
        blocks=(Block(strengths=new, seeds=arm.seeds),),
        views=(config.decision.deciding_view,),
        why=why,
        how={"basis": basis, "options": arm.model_dump(mode="json"), **how},
    )


def _to_explain(curve: JudgedCurve, kind: Literal["sham", "pseudo"]) -> bool:
    """Whether an arm has something to explain; for permuted labels that is whatever strength moves, gains as well."""
    if kind == "pseudo":
        return curve.state not in NOTHING_TO_EXPLAIN
    return curve.state is not State.NO_BASELINE_SIGNAL and curve.estimate is not None and curve.estimate.moves


def _confirm_round(prepared: Prepared, store: Store, kept: Sequence[Proposal]) -> Proposal | None:
    """Proposed once for what the real arm holds; when that has grown, again and with seeds that are fresh then."""
    config = prepared.config
    made = [proposal for proposal in kept if proposal.kind == "confirm"]
    basis = _basis(prepared, kept)
    curve, _ = _deciding_curve(prepared, store, kept)
    if curve is None or curve.state in NOTHING_TO_EXPLAIN:
        return None
    weights = confirm_strengths(curve)
    if not weights or _made_for(made, basis, curve):
        return None
    first = max([FIRST_SEED, *(seed + 1 for seed in confirm_seeds(kept))])
    return Proposal(
        kind="confirm",
        trainer=config.trainer,
        blocks=(
            Block(
                strengths=tuple((weight, float(curve.margin or 0.0)) for weight in weights),
                seeds=tuple(range(first, first + config.confirm.seeds)),
            ),
        ),
        views=(config.decision.deciding_view,),
        why="the bounds on fresh seeds",
        how={"basis": basis, "options": config.confirm.model_dump(mode="json")},
    )


def _made_for(made: Sequence[Proposal], basis: str, curve: JudgedCurve) -> bool:
    """Whether one of these rounds was made from the same cells for the same margin."""
    margins = (margin for proposal in made if proposal.how.get("basis") == basis for _, margin in proposal.strengths)
    return float(curve.margin or 0.0) in margins


def _basis(prepared: Prepared, kept: Sequence[Proposal]) -> str:
    """Hash of the real arm's cells: what a choice that rests on the decision was made from."""
    config = prepared.config
    own = [proposal for proposal in kept if proposal.kind not in ("sham", "pseudo", "confirm")]
    cells = known_cells(config, own, sweep_id=prepared.sweep_id, folds=prepared.folds)
    return content_hash(sorted(cell.cell_id for cell in cells if not cell.is_rung))


def _deciding_curve(
    prepared: Prepared, store: Store, kept: Sequence[Proposal]
) -> tuple[JudgedCurve | None, NextPoints]:
    """The deciding curve as it stands, and its next points; no curve where none can be read."""
    config = prepared.config
    view = config.decision.deciding_view
    results = results_table(store)
    decision = decide_sweep(
        results[results["view"] == view],
        settings=config.decision,
        provenance=decision_provenance(store.description(), kept),
        next_options=config.locate.next_options,
        units=deciding_units(store, config.decision),
    )
    return decision.curve, decision.next_points


class _Rounds:
    """Executes what is known, then asks for a round, until there is none; Ray only starts when something is missing."""

    def __init__(self, prepared: Prepared, store: Store, retry_failed: bool, tell: Callable[[Event], None]) -> None:
        self._prepared = prepared
        self._store = store
        self._retry = retry_failed
        self._tell = tell
        self._executor: Any = None

    def run(self) -> None:
        prepared = self._prepared
        try:
            self._execute(prepared.known_cells())
            while (proposal := next_round(prepared, self._store)) is not None:
                number = len(self._store.proposals()) + 1
                self._store.write_proposal(number, proposal)
                cells = proposed_cells(proposal, prepared.config, sweep_id=prepared.sweep_id, folds=prepared.folds)
                listed = ", ".join(f"λ={weight:g} m={margin:g}" for weight, margin in proposal.strengths)
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

            self._executor = Executor(self._prepared.config.executor, self._store.folder)
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
