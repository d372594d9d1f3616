"""The image and the stack, as far as their files tell without a container engine."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
LOCK = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())

Instructions = list[tuple[str, str]]


@pytest.fixture(scope="module")
def image() -> Instructions:
    """The Dockerfile as (instruction, arguments), continuation lines joined."""
    lines = [line for line in (DOCKER / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    logical = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in logical if line.strip())]


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    loaded = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def arguments(image: Instructions, word: str) -> list[str]:
    return [rest for instruction, rest in image if instruction == word]


def option(service: dict[str, Any], name: str) -> str:
    """The value of `--name=value` in a service's command."""
    [value] = [part.split("=", 1)[1] for part in service["command"] if part.startswith(f"{name}=")]
    return str(value)


def test_the_image_does_not_run_as_root(image: Instructions) -> None:
    defaults = dict(argument.split("=") for argument in arguments(image, "ARG"))
    [user] = arguments(image, "USER")
    assert user == "${UID}"
    assert int(defaults["UID"]) > 0
    after = image[image.index(("USER", user)) :]
    assert {word for word, _ in after} == {
        "USER",
        "HEALTHCHECK",
        "CMD",
    }  # nothing is built as, or handed back to, another user


def test_the_image_installs_the_lock_and_nothing_else(image: Instructions) -> None:
    installs = [run for run in arguments(image, "RUN") if "pip install" in run]
    assert len(installs) == 4
    assert installs[0].startswith('pip install --no-cache-dir "uv==')
    assert all("--no-deps" in run for run in installs[1:])
    assert "--require-hashes --requirements /src/locked.txt" in installs[1]
    assert "--require-hashes --requirements /src/locked_cuda.txt" in installs[2]
    assert "--no-build-isolation" in installs[3]  # the build backend, too, is the lock's
    assert {"ray", "mlflow", "torch", "setuptools", "psycopg", "flask-wtf"} <= LOCK.keys()


def test_the_locks_of_the_image_are_the_lock_with_hashes() -> None:
    """What needs CUDA stands apart, so that an image for CPUs can leave it out."""
    entries: dict[str, dict[str, str]] = {}
    for name in ("locked.txt", "locked_cuda.txt"):
        text = (DOCKER / name).read_text()
        found = re.findall(r"^(\S+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M)
        entries[name] = {package: version for package, version, _ in found}
        assert len(found) == len(re.findall(r"^\w", text, re.M)), f"{name}: an entry without a hash"
    assert not entries["locked.txt"].keys() & entries["locked_cuda.txt"].keys()
    assert entries["locked.txt"] | entries["locked_cuda.txt"] == LOCK, "make lock-image writes them anew"
    others = {name for name in entries["locked_cuda.txt"] if not name.startswith(("nvidia-", "cuda-"))}
    assert others == {"torch", "torchvision", "triton"}


def test_an_image_for_cpus_has_the_locked_torch(image: Instructions) -> None:
    """The pattern that picks what comes from the other index finds those two, and nothing of CUDA."""
    [chosen] = [run for run in arguments(image, "RUN") if "TORCH_INDEX" in run]
    [pattern] = re.findall(r"grep -ohE '(.+?)'", chosen)
    text = (DOCKER / "locked_cuda.txt").read_text()
    assert [found[0] for found in re.finditer(pattern, text, re.M)] == [
        f"{name}=={LOCK[name]}" for name in ("torch", "torchvision")
    ]


def test_the_image_has_the_python_and_the_uv_of_the_project(image: Instructions) -> None:
    assert arguments(image, "FROM") == ["${PYTHON_IMAGE}"]
    [base] = [each.split("=")[1] for each in arguments(image, "ARG") if each.startswith("PYTHON_IMAGE=")]
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert base == f"python:{python}-slim"
    make = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert make is not None
    assert f"UV_VERSION={make[1]}" in arguments(image, "ARG")


def test_the_image_reports_to_nobody(image: Instructions) -> None:
    values = dict(pair.split("=") for pair in shlex.split(" ".join(arguments(image, "ENV"))))
    assert values["RAY_USAGE_STATS_ENABLED"] == "0"
    assert values["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert values["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"


def test_only_what_is_copied_is_sent_to_the_build(image: Instructions) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for copy in arguments(image, "COPY") for source in copy.split()[:-1]}
    assert allowed == copied
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} <= copied
    assert all((ROOT / source).exists() for source in copied)


def test_every_service_is_the_same_unprivileged_image(stack: dict[str, Any]) -> None:
    assert set(stack["services"]) == {"postgres", "mlflow", "ray-head", "ray-worker", "sweeper"}
    database = stack["services"]["postgres"]
    assert database["cap_drop"] == ["ALL"]
    assert database["user"] == stack["services"]["mlflow"]["build"]["args"]["UID"]
    for name, service in stack["services"].items():
        if name == "postgres":
            continue
        assert service["image"] == "sweeper:local", name
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file(), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"user", "privileged", "network_mode", "pid"} & service.keys(), name


def test_ports_are_published_on_loopback_only(stack: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in stack["services"].items() if "ports" in service}
    assert ports == {"mlflow": ["127.0.0.1:5000:5000"], "ray-head": ["127.0.0.1:8265:8265"]}


def test_ray_keeps_its_token_and_finds_it_in_a_file(stack: dict[str, Any]) -> None:
    assert stack["secrets"] == {name: {"file": f"./secrets/{name}"} for name in ("postgres_password", "ray_auth_token")}
    assert "/secrets/" in (DOCKER / ".gitignore").read_text().split()
    for name in ("ray-head", "ray-worker", "sweeper"):
        service = stack["services"][name]
        assert service["secrets"] == ["ray_auth_token"]
        settings = {key: value for key, value in service["environment"].items() if key.startswith("RAY_AUTH")}
        assert settings == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/run/secrets/ray_auth_token"}
    assert "secrets" not in stack["services"]["mlflow"]


def test_the_server_asks_for_a_login_and_everybody_gets_theirs(stack: dict[str, Any], tmp_path: Path) -> None:
    """The script makes what the services read, once, readable by its owner alone."""
    docker = tmp_path / "docker"
    docker.mkdir()
    shutil.copy(DOCKER / "make_secrets.sh", docker)
    for _ in range(2):
        subprocess.run([docker / "make_secrets.sh"], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (docker / "secrets").iterdir()}
    before = dict(made)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (docker / "secrets").iterdir())
    server, login = (
        dict(line.split("=") for line in made.pop(name).split()) for name in ("mlflow_server.env", "mlflow_login.env")
    )
    assert set(made) == set(stack["secrets"])
    assert login["MLFLOW_TRACKING_PASSWORD"] == server["MLFLOW_AUTH_ADMIN_PASSWORD"]
    assert server["PGPASSWORD"] == made["postgres_password"].strip()
    assert len({*server.values(), made["ray_auth_token"].strip()}) == 4
    services = stack["services"]
    assert services["mlflow"]["env_file"] == ["./secrets/mlflow_server.env"]
    assert all(services[name]["env_file"] == ["./secrets/mlflow_login.env"] for name in ("ray-head", "sweeper"))
    assert option(services["mlflow"], "--app-name") == "basic-auth"
    settings = configparser.ConfigParser()
    settings.read(DOCKER / stack["configs"]["mlflow_auth"]["file"])
    assert settings["mlflow"]["admin_username"] == login["MLFLOW_TRACKING_USERNAME"]
    assert services["mlflow"]["environment"]["MLFLOW_AUTH_CONFIG_PATH"] == services["mlflow"]["configs"][0]["target"]
    subprocess.run([docker / "make_secrets.sh"], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (docker / "secrets").iterdir()} == before


def test_no_secret_is_written_down() -> None:
    literal = re.compile(
        r"(?i)(?:password|passwd|secret|token|key)\w*[ \t]*[:=][ \t]*['\"]?[a-z0-9+_-]{8,}(?![\w/-])|\b[0-9a-f]{32,}\b"
    )
    assert literal.search("RAY_AUTH_TOKEN: deadbeefdeadbeef")
    assert literal.search("postgres_password=letmein-now")
    for path in [*DOCKER.rglob("*.*"), DOCKER / "Dockerfile", ROOT / ".dockerignore"]:
        if path.name.startswith("locked") or "secrets" in path.parts:
            continue
        text = re.sub(r"secretKeyRef: \{.*?\}", "", path.read_text())  # where one is, not what it is
        assert literal.findall(text) == [], path


def test_the_object_store_fits_into_shared_memory(stack: dict[str, Any]) -> None:
    for name in ("ray-head", "ray-worker"):
        service = stack["services"][name]
        assert service["shm_size"] == "2gb"
        assert int(option(service, "--object-store-memory")) < 2 * 1024**3


def test_services_find_each_other(stack: dict[str, Any]) -> None:
    services = stack["services"]
    tracking = services["ray-head"]["environment"]["MLFLOW_TRACKING_URI"]
    assert tracking == f"http://mlflow:{option(services['mlflow'], '--port')}"
    allowed = option(services["mlflow"], "--allowed-hosts").split(",")
    assert {tracking.removeprefix("http://"), "127.0.0.1:5000", "localhost:5000"} == set(allowed)
    assert option(services["ray-worker"], "--address") == f"ray-head:{option(services['ray-head'], '--port')}"
    assert (
        f"--address=http://ray-head:{option(services['ray-head'], '--dashboard-port')}"
        in services["sweeper"]["entrypoint"]
    )
    assert services["sweeper"]["profiles"] == ["run"]
    shared = {name: services[name]["volumes"] for name in ("ray-head", "ray-worker", "sweeper")}
    assert set(map(tuple, shared.values())) == {("runs:/sweeps/runs",)}
    mounted = {volume.split(":")[0] for service in services.values() for volume in service["volumes"]}
    assert mounted == set(stack["volumes"])
    for service in services.values():
        for needed in service.get("depends_on", {}):
            assert "healthcheck" in services[needed]


def test_folders_of_volumes_exist_in_the_image_and_belong_to_its_user(
    stack: dict[str, Any], image: Instructions
) -> None:
    [made] = [run for run in arguments(image, "RUN") if "install --directory --owner=sweeper" in run]
    for name, service in stack["services"].items():
        for volume in service["volumes"] if name != "postgres" else []:
            assert volume.split(":")[1] in made.split()
    database = stack["services"]["postgres"]
    user, folder = database["environment"]["POSTGRES_USER"], database["volumes"][0].split(":")[1]
    assert Path(database["environment"]["PGDATA"]).parent == Path(folder)  # a folder that the user can make its own
    backend = option(stack["services"]["mlflow"], "--backend-store-uri")
    assert backend == f"postgresql+psycopg://{user}@postgres/{user}"
    assert option(stack["services"]["mlflow"], "--artifacts-destination").startswith("/mlflow/")


@pytest.mark.integration
def test_the_locked_versions_know_every_option_of_the_commands(stack: dict[str, Any]) -> None:
    programs = {"mlflow": ["mlflow", "server"], "ray": ["ray.scripts.scripts", "start"]}
    commands = [service["command"] for service in stack["services"].values() if "command" in service]
    commands = [command for command in commands if command[0] in programs]
    assert len(commands) == 3
    for program, (module, verb) in programs.items():
        shown = subprocess.run(
            [sys.executable, "-m", module, verb, "--help"], capture_output=True, text=True, timeout=120, check=True
        ).stdout
        known = set(re.findall(r"--[a-z][a-z-]+", shown))
        for command in commands:
            if command[0] == program:
                assert command[1] == verb
                assert {part.split("=")[0] for part in command[2:]} <= known, json.dumps(command)
