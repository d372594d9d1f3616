"""What the facts of `survey` mean for a sweep: pure, so that `run` and `doctor` say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeper.config.sections import ExecutorOptions
from sweeper.examined import Check

ALIKE = ("python", "sweeper", "ray", "torch")
"""What must have one version on all nodes; others that differ are a note."""
SKEW = 10.0
"""Seconds by which clocks may differ: the lease of a sweep and the times in MLflow rely on them."""
TEMP_FREE, TEMP_USED = 10**9, 0.95
"""Bytes that a node's temp folder should have left, and the share in use above which Ray takes no object any more."""
SHARED_MEMORY = 2**28
"""Bytes of /dev/shm below which Ray moves its objects to the slow disk (Docker gives 64 MB)."""
REFUSED = frozenset({"nodes", "versions", "storage", "data", "executor"})
"""Checks that end a run before it begins; others are warnings there."""


def packs_at_once(nodes: Sequence[Mapping[str, Any]], options: ExecutorOptions) -> int:
    """How many packs fit, each on one node; 0: none, anywhere."""
    return sum(_packs(node["resources"], options) for node in nodes)


def _packs(resources: Mapping[str, float], options: ExecutorOptions) -> int:
    slots = [resources.get("CPU", 0) / options.cpus_per_pack]
    if options.gpus_per_pack:
        slots.append(resources.get("GPU", 0) / options.gpus_per_pack)
    if options.memory_gb_per_pack:
        slots.append(resources.get("memory", 0) / (options.memory_gb_per_pack * 1e9))
    return int(min(slots) + 1e-9)


def node_checks(found: Mapping[str, Any], options: ExecutorOptions) -> Iterator[Check]:
    """Every check of a Ray's nodes, those that are ok too."""
    names = _names(found["nodes"])
    for node in found["nodes"]:
        if "error" in node:
            yield Check(
                "nodes", "wrong", f"node {names[node['id']]}: {node['error']}; mend it, or take it out of the Ray"
            )
    nodes = [node for node in found["nodes"] if "error" not in node]
    yield from _versions(found["here"], nodes, names)
    yield from _storage(found["folder"], nodes, names)
    yield from _data(found["here"], nodes, names)
    yield from _resources(found["nodes"], options)
    yield from _places(nodes, names)
    yield from _clocks(nodes, names)


def _names(nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Node id → its host, with the beginning of the id where a host has several."""
    hosts = Counter(node["host"] for node in nodes)
    return {node["id"]: node["host"] + (f" ({node['id'][:6]})" if hosts[node["host"]] > 1 else "") for node in nodes}


def _versions(here: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[Check]:
    own = here["versions"]
    fine = True
    for node in nodes:
        other = {name: version for name, version in node["versions"].items() if version != own[name]}
        if not other:
            continue
        fine = False
        told = ", ".join(
            f"{name} {version or 'missing'} (here {own[name] or 'missing'})" for name, version in other.items()
        )
        grave = any(name in ALIKE or version is None for name, version in other.items())
        yield Check(
            "versions",
            "wrong" if grave else "note",
            f"node {names[node['id']]}: {told}; install the same versions on every node, e.g. from requirements.lock",
        )
    if fine:
        told = ", ".join(f"{name} {own[name]}" for name in ALIKE)
        yield Check("versions", "ok", f"{_count(len(nodes), 'node')} of {told}")


def _storage(folder: str, nodes: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[Check]:
    wrong = [node for node in nodes if node["storage"]]
    for node in wrong:
        yield Check(
            "storage",
            "wrong",
            f"node {names[node['id']]}: {folder}: {node['storage']}; choose a folder on storage that all nodes share",
        )
    if not wrong:
        yield Check(
            "storage", "ok", f"{folder} is written here and read there, and back, on {_count(len(nodes), 'node')}"
        )


def _data(here: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[Check]:
    fine = True
    for node in nodes:
        for path, digest in node["data"].items():
            if digest != here["data"][path]:
                fine = False
                told = "is not there, or cannot be read" if digest is None else "has another content than here"
                yield Check(
                    "data", "wrong", f"node {names[node['id']]}: {path} {told}; put the same file on every node"
                )
    if fine and here["data"]:
        yield Check(
            "data", "ok", f"{_count(len(here['data']), 'file')} of the screen alike on {_count(len(nodes), 'node')}"
        )


def _resources(nodes: Sequence[Mapping[str, Any]], options: ExecutorOptions) -> Iterator[Check]:
    asked = f"{options.cpus_per_pack:g} CPU"
    asked += f", {options.gpus_per_pack:g} GPU" if options.gpus_per_pack else ""
    asked += f", {options.memory_gb_per_pack:g} GB" if options.memory_gb_per_pack else ""
    if packs := packs_at_once(nodes, options):
        yield Check("executor", "ok", f"a pack asks for {asked}: {packs} at once")
    else:
        have = "; ".join(
            f"{each['resources'].get('CPU', 0):g} CPU, {each['resources'].get('GPU', 0):g} GPU, "
            f"{each['resources'].get('memory', 0) / 1e9:.1f} GB"
            for each in nodes[:4]
        )
        yield Check(
            "executor", "wrong", f"executor: a pack asks for {asked}, and no node has that ({have}); ask for less"
        )
    for node in nodes:
        if node.get("cuda"):
            yield Check(
                "executor", "wrong", f"node {node['host']}: {node['cuda']}; install a torch of its CUDA, and the driver"
            )


def _places(nodes: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[Check]:
    fine = True
    for node in nodes:
        name = names[node["id"]]
        if node["temp_free"] < TEMP_FREE or node["temp_used"] > TEMP_USED:
            fine = False
            yield Check(
                "temp",
                "wrong" if node["temp_used"] > TEMP_USED else "note",
                f"node {name}: {node['temp']} has {gigabytes(node['temp_free'])} left and is {node['temp_used']:.0%} "
                f"full (Ray takes nothing above {TEMP_USED:.0%}); make room, or set RAY_TMPDIR to a larger disk",
            )
        if node["shm"] is not None and node["shm"] < SHARED_MEMORY:
            fine = False
            yield Check(
                "temp",
                "note",
                f"node {name}: /dev/shm has {gigabytes(node['shm'])}, Ray is slow there; in Docker: --shm-size=2gb",
            )
    if fine and nodes:
        least = min(node["temp_free"] for node in nodes)
        yield Check("temp", "ok", f"temp folders have {gigabytes(least)} or more left")


def _clocks(nodes: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[Check]:
    fine = True
    for node in nodes:
        if abs(ahead := node.get("ahead", 0.0)) > SKEW:
            fine = False
            way = "ahead of" if ahead > 0 else "behind"
            yield Check(
                "clock",
                "wrong",
                f"node {names[node['id']]}: {abs(ahead):.0f} s {way} this machine; switch NTP on there",
            )
    if fine and len(nodes) > 1:
        yield Check("clock", "ok", f"clocks agree within {SKEW:.0f} s")


def gigabytes(count: float) -> str:
    """Bytes for people: 12.3 GB, or 45 MB where there are few."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
