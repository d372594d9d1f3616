"""The short form of `make chaos`: one sweep that is disturbed again and again is the one that was left alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.chaos.disturbed import Disturbed, Moment
from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.surroundings import World

pytestmark = pytest.mark.integration

STRIKES = (
    ("a second driver at once", Moment(0.5, 2)),
    ("kill −9 of a worker", Moment(0.0, 2)),
    ("kill −9 of the sweep", Moment(0.0, 3)),
)


def test_a_disturbed_sweep_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    named = {fault.name: fault for fault in FAULTS}
    draw = random.Random(1)  # noqa: S311 - not a secret
    calm = Disturbed(world, "calm", on_cluster=False, draw=draw).run([], None)
    faults = [(named[name], moment) for name, moment in STRIKES]
    found = Disturbed(world, "disturbed", on_cluster=False, draw=draw).run(faults, calm["decision"])
    assert [strike["hit"] for strike in found["faults"]] == [True] * len(STRIKES), found
    assert found["finished"], found
    assert found["decision"] is True, found
    for key in ("lost", "trained_again", "hangs", "doubled", "unmirrored", "tracebacks"):
        assert found[key] == 0, found
    assert (found["orphans"], found["left"]) == ([], []), found
    assert found["codes"][-1] == 0
    assert found["codes"][0] == -9
