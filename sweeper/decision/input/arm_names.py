"""How the names of trainers begin that are part of no curve. Imports nothing."""

from __future__ import annotations

CONTROL_PREFIX = "control:"
LADDER_PREFIX = "ladder:"  # a rung: the trainer with other settings, never part of a curve
SHAM_PREFIX = "sham:"  # the same trainer with batch labels permuted within perturbation: never part of a curve
PSEUDO_PREFIX = "pseudo:"  # the same trainer on one batch split into two at random: never part of a curve
ASIDE = (CONTROL_PREFIX, SHAM_PREFIX, PSEUDO_PREFIX, LADDER_PREFIX)
"""How the names of trainers begin that are part of no curve."""
