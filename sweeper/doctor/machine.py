"""The machine without any configuration: what is installed, its processors, its GPU."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sweeper.examined import Check


def installed_checks() -> Iterator[Check]:
    """Whether Python and every package are such as this package asks for."""
    wanted, python = importlib.metadata.metadata("sweeper")["Requires-Python"], platform.python_version()
    if python not in SpecifierSet(wanted, prereleases=True):
        yield Check("python", "wrong", f"Python {python}: sweeper needs {wanted}; make its environment anew")
    else:
        yield Check("python", "ok", f"Python {python}")
    wrong = list(_unmet(importlib.metadata.requires("sweeper") or ()))
    for text in wrong:
        yield Check("packages", "wrong", f"{text}; install requirements.lock again")
    if not wrong:
        told = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("sweeper", "torch", "ray", "mlflow"))
        yield Check("packages", "ok", told)


def _unmet(requirements: list[str] | tuple[str, ...]) -> Iterator[str]:
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{requirement.name} is not installed ({requirement} is needed)"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} is installed, {requirement} is needed"


def processor_check() -> Check:
    """Processors, memory and GPUs, as torch sees them."""
    import psutil
    import torch

    text = f"{os.cpu_count()} CPUs, {psutil.virtual_memory().total / 1e9:.0f} GB of memory"
    if not torch.cuda.is_available():
        return Check("machine", "ok", f"{text}, no GPU (torch {torch.__version__})")
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    listed = ", ".join(f"{card.name} ({card.total_memory / 1e9:.0f} GB)" for card in cards)
    return Check("machine", "ok", f"{text}, {listed}")
