"""One round on a GPU: results beside the CPU's, packs, images against the card's peak, the panel, shares of a card.

    make benchmark-gpu                          (at most 10 minutes on one card; writes benchmarks/gpu_<the GPU>.json)
    python benchmarks/gpu --device cpu --small  (a rehearsal of minutes that needs no GPU, and measures nothing)

Every section is a process of its own with its own share of the time: one that fails or runs over is written down as
such, and the next one is begun. The result file is written after every section; `--sections` measures some anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECTIONS = {
    "equality": 90.0,
    "packs": 60.0,
    "images": 120.0,
    "shares": 160.0,
    "panel": 150.0,
}
"""Seconds that each may take, in the order of their worth."""


def measured(section: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What a section finds in a process of its own, or why it found nothing."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        command = [sys.executable, str(HERE), "--child", section, "--device", options.device, "--json", str(path)]
        try:
            ended = subprocess.run([*command, *["--small"] * options.small], timeout=seconds, check=False).returncode
            reason = f"ended with {ended}"
        except subprocess.TimeoutExpired:
            reason = f"not finished in {seconds:.0f} s"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"not_measured": reason}
    return {**found, "seconds": round(time.monotonic() - began, 1)}


def machine(device: str) -> dict[str, Any]:
    """What the figures are of."""
    import timm
    import torch
    from devices import device_name

    found = {"device": device_name(device), "cpus": os.cpu_count(), "machine": platform.machine()}
    return {**found, "versions": {"torch": torch.__version__, "timm": timm.__version__, "cuda": torch.version.cuda}}


def child(options: argparse.Namespace) -> None:
    """Measure one section; it may hand in what it has more than once, so that running over loses the rest alone."""

    def hand_in(found: dict[str, Any]) -> None:
        temporary = options.json.with_suffix(".tmp")
        temporary.write_text(json.dumps(found))
        temporary.replace(options.json)

    import_module(f"{options.child}_section").measure(options.device, options.small, hand_in)


def main() -> None:
    """Measure the sections one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes at which nothing is measured, to try it out")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=SECTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]
    if options.child:
        child(options)
        return
    from devices import result_path

    path = options.json or result_path(str(HERE), options.device)
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found |= {"command": "make benchmark-gpu", "machine": machine(options.device), "small": options.small}
    for section in options.sections:
        found[section] = measured(section, options, SECTIONS[section])
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(section, json.dumps(found[section]), flush=True)


if __name__ == "__main__":
    main()
