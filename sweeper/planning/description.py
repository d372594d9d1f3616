"""What sweep.json says of a sweep beside its id: configuration, versions, warnings, screen."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from sweeper.installed import versions
from sweeper.planning.prepared import Prepared
from trainers.registry import trainer_package


def sweep_description(prepared: Prepared, command: Sequence[str]) -> dict[str, Any]:
    """What sweep.json says of the sweep, beside its id."""
    wells = prepared.screen.wells
    return {
        "name": prepared.config.name,
        "config": prepared.config.model_dump(mode="json"),
        "identity": prepared.identity,
        "command": list(command),
        "versions": {**versions(), **trainer_package(prepared.config.trainer)},
        "warnings": list(prepared.warnings),
        "design": {view: index.to_json() for view, index in prepared.designs.items()},
        "nesting": prepared.nesting.to_json(),
        "account": prepared.account.to_json(),
        "screen": {
            "wells": len(wells),
            "features": prepared.screen.features.shape[1],
            "batches": int(wells["batch"].nunique()),
            "plates": int(wells["plate"].nunique()),
            "perturbations": int(wells["perturbation"].nunique()),
        },
    }


def command_line() -> list[str]:
    """How this process was called, without the folder of the program."""
    return ["sweeper", *sys.argv[1:]]
