"""Probes of over-correction that need no batch labels of the biology: a known signal, or a batch that is none."""
