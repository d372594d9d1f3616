"""What every node of a Ray is: its resources, versions, clock and disks, and whether it sees what the driver sees.

Knows Ray, as `ray_driver` does, in whose process it runs. What the facts mean is said by `node_checks`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainers.screens.place import Place, is_url

PATIENCE = 60.0
"""Seconds that a node may take to answer."""
PROBE = ".sweeper-probe-"


def survey(where: str, *, versioned: Sequence[str], data: Sequence[str], gpu: bool, cluster: bool) -> dict[str, Any]:
    """Facts of every living node, as JSON holds them.

    Args:
        where: folder or URL of the results; a folder exists. A file is written there, read by every node, and answered
            by one each.
        versioned: distributions whose versions are told.
        data: files that nodes read during a sweep; each tells their digest.
        gpu: whether torch must see a GPU there (an import of seconds).
        cluster: ask by Ray tasks; a Ray of our own is this machine, looked at from this process.
    """
    import ray

    look = _make_look()
    token = secrets.token_hex(16)
    shared, probe = _shared(where), f"{PROBE}{token}"
    asked = (f"{where}/{probe}", token, tuple(versioned), tuple(data))
    nodes = [node for node in ray.nodes() if node["Alive"]]
    try:
        shared.put(probe, token.encode())
        here = look(*asked, "driver", False)
        found = _ask(look, asked, nodes, gpu) if cluster else [look(*asked, node["NodeID"], gpu) for node in nodes]
        for facts, node in zip(found, nodes, strict=True):
            answer = f"{probe}-{node['NodeID']}"
            if "error" not in facts and facts["storage"] is None and not _holds(shared, answer, token):
                facts["storage"] = "what it writes there is not seen here"
    finally:
        for name in (probe, *(f"{probe}-{who}" for who in ("driver", *(node["NodeID"] for node in nodes)))):
            shared.delete(name)
    named = [
        {"host": node["NodeManagerHostname"], "id": node["NodeID"], "resources": node["Resources"], **facts}
        for node, facts in zip(nodes, found, strict=True)
    ]
    return {"folder": where, "here": here, "nodes": named}


class _Folder:
    """What is asked of a `Place`, of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        (self._folder / name).write_bytes(content)

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


def _shared(where: str) -> Place | _Folder:
    return Place(where) if is_url(where) else _Folder(Path(where))


def _holds(shared: Place | _Folder, name: str, token: str) -> bool:
    """Whether the file is there; a share that caches names may take some seconds to show it."""
    until = time.monotonic() + 5.0
    while True:
        with suppress(OSError):
            if shared.read(name) == token.encode():
                return True
        if time.monotonic() > until:
            return False
        time.sleep(0.2)


def _ask(
    look: Callable[..., dict[str, Any]], asked: tuple[Any, ...], nodes: Sequence[dict[str, Any]], gpu: bool
) -> list[dict[str, Any]]:
    """The facts of each node, by a task that is bound to it; {"error": …} where it does not answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0)(look)
    began = time.time()
    answers = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            *asked, node["NodeID"], gpu and node["Resources"].get("GPU", 0) > 0
        )
        for node in nodes
    ]
    found = []
    for answer in answers:
        try:
            facts = ray.get(answer, timeout=PATIENCE)
        except ray.exceptions.GetTimeoutError:
            found.append({"error": f"did not answer within {PATIENCE:.0f} s"})
            continue
        except (OSError, ray.exceptions.RayError) as error:
            found.append({"error": (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]})
            continue
        # Its clock was read after we asked and before we were told.
        ended = time.time()
        facts["ahead"] = max(0.0, facts["clock"] - ended) - max(0.0, began - facts["clock"])
        found.append(facts)
    return found


def _make_look() -> Callable[..., dict[str, Any]]:
    """The look at a node. A nested function: it travels as it stands, to nodes where nothing of ours is installed."""

    def look(
        probe: str, token: str, versioned: tuple[str, ...], data: tuple[str, ...], node: str, gpu: bool
    ) -> dict[str, Any]:
        import hashlib
        import importlib.metadata
        import platform
        import shutil
        import tempfile
        import time
        from pathlib import Path

        def version(name: str) -> str | None:
            try:
                return importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                return None

        def storage() -> str | None:
            answer, content = f"{probe}-{node}", token.encode()
            try:
                if "://" in probe:
                    import fsspec

                    files, path = fsspec.url_to_fs(probe, use_listings_cache=False)
                    seen = files.cat_file(path)
                    files.pipe_file(f"{path}-{node}", content)
                else:
                    seen = Path(probe).read_bytes()
                    Path(answer).write_bytes(content)
            except FileNotFoundError:
                return "does not see it"
            except OSError as error:
                return f"cannot write there ({error.strerror or error})"
            except ImportError as error:
                return f"cannot write there ({error})"
            except Exception as error:  # noqa: BLE001 - whatever a provider's library raises
                return f"cannot write there ({str(error)[:200]})"
            return None if seen == content else "reads something else there"

        def digest(name: str) -> str | None:
            """Of size and content; of a large file its beginning, its end, and 62 places between."""
            block, places = 2**20, 64
            try:
                with Path(name).open("rb") as file:
                    size = file.seek(0, 2)
                    found = hashlib.sha256(str(size).encode())
                    starts = (
                        range(0, size, block)
                        if size <= block * places
                        else [(size - block) * place // (places - 1) for place in range(places)]
                    )
                    for start in starts:
                        file.seek(start)
                        found.update(file.read(block))
                    return found.hexdigest()
            except OSError:
                return None

        def cards() -> str | None:
            """What torch lacks to use a GPU; None: nothing."""
            try:
                import torch

                return None if torch.cuda.is_available() else "torch sees no CUDA device"
            except ImportError as error:
                return f"torch cannot be imported ({error})"

        clock = time.time()
        temp = shutil.disk_usage(tempfile.gettempdir())
        try:
            shared: int | None = shutil.disk_usage("/dev/shm").total  # noqa: S108 - where Ray keeps its objects
        except OSError:
            shared = None
        return {
            "clock": clock,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in versioned}},
            "storage": storage(),
            "data": {name: digest(name) for name in data},
            "temp": tempfile.gettempdir(),
            "temp_free": temp.free,
            "temp_used": 1.0 - temp.free / temp.total,
            "shm": shared,
            "cuda": cards() if gpu else None,
        }

    return look
