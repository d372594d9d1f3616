"""A page of this package: one HTML file that carries its style and scripts, and may load nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from dashboards import formatting
from dashboards.chart import script_safe
from dashboards.dial import at_second, letter, second_dial, second_title
from dashboards.figures.style import dark_palette
from dashboards.plotly_bundle import plotly_bundle

_TEMPLATES = Path(__file__).parent / "templates"
_KEYWORDS = re.compile(
    r"\b(No rule|Not identified|If|if|then|Safe|Unsafe|Sweep again|Certainty|Caution|The views disagree)\b"
)


def document(template: str, **values: Any) -> str:
    """The HTML of a template, given its values and the style, scripts and policy that every page has.

    Scripts run only where their hash is declared in the document's content security policy, and nothing may be loaded:
    neither a name in the data nor plotly.js itself can reach the network.
    """
    library, loader = plotly_bundle(), (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in (library, loader))
    return (
        _environment()
        .get_template(template)
        .render(
            style=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
            palette=script_safe(json.dumps(dark_palette())),
            library=library,
            loader=loader,
            policy=f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:",
            **values,
        )
    )


def write_page(path: Path, content: bytes) -> None:
    """Write a page to `path`, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def emphasised(sentence: str) -> Sequence[tuple[str, bool]]:
    """The sentence in pieces, each with whether it is one of the rule's own words (If, then, Safe, …)."""
    return [(piece, place % 2 == 1) for place, piece in enumerate(_KEYWORDS.split(sentence)) if piece]


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(letter=letter, second_dial=second_dial, second_title=second_title, at_second=at_second)
    environment.filters.update(
        number=formatting.number,
        fixed=formatting.fixed,
        percent=formatting.percent,
        name=formatting.name,
        question=formatting.question,
        signed=formatting.signed,
        emphasised=emphasised,
    )
    return environment


__all__ = ["document", "emphasised", "write_page"]
