"""How far a stored sweep is, in plain values: for `sweeper status`, and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sweeper.findings.stored import all_records, damaged_files, planned_rounds, readable_decision
from sweeper.kept.keeping import kept_models
from sweeper.library.rounds import kept_rounds, proposed_next
from sweeper.library.stored_sweep import MISSING, StoredSweep

if TYPE_CHECKING:
    import pandas as pd

MEMORY_CELLS = 60
"""Finished cells whose pace says how long the others will take."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a sweep stands.

    Attributes:
        done, planned: cells; rounds that are yet to be proposed are in neither.
        statuses: status → finished cells.
        lost: cells that are not ok: (id, status, reason).
        running: who runs it now, "process on host, since"; None: nobody.
        seconds_left: for the cells planned so far, while it runs; None where it cannot be told.
        rounds: a line each.
        state, sentence: of the decision; None until there is one.
        stale: the decision was made before cells that are still missing.
        following: what it would have trained next, in words; "" for nothing.
        models: folders of kept models.
        damaged: what cannot be read, a line each.
    """

    name: str
    sweep_id: str
    folder: str
    done: int
    planned: int
    statuses: Mapping[str, int]
    lost: tuple[tuple[str, str, str | None], ...]
    running: str | None
    seconds_left: float | None
    rounds: tuple[str, ...]
    state: str | None
    sentence: str | None
    stale: bool
    following: str
    models: tuple[str, ...]
    damaged: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"schema": "status/1", **asdict(self)}


def standing(sweep: StoredSweep) -> Standing:
    """Where it stands now; open a sweep again to see what has been added since."""
    store = sweep.store
    cells = sweep.cells
    finished = cells[cells["status"] != MISSING]
    missing = len(cells) - len(finished)
    done = set(finished["cell_id"])
    rounds = planned_rounds(store)
    counts = [(sum(cell.cell_id in done for cell in planned), len(planned)) for _, planned in rounds]
    decision, owner = readable_decision(store), store.owner()
    return Standing(
        name=sweep.name,
        sweep_id=str(store.description()["sweep_id"]),
        folder=store.where,
        done=len(finished),
        planned=len(cells),
        statuses={str(status): int(count) for status, count in finished["status"].value_counts().sort_index().items()},
        lost=_lost(finished),
        running=None if owner is None else f"{owner.pid} on {owner.host}, since {owner.since}",
        seconds_left=None if owner is None else seconds_left([r["ended"] for r in all_records(store)], missing),
        rounds=tuple(kept_rounds([proposal for proposal, _ in rounds], counts)),
        state=None if decision is None else str(decision.rule.state),
        sentence=None if decision is None else decision.sentence,
        stale=decision is not None and missing > 0,
        following="" if decision is None else proposed_next(store),
        models=tuple(store.named(path) for path in kept_models(store)),
        damaged=tuple(damaged_files(store)),
    )


def seconds_left(ended: list[float], missing: int) -> float | None:
    """Of the missing cells at the pace of the last ones that finished; None with too few of them.

    Args:
        ended: Unix seconds at which each finished cell did.
    """
    last = sorted(ended)[-MEMORY_CELLS:]
    if not missing:
        return 0.0
    if len(last) < 4 or last[-1] <= last[0]:
        return None
    return missing * (last[-1] - last[0]) / (len(last) - 1)


def _lost(finished: pd.DataFrame) -> tuple[tuple[str, str, str | None], ...]:
    rows = finished[finished["status"] != "ok"].sort_values("cell_id")
    return tuple(zip(rows["cell_id"], rows["status"], rows["reason"], strict=True))


__all__ = ["Standing", "seconds_left", "standing"]
