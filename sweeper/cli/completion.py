"""Print what makes a shell complete the verbs, options and files of sweeper."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """examples:
  sweeper completion bash   print it: put it into ~/.local/share/bash-completion/completions/sweeper
  sweeper completion zsh    put it into ~/.zfunc/_sweeper"""

SHELLS = ("bash", "zsh", "fish", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper completion`."""
    parser.add_argument("shell", choices=SHELLS, help="whose completion")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import shtab

    from sweeper.cli import VERBS, parser

    whole = parser(*VERBS)
    _name_files(whole)
    print(shtab.complete(whole, options.shell))
    return 0


def _name_files(parser: argparse.ArgumentParser) -> None:
    """What takes a path is completed by the names of files."""
    import shtab

    for action in parser._actions:
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _name_files(verb)
