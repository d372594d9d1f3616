"""Installing what the tests and the documentation need changes no version that the product runs on."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK, REFERENCE, DOCS, HARMONY, S3, S3_SERVER = (
    dict(line.split("==") for line in (ROOT / name).read_text().split())
    for name in (
        "requirements.lock",
        "requirements-reference.lock",
        "requirements-docs.lock",
        "requirements-harmony.lock",
        "requirements-s3.lock",
        "requirements-s3-server.lock",
    )
)


def test_the_reference_lock_only_adds() -> None:
    assert not LOCK.keys() & REFERENCE.keys()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = project["optional-dependencies"]["metrics-reference"]
    assert {f"{name}=={REFERENCE[name]}" for name in ("scib-metrics", "pycytominer")} <= set(pinned)
    assert not {"jax", "jaxlib", "scanpy"} & LOCK.keys()


def test_the_lock_of_the_documentation_only_adds() -> None:
    assert not LOCK.keys() & DOCS.keys()
    assert {name: DOCS[name] for name in DOCS.keys() & REFERENCE.keys()} == {
        name: REFERENCE[name] for name in DOCS.keys() & REFERENCE.keys()
    }
    assert {"mkdocs", "mkdocs-material", "mkdocstrings-python"} <= DOCS.keys()


def test_the_lock_of_harmony_only_adds() -> None:
    """GPL-3 stays outside what is installed unasked."""
    assert HARMONY.keys() == {"harmonypy"}
    assert not LOCK.keys() & HARMONY.keys()


def test_the_lock_of_storage_by_url_only_adds_and_its_server_stays_outside() -> None:
    assert {"s3fs", "aiobotocore", "botocore"} <= S3.keys()
    assert "moto" in S3_SERVER
    others = LOCK.keys() | REFERENCE.keys() | DOCS.keys()
    assert not S3.keys() & (others | S3_SERVER.keys())
    assert not S3_SERVER.keys() & others
