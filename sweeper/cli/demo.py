"""Try it without data, GPU or server: simulated screen, real sweep, MLflow store, report, recommendation.

With --images the screen is images in the layout of RxRx1-WILDS: written, read by the real reader, packed, embedded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.cli.common import Counter, add_overrides

if TYPE_CHECKING:
    from sweeper.config.sweep_config import SweepConfig
    from trainers.screens.images.image_simulation_spec import ImageSimulationSpec

EXAMPLE = """examples:
  sweeper demo
  sweeper demo --dry-run
  sweeper demo --set folder=runs/other --set simulate.overlap=0
  sweeper demo --images
  sweeper demo --images --set folder=runs/balanced --set simulate_images.imbalance=0
  mlflow ui --backend-store-uri sqlite:///runs/demo/mlflow.db     browse the runs"""

SIMULATION = "simulate_images"
"""The section of demo_images.yaml that is the demo's own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper demo`."""
    parser.add_argument("--images", action="store_true", help="simulated images instead of profiles")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run; writes nothing")
    add_overrides(parser)


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.cli.run import sweep
    from sweeper.config.given import parse_yaml, with_overrides

    name = "demo_images.yaml" if options.images else "demo.yaml"
    data = parse_yaml(files("sweeper").joinpath(name).read_text(encoding="utf-8"), name)
    if options.images:
        config, spec, screen = with_overrides(_of_images, data, options.overrides, name)
        if options.dry_run and not (screen / "packed" / "manifest.json").exists():
            return _announce(config, spec, screen)
        if not options.dry_run:
            _write_and_pack(config, spec, screen)
    else:
        config = with_overrides(_config, data, options.overrides, name)
    if options.dry_run:
        import sweeper
        from sweeper.cli.plan import print_plan

        print_plan(sweeper.plan(config))
        return 0
    return sweep(config)


def _config(data: Mapping[str, Any], source: str) -> SweepConfig:
    from sweeper.config.sweep_config import SweepConfig, located, read

    return located(read(SweepConfig, data, source), Path(source))


def _of_images(given: Mapping[str, Any], source: str) -> tuple[SweepConfig, ImageSimulationSpec, Path]:
    """The sweep, the images that it is of, and the folder where they are written."""
    data = {key: value for key, value in given.items() if key != SIMULATION}
    spec = _simulation(given.get(SIMULATION) or {}, source)
    config = _config({**data, "images": {"packed": ""}}, source)  # wrong keys show before anything is written
    screen = config.output.with_name(f"{config.output.name}-screen")
    images = {"layout": "wilds", "path": str(screen), "packed": str(screen / "packed")}
    return _config({**data, "images": images}, source), spec, screen


def _simulation(given: Any, source: str) -> ImageSimulationSpec:
    """The simulated images that the section describes; raises `ConfigError` naming the key."""
    from sweeper.config.sweep_config import read
    from sweeper.errors import ConfigError
    from trainers.screens.images.image_simulation_spec import ImageSimulationSpec

    if not isinstance(given, dict):
        raise ConfigError(f"{source}: {SIMULATION}: expected keys and values, got {given!r}")
    spec = read(ImageSimulationSpec, given, f"{source}: {SIMULATION}")
    if spec.channels != 3:
        raise ConfigError(f"{source}: {SIMULATION}.channels: the demo writes the layout of RxRx1-WILDS, 3 channels")
    return spec


def _write_and_pack(config: SweepConfig, spec: ImageSimulationSpec, screen: Path) -> None:
    """Write the images and pack them; what is there already is left as it is, and what was begun is continued."""
    import os

    from sweeper.cli.pack import PackCounter
    from sweeper.errors import InputError
    from trainers.screens.images.image_simulation import draw_simulation
    from trainers.screens.images.packing import pack
    from trainers.screens.images.simulated_images import write_images
    from trainers.screens.images.source import WildsSource, list_source
    from trainers.screens.images.wilds_rxrx1 import FOLDER

    if (screen / FOLDER / "metadata.csv").exists():
        written = json.loads((screen / "truth.json").read_text(encoding="utf-8"))["spec"]
        asked = spec.model_dump()
        if other := [key for key in asked if written.get(key) != asked[key]]:
            raise InputError(
                f"{screen}: holds other simulated images ({other[0]} {written.get(other[0])}, asked for "
                f"{asked[other[0]]}); choose another folder, e.g. --set folder=runs/other"
            )
    else:
        write_images(draw_simulation(spec), screen, "wilds", progress=Counter("images written"))
    source = config.images
    assert isinstance(source, WildsSource)  # noqa: S101 - the demo gave it
    assert source.packed is not None  # noqa: S101
    pack(list_source(source), source.packed, workers=len(os.sched_getaffinity(0)), progress=PackCounter())


def _announce(config: SweepConfig, spec: ImageSimulationSpec, screen: Path) -> int:
    """A dry run before there are images: what would be written, and how many cells would follow."""
    from sweeper.planning.prepared import grid_cells
    from trainers.screens.images.image_simulation import draw_simulation
    from trainers.screens.images.simulated_images import simulated_wells
    from trainers.screens.splits import fold_count

    wells = simulated_wells(draw_simulation(spec))
    folds: dict[str, int] = {view.view: fold_count(view, wells) for view in config.views}
    cells = grid_cells(config, sweep_id="", folds=folds)
    trained = sum(not cell.is_control for cell in cells)
    print(f"images:    {len(wells):,} of {spec.channels} channels, {spec.size}×{spec.size}, to be written to {screen}")
    print(f"cells:     {len(cells)}: 0 done, {len(cells)} missing ({trained} to train), in {config.output}")
    return 0
