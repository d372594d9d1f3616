"""The panel of 50,000 × 256 with its large products on the device; `panel_speed.py` has the CPU's figures."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[1] / "panel_speed.py"


def measure(device: str, small: bool, hand_in: Callable[[dict[str, Any]], None]) -> None:
    """Seconds of every metric, as far as the time reaches."""
    wells = "2000" if small else "50000"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "panel.json"
        words = ["--device", device, "--who", "panel", "--wells", wells, "--minutes", "1.5", "--json", str(path)]
        subprocess.run([sys.executable, str(SCRIPT), *words], check=True)
        run = next(found for found in json.loads(path.read_text())["runs"] if found["dimensions"] == 256)
    steps = run["steps"]
    found: dict[str, Any] = {"wells": int(wells), "dimensions": 256, "metrics": len(steps) - 1, "of": _all_metrics()}
    found["wall_seconds"] = round(sum(step["seconds"] for step in steps.values()), 1)
    found["slowest"] = dict(
        sorted(((name, step["seconds"]) for name, step in steps.items()), key=lambda pair: -pair[1])[:5]
    )
    found["peak_gb"] = max(step["peak_gb"] for step in steps.values())
    hand_in(found)


def _all_metrics() -> int:
    from sweeper.metrics.registry import REGISTRY

    return len(REGISTRY)
