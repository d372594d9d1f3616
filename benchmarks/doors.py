"""How long the quick verbs take, as ratios to `import pandas`.

    make benchmark-doors        (a minute on a quiet machine)

Each verb is a process of its own. CPU seconds (user and system), not wall: they hardly depend on what else the machine
does. In each round every verb runs once, in turn, with `import pandas` first; the ratio is taken within the round, and
the median of the rounds is given. The table read is the real one of configs/jump_source3.yaml, where it is there; else
a simulated table of 3,400 rows and 108 features.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_suffix(".json")
REAL = Path(__file__).parents[1] / "configs" / "jump_source3.yaml"
AIMS = {"--help": 0.1 / 1.9, "validate --keys": 1.0 / 1.9, "validate": 2.5 / 1.9, "plan": 3.0 / 1.9}
"""The times asked for over the 1.9 s that `import pandas` takes on the two cores that they were asked for on."""


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def configuration(folder: Path) -> tuple[Path, str]:
    """A configuration of a table on disk, and what the table is."""
    import yaml

    from sweeper.config.sweep_config import load_config

    if REAL.exists() and (screen := load_config(REAL).screen) is not None and screen.path.exists():
        return REAL, "the real table of configs/jump_source3.yaml"
    from trainers.screens.readers import screen_frame
    from trainers.screens.simulated_screen import simulate
    from trainers.screens.simulation_spec import SimulationSpec

    spec = SimulationSpec(batches=9, plates_per_batch=1, wells_per_plate=384, features=108, perturbations=80, seed=1)
    screen_frame(simulate(spec).screen).to_csv(folder / "table.csv.gz", index=False)
    path = folder / "sweep.yaml"
    data = {"name": "doors", "screen": {"path": "table.csv.gz"}, "views": [{"view": "held_out_batches"}]}
    path.write_text(yaml.safe_dump(data))
    return path, f"simulated, {9 * 384} rows × 108 features"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    sweeper = [sys.executable, "-m", "sweeper"]
    with tempfile.TemporaryDirectory() as made:
        path, table = configuration(Path(made))
        out = f"folder={made}/none"
        commands = {
            "import pandas": [sys.executable, "-c", "import pandas"],
            "--help": [*sweeper, "--help"],
            "validate --keys": [*sweeper, "validate", "--keys"],
            "validate": [*sweeper, "validate", str(path), "--set", out],
            "plan --no-estimate": [*sweeper, "plan", str(path), "--no-estimate", "--set", out],
            "plan": [*sweeper, "plan", str(path), "--set", out],
        }
        for command in commands.values():
            cpu_seconds(command)  # byte code is compiled, files are in the page cache
        rounds = [{name: cpu_seconds(command) for name, command in commands.items()} for _ in range(given.rounds)]
    found: dict[str, dict[str, Any]] = {}
    for name in commands:
        ratios = [measured[name] / measured["import pandas"] for measured in rounds]
        found[name] = {
            "cpu_seconds": round(statistics.median(measured[name] for measured in rounds), 3),
            "ratio": round(statistics.median(ratios), 2),
            "range": [round(min(ratios), 2), round(max(ratios), 2)],
            "aim": round(AIMS[name], 2) if name in AIMS else None,
        }
        print(f"{name:20}{found[name]['cpu_seconds']:8.2f} s  × {found[name]['ratio']:.2f}  (aim {found[name]['aim']})")
    document = {
        "schema": "doors/1",
        "table": table,
        "rounds": given.rounds,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "verbs": found,
    }
    RESULT.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
