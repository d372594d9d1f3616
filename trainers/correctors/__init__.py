"""Corrections that train nothing, each with its dial: 0 is none."""
