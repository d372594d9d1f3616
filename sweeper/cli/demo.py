"""Try it without data, GPU or server: simulated screen, real sweep, MLflow store, report, recommendation."""

from __future__ import annotations

import argparse
from importlib.resources import files

from sweeper.cli.common import add_overrides

EXAMPLE = """examples:
  sweeper demo
  sweeper demo --set folder=runs/other --set simulate.overlap=0
  mlflow ui --backend-store-uri sqlite:///runs/demo/mlflow.db     browse the runs"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper demo`."""
    add_overrides(parser)


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.cli.run import sweep
    from sweeper.config import apply_overrides, build_config, parse_yaml

    text = files("sweeper").joinpath("demo.yaml").read_text(encoding="utf-8")
    return sweep(build_config(apply_overrides(parse_yaml(text, "demo.yaml"), options.overrides), "demo.yaml"))
