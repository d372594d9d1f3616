"""A real Postgres (Debian's) and a real MLflow server with a login before it, on loopback, for tests and studies."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BINARIES = (Path("/usr/lib/postgresql"), Path("/usr/pgsql"))
LOGIN = Path(__file__).parents[2] / "docker/mlflow_auth.ini"
PATIENCE = 400.0


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def postgres_programs() -> Path | None:
    """The folder of initdb and postgres; None where Debian's package postgresql is not installed."""
    found = [path.parent for base in BINARIES for path in base.glob("*/bin/initdb")]
    if (on_path := shutil.which("initdb")) is not None:
        found.append(Path(on_path).resolve().parent)
    return max(found, default=None)


class Postgres:
    """A new database cluster in a temp folder, on a port of its own, that can be killed and started again."""

    def __init__(self) -> None:
        programs = postgres_programs()
        if programs is None:
            raise FileNotFoundError("Debian's package postgresql is not installed")
        self._programs, self._port = programs, free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        # It does not run as root.
        self._as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] * (os.getuid() == 0)
        if self._as_other:
            shutil.chown(self._folder, "postgres", "postgres")
        self._process: subprocess.Popen[bytes] | None = None
        initialise = [programs / "initdb", "-D", self._folder / "data", "-U", "mlflow", "--auth=trust", "-E", "UTF8"]
        subprocess.run([*self._as_other, *map(str, initialise)], check=True, capture_output=True, cwd=self._folder)

    @property
    def address(self) -> str:
        """What MLflow is given."""
        return f"postgresql+psycopg://mlflow@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {"port": self._port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self._folder}
        options = [f"--{key}={value}" for key, value in settings.items()]
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*self._as_other, *command], stdout=log, stderr=log, cwd=self._folder)
        ready = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self._port), "-U", "mlflow", "-q"]
        _until(lambda: subprocess.run(ready, check=False).returncode == 0, self._process, self._folder / "log")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: by a fast shutdown, or killed."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        """End it and remove what it held."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def running_postgres() -> Iterator[str]:
    """A new cluster for the length of the block; its address."""
    server = Postgres()
    try:
        server.start()
        yield server.address
    finally:
        server.remove()


@dataclass
class MLflow:
    """An MLflow server that can be stopped and started again on the same port and store."""

    backend: str
    folder: Path
    port: int
    workers: int = 1
    password: str = ""
    """Of the user "admin"; empty: no login."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the server; its workers are its children."""
        if self._process is None:
            raise RuntimeError("it is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={self.port}",
            f"--workers={self.workers}", f"--backend-store-uri={self.backend}",
            f"--artifacts-destination={self.folder / 'artifacts'}", "--serve-artifacts", "--allowed-hosts=127.0.0.1:*",
        ]  # fmt: skip
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        if self.password:
            command.append("--app-name=basic-auth")
            settings = self.folder / "basic_auth.ini"
            given = LOGIN.read_text(encoding="utf-8")
            settings.write_text(given.replace("/mlflow/users.db", str(self.folder / "users.db")), encoding="utf-8")
            environment["MLFLOW_AUTH_CONFIG_PATH"] = str(settings)
            environment["MLFLOW_AUTH_ADMIN_PASSWORD"] = self.password
            environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] = os.urandom(16).hex()
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            environment.pop(name, None)
        with (self.folder / "mlflow.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        _until(self._answers, self._process, self.folder / "mlflow.log")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, with its workers."""
        if self._process is None:
            return
        os.killpg(self._process.pid, how)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
        self._process = None

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()  # noqa: S310 - our own address
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


@contextmanager
def running_mlflow(backend: str, folder: Path, *, workers: int = 1, password: str = "") -> Iterator[MLflow]:
    """An MLflow server on a database; its artefacts and its log are in the folder."""
    server = MLflow(backend, folder, free_port(), workers, password)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"it did not come up: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)
