"""What the verbs need to take several methods: the arguments, and the configuration that they stand for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sweeper.cli.common import where

if TYPE_CHECKING:
    from sweeper.methods.methods_config import MethodsConfig


def add_methods(parser: argparse.ArgumentParser) -> None:
    """--methods and --folder."""
    parser.add_argument(
        "--methods",
        metavar="NAME,NAME",
        help="with a table in the place of CONFIG.yaml: sweep and compare these trainers, e.g. harmony,sphering,center",
    )
    parser.add_argument(
        "--folder", type=where, help="with --methods: where the results go (default: <table>_methods beside the table)"
    )


def asks_for_methods(options: argparse.Namespace) -> bool:
    """Whether a comparison is asked for: by --methods, a table, or a configuration with `methods`.

    Raises:
        InputError: arguments that do not go together.
    """
    from sweeper.config.given import apply_overrides, parse_yaml, read_text
    from sweeper.errors import InputError
    from sweeper.methods.methods_config import has_methods, is_table

    if is_table(options.config) or options.methods is not None:
        return True
    if options.folder is not None:
        raise InputError("--folder: is for a table with --methods; a configuration names its own, --set folder=FOLDER")
    text = read_text(options.config)
    return has_methods(apply_overrides(parse_yaml(text, str(options.config)), options.overrides))


def read_methods(options: argparse.Namespace) -> MethodsConfig:
    """The comparison that the arguments name; raises `InputError`."""
    from sweeper.library.comparing import methods_of

    methods = options.methods
    listed = None if methods is None else [name.strip() for name in methods.split(",") if name.strip()]
    return methods_of(options.config, listed, folder=options.folder, overrides=options.overrides)
