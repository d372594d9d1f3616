"""The chaos study: what strikes is drawn by seed and number alone, and its table sees every kind of harm."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.chaos.disturbed import COMMANDS, planned
from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.table import COUNTED, counts, table

WELL: dict[str, Any] = {
    "name": "chaos0",
    "finished": True,
    "faults": [
        {"fault": "the disk is full", "command": 0, "hit": True},
        {"fault": "interrupt, twice", "command": 1, "hit": False},
    ],
    "codes": [1, 0],
    "decision": True,
    "orphans": [],
    "left": [],
    **dict.fromkeys(("lost", "trained_again", "doubled", "hangs", "tracebacks"), 0),
}


def test_a_sweep_is_drawn_by_its_seed_and_number_alone() -> None:
    drawn = [planned(16, number, served=True, nodes=True) for number in range(60)]
    assert drawn == [planned(16, number, served=True, nodes=True) for number in range(60)]
    assert drawn != [planned(17, number, served=True, nodes=True) for number in range(60)]
    assert {fault.name for _, faults in drawn for fault, _ in faults} == {fault.name for fault in FAULTS}
    assert all(fault.cluster in (None, on_cluster) for on_cluster, faults in drawn for fault, _ in faults)
    assert all(len(faults) < COMMANDS for _, faults in drawn)


def test_without_servers_and_nodes_nothing_of_theirs_is_struck() -> None:
    for number in range(30):
        on_cluster, faults = planned(1, number, served=False, nodes=False)
        assert not on_cluster
        assert all("MLflow" not in fault.name and "Postgres" not in fault.name for fault, _ in faults)


@pytest.mark.parametrize(
    ("key", "value", "column"),
    [
        ("lost", 2, "lost"),
        ("trained_again", 1, "trained_again"),
        ("doubled", 3, "doubled"),
        ("hangs", 1, "hangs"),
        ("tracebacks", 1, "tracebacks"),
        ("decision", False, "another"),
        ("orphans", ["raylet"], "orphans"),
        ("left", ["session_1"], "orphans"),
    ],
)
def test_every_harm_is_counted(key: str, value: Any, column: str) -> None:
    assert set(counts(WELL).values()) == {0}
    found = counts({**WELL, key: value})
    assert {name for name, count in found.items() if count} == {column}
    struck = table({"sweeps": [WELL, {**WELL, "name": "chaos1", key: value}]})
    place = 4 + list(COUNTED).index(column)
    assert [row.split("|")[place].strip() for row in struck[-2:]] == [str(found[column])] * 2


def test_a_fault_that_found_nothing_is_no_hit() -> None:
    lines = table({"sweeps": [WELL]})
    assert any(line.startswith("| the disk is full | 1 | 1 (1×) |") for line in lines)
    assert not any("interrupt" in line for line in lines)
