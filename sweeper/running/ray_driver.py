"""The one place that knows Ray: packs of cells as Ray Tune trials, on a local or an existing cluster.

Tune is a restartable executor of a plan. Identity, resume and results live in the store, so a trial that is lost costs
at most the cells in flight, and `Tuner.restore` (which unpickles, and cannot grow a sweep) is never needed.

Run as a process of its own by `sweeper.running.executor`, which may end it at any moment. JSON lines come in on stdin
(options and folder, then packs, again and again) and go out on stdout, each with its `kind`: survey (the nodes), ready,
alive, progress, pack, done; input (the user's to mend), storage (disk full), lost (Ray is gone). It leaves when stdin
ends.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeper.config.sections import ExecutorOptions
from sweeper.errors import InputError
from sweeper.running.node_checks import packs_at_once
from sweeper.running.node_survey import survey
from sweeper.running.surroundings import cluster_address, storage_trouble
from trainers.screens.place import Place, is_url

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# `uv run` would make Ray ship the working directory to every worker; the same installation is on all nodes.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
# Tune's own handler would end the run as if it were complete; an interrupt must end the sweep.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
# Without a GPU grant Ray 2.60 leaves CUDA_VISIBLE_DEVICES alone from now on; saying so keeps it from warning.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Ray gives its workers niceness 15. On a machine that does something else besides, such a sweep finished no cell in
# minutes; `nice sweeper run …` is there for whoever wants that.
os.environ.setdefault("RAY_worker_niceness", "0")


ALIVE_SECONDS = 2.0
STUCK_SECONDS = 120.0
"""Tune's loop turns many times a second; once it stands still for so long, it hangs."""

Say = Callable[..., None]


def main() -> None:
    """Start or join Ray, run what stdin asks for, leave when it ends."""
    wire = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed is not for the wire
    lock = threading.Lock()

    def say(kind: str, **what: Any) -> None:
        with lock, suppress(OSError):
            wire.write(json.dumps({"kind": kind, **what}) + "\n")
            wire.flush()

    given = json.loads(sys.stdin.readline())
    options, where, scratch = ExecutorOptions(**given["options"]), given["folder"], Path(given["scratch"])
    asked: list[dict[str, Any]] = []
    more = threading.Semaphore(0)

    def listen() -> None:
        for line in sys.stdin:
            asked.append(json.loads(line))
            more.release()
        _leave(scratch)

    threading.Thread(target=listen, daemon=True).start()
    try:
        _start()
        found = survey(
            where,
            versioned=given["versioned"],
            data=given["data"],
            gpu=options.gpus_per_pack > 0,
            cluster=bool(cluster_address()),
        )
        say("survey", found=found)
        # The heavy imports come before the first sign of life, which then comes every few seconds.
        make_trainable(options.gpus_per_pack > 0, options.cpus_per_pack)
    except InputError as error:
        say("input", reason=str(error))
        return
    except Exception as error:  # noqa: BLE001 - Ray raises bare exceptions where it does not come up
        say("lost", reason=f"it did not start: {_first_line(error)}")
        return
    workers = packs_at_once(found["nodes"], options)
    say("ready", workers=workers)
    pulse = _Pulse(say)
    while True:
        more.acquire()
        task = asked.pop(0)
        failures = _run(task["packs"], options, where, scratch, workers, task["reuse_actors"], say, pulse)
        pulse.running = False
        say("done", failures=failures)


def _leave(scratch: Path) -> None:
    """End at once, with every process that was started here and what they keep in the temp folder."""
    import psutil

    if cluster_address():  # a cluster is told, so that its workers are free at once
        threading.Timer(1.5, os._exit, (0,)).start()
        with suppress(Exception):
            import ray

            ray.shutdown()
    family = psutil.Process().children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=1)
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


def _start() -> None:
    """Start or join Ray."""
    address = cluster_address()
    if not address:
        _own_token()
        os.environ.pop("RAY_ADDRESS", None)
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        # "local", not None: None would join whatever cluster was last started on this machine.
        ray.init(address="local", include_dashboard=False, **quiet)
    else:
        try:
            ray.init(**quiet)
        except Exception as error:  # noqa: BLE001 - a node that does not come up raises a bare Exception
            raise InputError(
                f"RAY_ADDRESS={address}: cannot connect to Ray: {_first_line(error)}; a cluster with token "
                "authentication needs RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
            ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


class _Pulse:
    """Says that all is well every few seconds: the head answers, our raylet is up, Tune's loop turns."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.running = False
        self.turned = time.monotonic()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while (why := self._trouble()) is None:
            self._say("alive")
            time.sleep(ALIVE_SECONDS)
        self._say("lost", reason=why)

    def _trouble(self) -> str | None:
        """What is wrong; a head that does not answer at all is silence."""
        import ray

        if not cluster_address() and (dead := {"raylet", "gcs_server"} - _own_processes()):
            return f"its {dead.pop()} has died"
        try:
            mine = ray.get_runtime_context().get_node_id()
            alive = {node["NodeID"]: node["Alive"] for node in ray.nodes()}
        except Exception as error:  # noqa: BLE001 - whatever it is
            return f"its head does not answer ({_first_line(error)})"
        if not alive.get(mine, False):
            return "this node's raylet has died"
        if self.running and time.monotonic() - self.turned > STUCK_SECONDS:
            return f"Tune has stood still for {STUCK_SECONDS:.0f} s"
        return None


def _own_processes() -> set[str]:
    """Names of the living processes of a Ray of our own."""
    import psutil

    found = set()
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.name())
    return found


def _own_token() -> None:
    """Token authentication for a Ray of our own: its ports listen on every interface, the token is what guards them.

    Ray would otherwise write a world-readable token file into the home folder. Must come before Ray is imported.
    """
    if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _run(
    packs: Sequence[str],
    options: ExecutorOptions,
    where: str,
    scratch: Path,
    workers: int,
    reuse_actors: bool,
    say: Say,
    pulse: _Pulse,
) -> list[dict[str, Any]]:
    """Run each pack file as one trial; the packs that could not be finished, and why."""
    from ray import tune

    resources: dict[str, float] = {"cpu": options.cpus_per_pack}
    if options.gpus_per_pack:
        resources["gpu"] = options.gpus_per_pack
    if options.memory_gb_per_pack:
        resources["memory"] = options.memory_gb_per_pack * 1e9
    state = _State(where if cluster_address() else str(scratch))
    tuner = tune.Tuner(
        tune.with_resources(make_trainable(options.gpus_per_pack > 0, options.cpus_per_pack), resources),
        param_space={"pack_file": tune.grid_search(list(packs))},
        tune_config=tune.TuneConfig(reuse_actors=reuse_actors, max_concurrent_trials=min(workers, len(packs))),
        run_config=tune.RunConfig(
            name="packs",
            **state.options,
            failure_config=tune.FailureConfig(max_failures=options.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
            callbacks=[_make_callback(say, pulse)],
            verbose=0,
        ),
    )
    try:
        results = tuner.fit()
    except Exception as error:
        if (full := storage_trouble(error, state.disk)) is None:
            raise
        say("storage", reason=full)
        time.sleep(3600)  # until we are ended
    finally:
        state.remove()
    failures = []
    for result in results:
        if result.error is not None:
            text = str(result.error).strip()
            failures.append(
                {
                    "pack": result.config["pack_file"],
                    "reason": (text.splitlines() or ["the worker ended without a word"])[-1][:500],
                    "out_of_memory": "OutOfMemory" in text or "MemoryError" in text,
                }
            )
    return failures


class _State:
    """Where Tune keeps its own state: every node of a cluster must see it, nobody reads it afterwards."""

    def __init__(self, where: str) -> None:
        self.disk = Path(where)
        self.options: dict[str, Any] = {"storage_path": str(self.disk / ".tune")}
        self._place = Place(f"{where}/.tune") if is_url(where) else None
        if self._place is not None:
            from pyarrow.fs import FSSpecHandler, PyFileSystem

            files = PyFileSystem(FSSpecHandler(self._place.files))
            self.options = {"storage_path": self._place.path(""), "storage_filesystem": files}

    def remove(self) -> None:
        """Remove it; what cannot be removed is left behind."""
        if self._place is None:
            shutil.rmtree(self.disk / ".tune", ignore_errors=True)
            return
        with suppress(OSError):
            for name in self._place.list():
                self._place.delete(name)


def make_trainable(gpu: bool, cpus: float) -> type:
    """The Tune trainable that runs one pack; an actor is reused for the next pack."""
    from ray import tune

    from sweeper.running.worker import PackRun

    class PackTrainable(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            import torch

            torch.set_num_threads(max(1, int(cpus)))
            self._run = PackRun(config["pack_file"], device="cuda" if gpu else "cpu", threads=max(1, int(cpus)))
            self._scoring: Any = None
            self._cells_done = 0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            if gpu:
                import torch

                torch.cuda.empty_cache()  # of the pack before: its last reference went with setup
            return True

        def step(self) -> dict[str, Any]:
            try:
                return self._step()
            except Exception as error:
                full = storage_trouble(error, Path(self.config["pack_file"]).parent)
                if full is None:
                    raise
                return {"fraction": self._run.fraction, "cells_done": self._cells_done, "done": True, "storage": full}

        def _step(self) -> dict[str, Any]:
            done = False
            if self._scoring is None:
                if not self._run.advance():
                    self._scoring = self._run.finish()
            else:
                until = time.monotonic() + 1.0
                while not done and time.monotonic() < until:
                    done = next(self._scoring, None) is None
                    self._cells_done += not done
            return {"fraction": self._run.fraction, "cells_done": self._cells_done, "done": done}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing: the pack keeps its own checkpoint in the store."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Nothing: see `save_checkpoint`."""

    return PackTrainable


def _make_callback(say: Say, pulse: _Pulse) -> Any:
    from ray import tune

    class Follow(tune.Callback):
        def __reduce__(self) -> tuple[Any, tuple[()]]:
            """Tune pickles its callbacks for a restore that never happens; ours holds the driver's threads."""
            return tune.Callback, ()

        def on_step_begin(self, **_: Any) -> None:
            pulse.turned, pulse.running = time.monotonic(), True

        def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
            if full := result.get("storage"):
                say("storage", reason=full)
            say("progress", pack=trial.config["pack_file"], fraction=result["fraction"])

        def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
            say("pack", pack=trial.config["pack_file"])

        def on_trial_error(self, *, trial: Any, **_: Any) -> None:
            say("pack", pack=trial.config["pack_file"])

    return Follow()


if __name__ == "__main__":
    main()
