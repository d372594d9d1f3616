"""What several tables need: committed results, and numbers as they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STUDIES = Path(__file__).parents[1]
VIEWS = {"held_out_plates": "correct this screen", "held_out_batches": "generalise to new batches"}


def load(name: str) -> dict[str, Any]:
    """A committed result."""
    data: dict[str, Any] = json.loads((STUDIES / f"{name}.json").read_text(encoding="utf-8"))
    return data


def digits(value: float) -> str:
    """.123, without the 0 before."""
    return f"{value:.3f}".lstrip("0")


def scores(at: dict[str, Any]) -> str:
    """Accuracy / mAP / batch probe at one strength."""
    return " / ".join(digits(at[m]["mean"]) for m in ("perturbation_accuracy", "retrieval_map", "batch_probe_linear"))


def bound(value: float | None) -> str:
    """A λ, or a dash."""
    return "–" if value is None else f"{value:.3g}"


def by_device(name: str) -> list[dict[str, Any]]:
    """The result files of a script, the CPU's first, then a GPU's each."""
    paths = sorted(STUDIES.glob(f"{name}*.json"), key=lambda path: (path.stem != name, path.stem))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]
