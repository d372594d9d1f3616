"""Strength sweeps of batch-correcting encoders: plan, run, measure, decide."""

__version__ = "0.1.0"
