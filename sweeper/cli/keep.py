"""Keep a model: fit the advised strength on every well that may be used, and store weights and preprocessing.

A run does this by itself (key `keep`); this is for a store without, and for other strengths. The numbers that decided
stay those of held-out data. What is written is safetensors and JSON: nothing in it executes.
"""

from __future__ import annotations

import argparse

from sweeper.cli.common import where

EXAMPLE = """examples:
  sweeper keep runs/demo                           the advised strength
  sweeper keep runs/demo --strength 3,0.1          another that was trained: λ,m (λ alone where one m was trained)
  sweeper keep runs/demo --cell 0f3c9a5be2d17c44   the very model of a finished cell, held against its embeddings"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper keep`."""
    parser.add_argument("folder", type=where, help="the folder or URL of a sweep")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--strength", metavar="λ[,m]", help="a trained strength (default: the advised one)")
    which.add_argument("--cell", metavar="ID", help="the model of a finished cell, on its own training wells")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import sweeper
    from sweeper.cli.common import say
    from sweeper.kept.strengths import parse_strength

    sweep = sweeper.open_store(options.folder)
    strength = None if options.strength is None else parse_strength(options.strength, sweep.store)
    kept = sweeper.keep(sweep, strength=strength, cell=options.cell, tell=say)
    facts = kept.facts
    print(f"model:    {sweep.store.named(kept.folder)}" + ("" if kept.made else " (it was there already)"))
    print(f"          {facts.trainer} at {facts.strength}, trained on {facts.trained_on['what']}")
    if kept.difference is not None:
        print(f"          farthest from the cell's stored embeddings (float16): {kept.difference:.2g}")
    return 0
