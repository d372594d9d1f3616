"""Examples in docstrings as code, not as quotations: an extension of Griffe, which reads them for the reference."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^[ \t]*>>> .*?(?=^[ \t]*$|\Z)", re.M | re.S)


class Doctests(griffe.Extension):
    """Puts every run of `>>>` lines, with what they print, into a fence of its own."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each object that is read."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(found: re.Match[str]) -> str:
    lines = found.group().rstrip("\n").splitlines()
    return "\n".join(["```pycon", *(line.removeprefix("    ") for line in lines), "```", ""])
