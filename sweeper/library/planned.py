"""A sweep before it runs: what is done, what is missing, what may follow, and about how long it will take."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from sweeper.arms.arm_rounds import upcoming_rounds
from sweeper.arms.proposal import Upcoming
from sweeper.config.sweep_config import SweepConfig
from sweeper.planning.cells import OF_CELL, Cell
from sweeper.planning.estimate import Estimate, estimate, local_workers
from sweeper.planning.foresight import Foresight
from sweeper.planning.prepared import Prepared, prepare


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A dry run."""

    prepared: Prepared
    known: tuple[Cell, ...]
    """Controls, the grid, every round proposed so far, and the ladder."""
    missing: tuple[Cell, ...]
    """Those of them that are not finished."""
    upcoming: tuple[Upcoming, ...]
    """What may follow them, one entry a kind of round, with its cells at most."""

    @property
    def cells(self) -> pd.DataFrame:
        """The known cells, one row each, with `done`."""
        missing = {cell.cell_id for cell in self.missing}
        rows = [
            {**{key: getattr(cell, key) for key in OF_CELL}, "done": cell.cell_id not in missing} for cell in self.known
        ]
        return pd.DataFrame(rows, columns=[*OF_CELL, "done"])

    @property
    def foresight(self) -> Foresight:
        """Which metrics each view will measure, and whether it can decide; see `Foresight.to_json`."""
        return self.prepared.foresight

    @property
    def workers(self) -> int:
        """Packs that run at once on this machine alone."""
        return local_workers(self.prepared.config.executor)

    def estimate(self) -> Estimate:
        """Wall seconds on this machine, from finished cells, else from a few real training steps."""
        further = sum(item.cells for item in self.upcoming)
        return estimate(self.prepared, self.missing, further=further, workers=self.workers)


def plan(config: SweepConfig) -> Plan:
    """What `run` would do. Reads the screen and tries every split; writes nothing.

    >>> found = sweeper.plan(sweeper.load_config("sweep.yaml"))
    >>> len(found.missing), len(found.known)
    (33, 33)
    >>> sorted(found.cells["trainer"].unique())[-1]
    'control:sphering'

    Raises:
        InputError: something is wrong with the configuration or the screen, or the folder holds another sweep.
    """
    return planned(prepare(config, embed=False))


def planned(prepared: Prepared) -> Plan:
    """`plan` of a sweep whose screen has been read."""
    done = prepared.store.finished()
    known = prepared.known_cells()
    return Plan(
        prepared=prepared,
        known=known,
        missing=tuple(cell for cell in known if cell.cell_id not in done),
        upcoming=tuple(upcoming_rounds(prepared)),
    )
