"""The errors that trainers raise.

::

    Exception
    ├── InputError              one line: what is wrong, where, what would be right (exit code 2)
    │   └── (sweeper.errors)    StoreMismatchError, …
    └── OutOfMemoryError        one line: the device's memory is too small, and what would need less
"""


class InputError(Exception):
    """Input that a user can mend; one line: what is wrong, where (file, key, row), what would be right."""


class OutOfMemoryError(RuntimeError):
    """A cell does not fit into the device's memory; one line with what would need less."""
