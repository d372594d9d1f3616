"""The error every room raises for input a user can mend.

::

    Exception
    └── InputError              one line: what is wrong, where, what would be right (exit code 2)
        └── (sweeper.errors)    StoreMismatchError, …
"""


class InputError(Exception):
    """Input that a user can mend; one line: what is wrong, where (file, key, row), what would be right."""
