"""The one place that knows Ray: packs of cells as Ray Tune trials, on a local or an existing cluster.

Tune is a restartable executor of a plan. Identity, resume and results live in the store, so a trial that is lost costs
at most the cells in flight, and `Tuner.restore` (which unpickles, and cannot grow a sweep) is never needed.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.config.sections import ExecutorOptions
from sweeper.errors import InputError
from sweeper.planning.cells import PackPlan

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# `uv run` would make Ray ship the working directory to every worker; the same installation is on all nodes.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
# Tune's own handler would end the run as if it were complete; an interrupt must end the sweep.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
# Without a GPU grant Ray 2.60 leaves CUDA_VISIBLE_DEVICES alone from now on; saying so keeps it from warning.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

MAX_TEMP_DIR = 45
"""Ray's socket path fails above this many characters of temp dir."""
PROBE_SECONDS = 5.0
"""How long a cluster's head may take to accept a connection."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the execution stands, told after every report of a trial."""

    training: Mapping[str, float]
    """Pack id → share of its training that is done, for the packs in flight."""


@dataclass(frozen=True, kw_only=True)
class PackFailure:
    """A pack whose worker died more often than allowed."""

    pack: PackPlan
    reason: str
    out_of_memory: bool


def _preflight(folder: Path) -> None:
    """On several nodes the store must be one place: every node reads the driver's probe file and writes its own."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return

    def probe(path: str, name: str) -> bool:
        from pathlib import Path as LocalPath

        there = LocalPath(path)
        if not (there / ".probe").exists():
            return False
        (there / f".probe-{name}").write_text(name)
        return True

    (folder / ".probe").write_text("driver")
    try:
        remote = ray.remote(num_cpus=0)(probe)
        asked = {
            node["NodeManagerHostname"]: remote.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str(folder), node["NodeID"])
            for node in nodes
        }
        for host, answer in asked.items():
            try:
                shared = ray.get(answer, timeout=60)
            except (OSError, ray.exceptions.RayError) as error:
                raise InputError(f"node {host}: cannot write to {folder}: {error}") from None
            if not shared:
                raise InputError(f"node {host}: does not see {folder}; choose a folder on storage that all nodes share")
    finally:
        for path in folder.glob(".probe*"):
            path.unlink()


def check_environment() -> None:
    """Refuse what Ray would fail on only after minutes, from the environment alone. Raises `InputError`."""
    if len(temporary := os.environ.get("RAY_TMPDIR", "")) > MAX_TEMP_DIR:
        raise InputError(f"RAY_TMPDIR={temporary}: over {MAX_TEMP_DIR} characters, Ray's sockets would fail there")
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise InputError(
            f"RAY_ADDRESS={address}: Ray Client is not supported; run the same command on the cluster, "
            "e.g. `ray job submit -- sweeper run …`, or give host:6379"
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return  # none, or Ray's own words "auto" and "local"
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"RAY_ADDRESS={address}: nothing answers there ({error}); give host:port of a Ray head"
        ) from None


def _own_token() -> None:
    """Token authentication for a Ray of our own: its ports listen on every interface, the token is what guards them.

    Ray would otherwise write a world-readable token file into the home folder. Must come before Ray is imported.
    """
    if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class Executor:
    """A connection to Ray for the length of a `with` block."""

    def __init__(self, options: ExecutorOptions, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._connected_here = False
        self._before: Any = None

    def __enter__(self) -> Executor:
        address = os.environ.get("RAY_ADDRESS", "")
        check_environment()
        if not address:
            _own_token()
        import ray

        if not ray.is_initialized():
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            try:
                if address:
                    ray.init(**quiet)
                else:
                    # "local", not None: None would join whatever cluster was last started on this machine.
                    ray.init(address="local", include_dashboard=False, **quiet)
            except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                first = str(error).strip().splitlines()[0]
                raise InputError(
                    f"RAY_ADDRESS={address or '(local)'}: cannot connect to Ray: {first}; a cluster with token "
                    "authentication needs RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
                ) from None
            self._connected_here = True
        if threading.current_thread() is threading.main_thread():
            # Ray's own handler dumps a stack; a scheduler that ends the job is an interruption like Ctrl-C.
            self._before = signal.signal(signal.SIGTERM, _interrupt)
        _preflight(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        if self._connected_here:
            ray.shutdown()

    @property
    def workers(self) -> int:
        """How many packs run at once."""
        import ray

        total = ray.cluster_resources()
        slots = [total.get("CPU", 1) / self._options.cpus_per_pack]
        if self._options.gpus_per_pack:
            slots.append(total.get("GPU", 0) / self._options.gpus_per_pack)
        if self._options.memory_gb_per_pack:
            slots.append(total.get("memory", 0) / (self._options.memory_gb_per_pack * 1e9))
        workers = int(min(slots))
        if workers < 1:
            raise InputError(
                f"executor: a pack asks for {self._options.cpus_per_pack:g} CPU, {self._options.gpus_per_pack:g} GPU"
                f" and {self._options.memory_gb_per_pack or 0:g} GB, Ray has {total.get('CPU', 0):g} CPU, "
                f"{total.get('GPU', 0):g} GPU and {total.get('memory', 0) / 1e9:.1f} GB; ask for less"
            )
        return workers

    def run(
        self,
        packs: Sequence[tuple[PackPlan, Path]],
        *,
        on_progress: Callable[[Progress], None],
        on_pack: Callable[[PackPlan], None],
        reuse_actors: bool = True,
    ) -> list[PackFailure]:
        """Run each (pack, its file) as one trial. Returns the packs that could not be finished.

        A fresh actor a trial (`reuse_actors` False) pays for its imports every time; it is for comparison only.

        `on_pack` is called in this process when a pack ended and its finished cells are in the store.
        """
        from ray import tune

        if not packs:
            return []
        options = self._options
        by_file = {str(path): pack for pack, path in packs}
        resources: dict[str, float] = {"cpu": options.cpus_per_pack}
        if options.gpus_per_pack:
            resources["gpu"] = options.gpus_per_pack
        if options.memory_gb_per_pack:
            resources["memory"] = options.memory_gb_per_pack * 1e9
        scratch = self._folder / ".tune"
        tuner = tune.Tuner(
            tune.with_resources(make_trainable(options.gpus_per_pack > 0, options.cpus_per_pack), resources),
            param_space={"pack_file": tune.grid_search(list(by_file))},
            tune_config=tune.TuneConfig(reuse_actors=reuse_actors, max_concurrent_trials=min(self.workers, len(packs))),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=str(scratch),
                failure_config=tune.FailureConfig(max_failures=options.max_failures),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
                callbacks=[_make_callback(by_file, on_progress, on_pack)],
                verbose=0,
            ),
        )
        try:
            results = tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        failures = []
        for result in results:
            if result.error is not None:
                text = str(result.error).strip()
                memory = "OutOfMemory" in text or "MemoryError" in text
                failures.append(
                    PackFailure(
                        pack=by_file[result.config["pack_file"]],
                        reason=(text.splitlines() or ["the worker ended without a word"])[-1][:500],
                        out_of_memory=memory,
                    )
                )
        return failures


def make_trainable(gpu: bool, cpus: float) -> type:
    """The Tune trainable that runs one pack; an actor is reused for the next pack."""
    from ray import tune

    from sweeper.running.worker import PackRun

    class PackTrainable(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            import torch

            torch.set_num_threads(max(1, int(cpus)))
            self._run = PackRun(Path(config["pack_file"]), device="cuda" if gpu else "cpu", threads=max(1, int(cpus)))
            self._scoring: Any = None
            self._cells_done = 0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            if gpu:
                import torch

                torch.cuda.empty_cache()  # of the pack before: its last reference went with setup
            return True

        def step(self) -> dict[str, Any]:
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


def _make_callback(
    by_file: Mapping[str, PackPlan], on_progress: Callable[[Progress], None], on_pack: Callable[[PackPlan], None]
) -> Any:
    from ray import tune

    class Follow(tune.Callback):
        def __init__(self) -> None:
            self.training: dict[str, float] = {}

        def __reduce__(self) -> tuple[Any, tuple[()]]:
            """Tune pickles its callbacks for a restore that never happens; ours holds the driver's threads."""
            return tune.Callback, ()

        def _tell(self) -> None:
            on_progress(Progress(training=dict(self.training)))

        def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
            self.training[by_file[trial.config["pack_file"]].pack_id] = result["fraction"]
            self._tell()

        def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
            self._end(trial)

        def on_trial_error(self, *, trial: Any, **_: Any) -> None:
            self._end(trial)

        def _end(self, trial: Any) -> None:
            pack = by_file[trial.config["pack_file"]]
            self.training.pop(pack.pack_id, None)
            on_pack(pack)
            self._tell()

    return Follow()
