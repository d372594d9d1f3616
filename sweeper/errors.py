"""The error tree of a sweep.

::

    InputError                  (trainers.errors) a user can mend it; one line; exit code 2
    ├── ConfigError             the configuration: file and key
    ├── StoreMismatchError      the output folder holds another sweep
    ├── UndecidableError        no decision can come out of the sweep
    └── OwnedError              (sweeper.store.lease) another process runs the sweep
    PlaceError                  (trainers.errors) storage at a URL; one line; exit code 2, 1 where a sweep fails by it
    SweepFailedError            the sweep cannot go on, or nothing came of it; one line; exit code 1
"""

from __future__ import annotations

from trainers.errors import InputError, PlaceError


class ConfigError(InputError):
    """The configuration is wrong; the message names file and key."""


class StoreMismatchError(InputError):
    """The output folder holds the cells of another sweep."""


class UndecidableError(InputError):
    """No view of the sweep can decide, whatever is trained; the message says why and what would mend it."""


class SweepFailedError(Exception):
    """The sweep cannot go on, or ended without any finished cell; what is finished is kept."""


__all__ = ["ConfigError", "InputError", "PlaceError", "StoreMismatchError", "SweepFailedError", "UndecidableError"]
