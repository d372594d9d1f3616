"""The error tree of a sweep.

::

    InputError                  (trainers.errors) a user can mend it; one line; exit code 2
    ├── ConfigError             the configuration: file and key
    └── StoreMismatchError      the output folder holds another sweep
    SweepFailedError            no cell could be finished; exit code 1
"""

from __future__ import annotations

from trainers.errors import InputError


class ConfigError(InputError):
    """The configuration is wrong; the message names file and key."""


class StoreMismatchError(InputError):
    """The output folder holds the cells of another sweep."""


class SweepFailedError(Exception):
    """The sweep ended without any finished cell."""


__all__ = ["ConfigError", "InputError", "StoreMismatchError", "SweepFailedError"]
