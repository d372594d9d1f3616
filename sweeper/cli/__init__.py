"""The command line: one module a verb. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import importlib
import os
import select
import sys
from collections.abc import Sequence

from sweeper import __version__
from sweeper.cli.interrupts import EXIT_INTERRUPTED, Interrupts, interruptible
from sweeper.errors import InputError, PlaceError, SweepFailedError
from trainers.errors import InputProblemsError

VERBS = {
    "demo": "simulated screen → real sweep → report, in minutes",
    "simulate": "write a simulated screen and its ground truth",
    "pack": "decode the images of a screen once, into one memory-mapped array",
    "validate": "check a configuration and its screen",
    "doctor": "look at machine, storage, MLflow and Ray before a sweep",
    "plan": "dry run: cells done, cells missing, estimated time",
    "run": "run what is missing of a sweep, then decide and report",
    "submit": "run a sweep as a job of a Ray cluster",
    "status": "how far a sweep is, and what it says so far",
    "sync": "mirror a stored sweep to MLflow again",
    "keep": "fit the advised strength on all wells and keep the model",
    "embed": "write the whole screen corrected, as a table",
    "apply": "put a new batch through a kept model, and say whether it was tested",
    "compare": "sweeps beside each other: advice, plane, paired differences",
    "decide": "decide again from a store, or on any tidy table",
    "metrics": "score any embedding table with the metric panel",
    "report": "rebuild results, decision and report from the store",
    "completion": "completion of verbs and options for your shell",
}

EXIT_FAILED = 1
EXIT_INPUT = 2

_EPILOG = """examples:
  sweeper demo                                   try it: no data, no GPU, no server
  sweeper validate configs/jump_source3.yaml     is my screen readable?
  sweeper plan configs/jump_source3.yaml         how long will it take?
  sweeper run configs/jump_source3.yaml          run it; the same command resumes it
  sweeper report runs/jump_source3               rebuild the report from the store
  sweeper embed runs/jump_source3                write the screen corrected at the advised strength
  sweeper apply runs/jump_source3 july.parquet   next month's batch through the same encoder
  sweeper decide --table sweep.csv               the rule of a sweep made elsewhere
  sweeper metrics embeddings.parquet             score an embedding from anywhere
  sweeper pack --wilds data --out packed/wilds   images: decode them once for all trials

exit codes: 0 done · 1 the sweep failed, or nothing could be scored · 2 the input is wrong (one line says what) ·
            3 a new batch lies outside what was tested · 130 interrupted"""


def parser(*loaded: str | None) -> argparse.ArgumentParser:
    """The parser; only the modules of the verbs that are named are imported."""
    parser = argparse.ArgumentParser(
        prog="sweeper",
        description="How strongly may I correct for batch before I erase biology?",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sweeper {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="verb", required=True)
    for name, summary in VERBS.items():
        if name in loaded:
            module = importlib.import_module(f"sweeper.cli.{name}")
            child = verbs.add_parser(
                name,
                help=summary,
                description=module.__doc__,
                epilog=module.EXAMPLE,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            module.add_arguments(child)
            child.set_defaults(run=module.run)
        else:
            verbs.add_parser(name, help=summary)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((word for word in given if word in VERBS), None)
    options = parser(verb).parse_args(given)
    with interruptible() as interrupts:
        return _outcome(options, interrupts)


def _outcome(options: argparse.Namespace, interrupts: Interrupts) -> int:
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except InputProblemsError as error:
        print(f"sweeper: {error.where}: {len(error.problems)} problems", file=sys.stderr)
        for problem in error.problems:
            print(f"  {' '.join(problem.split())}", file=sys.stderr)
        return EXIT_INPUT
    except InputError as error:
        print(f"sweeper: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_INPUT
    except SweepFailedError as error:
        print(f"sweeper: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        interrupts.tell()
        return EXIT_INTERRUPTED
    except MemoryError as error:
        print(f"sweeper: this takes more memory than there is {error}".rstrip(), file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        if not _unread():
            raise
        # Whoever read the output (`| head`) has enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except PlaceError as error:
        print(f"sweeper: {error}", file=sys.stderr)
        return EXIT_INPUT
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        print(f"sweeper: {error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_INPUT
    return code


def _unread() -> bool:
    """Whether it is our own output that nobody reads any more, not some socket's."""
    watched = select.poll()
    watched.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in watched.poll(0))
