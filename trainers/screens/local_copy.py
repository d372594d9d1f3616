"""Where copies of what lies at URLs are kept on this machine, and a packed screen among them."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

CACHE = "SWEEPER_CACHE"
"""The environment's word for the folder of copies; without it ~/.cache/sweeper."""


def cache_folder() -> Path:
    """The folder of copies (it may not be there yet). What is in it can be removed at any time that nothing runs."""
    if given := os.environ.get(CACHE):
        return Path(given).absolute()
    common = os.environ.get("XDG_CACHE_HOME")
    return (Path(common) if common else Path.home() / ".cache") / "sweeper"


def copy_folder(url: str) -> Path:
    """Where the copy of a sweep at a URL is."""
    return cache_folder() / "sweeps" / sha256(url.encode()).hexdigest()[:24]


__all__ = ["CACHE", "cache_folder", "copy_folder"]
