"""Malformed input of every kind at the command line's doors: what comes out, counted."""
