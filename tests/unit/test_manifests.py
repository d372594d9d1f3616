"""What starts a cluster, held against the schemas that are published for it, and run where it can be run."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from sweeper.cli import parser
from sweeper.config.sweep_config import build_config
from tests.public_examples import CONFIG

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "docker/kubernetes"
SLURM = ROOT / "docker/slurm/sweep.sbatch"
LOCK = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")))


CLUSTERS = {"rayjob.yaml": ("RayJob", ("rayClusterSpec",)), "raycluster.yaml": ("RayCluster", ())}


def cluster_of(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest, and the cluster that it describes."""
    (manifest,) = documents(name)
    kind, way = CLUSTERS[name]
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
    spec = manifest["spec"]
    for key in way:
        spec = spec[key]
    return manifest, spec


def check(resource: dict[str, Any]) -> None:
    """Against the schemas of Kubernetes itself; a key that they do not know is an error."""
    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def test_the_schemas_refuse_what_kubernetes_would() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"nome": "ray"}]}})


def test_the_shared_volume_and_the_configuration() -> None:
    volume, configuration = documents("storage.yaml")
    check(volume)
    check(configuration)
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    config = build_config(yaml.safe_load(configuration["data"]["my.yaml"]), "storage.yaml")
    assert config.output.is_relative_to("/sweeps")
    assert config.screen is not None
    assert config.screen.path.is_relative_to("/sweeps")


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_pod_of_a_cluster(name: str) -> None:
    volume, configuration = documents("storage.yaml")
    _, cluster = cluster_of(name)
    assert cluster["rayVersion"] == LOCK["ray"]
    assert cluster["authOptions"] == {"mode": "token"}
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, "spec": pod})
        assert pod["securityContext"]["runAsNonRoot"] is True
        (node,) = pod["containers"]
        assert node["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        named = {each["name"]: each for each in pod["volumes"]}
        assert {mount["name"]: mount["mountPath"] for mount in node["volumeMounts"]}.items() >= {
            ("sweeps", "/sweeps"),
            ("shared-memory", "/dev/shm"),  # noqa: S108 - of the pod
        }
        assert {mount["name"] for mount in node["volumeMounts"]} == set(named)
        assert named["sweeps"]["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]
        if "config" in named:
            assert named["config"]["configMap"]["name"] == configuration["metadata"]["name"]
    assert len({group["template"]["spec"]["containers"][0]["image"] for group in groups}) == 1


def test_the_job_runs_a_command_of_ours() -> None:
    manifest, cluster = cluster_of("rayjob.yaml")
    program, *words = manifest["spec"]["entrypoint"].split()
    assert program == "sweeper"
    options = parser(words[0]).parse_args(words)
    (mount,) = [
        each
        for each in cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        if each["name"] == "config"
    ]
    assert str(options.config.parent) == mount["mountPath"]
    assert options.config.name in documents("storage.yaml")[1]["data"]


def test_the_file_of_the_launcher_fits_rays_own_schema() -> None:
    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    launcher = yaml.safe_load((ROOT / "docker/ray_up.yaml").read_text())
    jsonschema.validate(launcher, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**launcher, "workers": 2}, schema)
    for command in (*launcher["head_start_ray_commands"][1:], *launcher["worker_start_ray_commands"][1:]):
        assert "RAY_AUTH_MODE=token" in command


def test_the_batch_script_is_sound() -> None:
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian's package of that name)")
    done = subprocess.run(["shellcheck", "--severity=warning", str(SLURM)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


SHIMS = {
    # As SLURM's own would, on one machine: every node of the allocation is this one.
    "srun": '#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nexec "$@"\n',
    "scontrol": '#!/bin/bash\nprintf "first\\nsecond\\n"\n',
    "hostname": '#!/bin/bash\necho "${SHIM_IP} 127.0.0.1"\n',
}


@pytest.mark.integration
@pytest.mark.slow
def test_the_batch_script_runs_a_sweep_on_a_head_and_a_worker(tmp_path: Path) -> None:
    """Real Ray, real token, real sweep; srun, scontrol and hostname are stand-ins, since there is no SLURM here."""
    shims = tmp_path / "bin"
    shims.mkdir()
    for name, text in SHIMS.items():
        (shims / name).write_text(text)
        (shims / name).chmod(0o755)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
    environment |= {
        "RAY_worker_niceness": "0",
        "PATH": os.pathsep.join([str(shims), str(Path(sys.executable).parent), environment["PATH"]]),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_PER_TASK": "1",
        "SHIM_IP": socket.gethostbyname(socket.gethostname()),
    }
    began = time.monotonic()
    done = subprocess.run(
        ["bash", str(SLURM), "tiny.yaml", "--set", "tracking.enabled=false"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"^ok +ray: +the cluster at [\d.]+:\d+: 2 nodes$", done.stdout, re.M)
    assert "a pack asks for 1 CPU: 2 at once" in done.stdout
    assert (tmp_path / "runs/tiny/report.html").exists()
    assert not Path(tempfile.gettempdir(), f"ray-{os.getpid()}").exists()
    assert time.monotonic() - began < 300
    alone = subprocess.run(["bash", str(SLURM)], env=environment, capture_output=True, text=True, check=False)
    assert alone.returncode == 2
    assert "usage: sbatch" in alone.stderr
