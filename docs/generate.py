"""Pages that are made when the documentation is built: reference from the code itself, and files that live elsewhere.

A hook of MkDocs (`hooks:` in mkdocs.yml). Nothing it makes is committed, so none of it can fall behind the code.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "benchmarks/studies.md": "benchmarks/README.md",
    "benchmarks/locator.svg": "benchmarks/locator.svg",
    "contributing.md": "CONTRIBUTING.md",
    "changes.md": "CHANGELOG.md",
    "how-to/containers.md": "docker/README.md",
}
"""Page → the file of the repository that it shows."""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("\n", " ")


def _key_table(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    lines = ["| key | default | meaning |", "|---|---|---|"]
    return [*lines, *(f"| `{key}` | `{default or '–'}` | {_cell(meaning)} |" for key, default, meaning in rows), ""]


def keys() -> str:
    """Every key of a configuration, a table a section: what `sweeper validate --keys` prints."""
    from sweeper.config.sweep_config import documented_keys
    from sweeper.methods.methods_config import KEY, MEANING
    from trainers.screens.images.source import PlateSource, WildsSource

    sections: dict[str, list[tuple[str, str, str]]] = {}
    about: dict[str, str] = {}
    for key, default, meaning in documented_keys():
        section, _, rest = key.partition(".")
        if rest:
            sections.setdefault(section, []).append((key, default, meaning))
        elif default:
            sections.setdefault("", []).append((key, default, meaning))
        else:
            about[section] = meaning
    sections[""].append((KEY, "none", MEANING))
    lines = [
        "# Keys of a configuration",
        "",
        "`sweeper validate --keys` prints the same. Any key is changed for one run by `--set KEY=VALUE`.",
        "",
    ]
    for section in ("", *(name for name in sections if name)):
        if section:
            lines += [f"## `{section}`", "", about.get(section, ""), ""]
        lines += _key_table(sections[section])
    for title, model in (("layout: wilds", WildsSource), ("layout: rxrx1 or plates", PlateSource)):
        lines += [f"## `images`, {title}", "", "`sweeper pack --keys` prints the same.", ""]
        lines += _key_table((f"images.{key}", default, meaning) for key, default, meaning in documented_keys(model))
    return "\n".join(lines)


def trainers() -> str:
    """Every trainer that is installed, with its dials."""
    from trainers.registry import usable_trainers

    lines = ["# Trainers", "", "What can be swept: `trainer: NAME` in a configuration. Others register themselves"]
    lines += ["([how](../how-to/own-method.md)). 0 of the first dial is no correction.", ""]
    lines += ["| name | what | reads | dial | range | published setting |", "|---|---|---|---|---|---|"]
    for made in usable_trainers():
        for number, dial in enumerate(made.dials):
            name, what, reads = (f"`{made.name}`", _cell(made.summary), made.reads) if number == 0 else ("", "", "")
            published = "–" if dial.published is None else f"{dial.published:g}"
            lines.append(f"| {name} | {what} | {reads} | {_cell(dial.title)} | {dial.range_text} | {published} |")
    return "\n".join([*lines, "", "Settings of each stand under its name among the [keys](keys.md).", ""])


STANDINGS = {
    "primary": "decides: its anchored value is part of the composite that the decision is made on",
    "secondary": "reported beside the primary ones",
    "guard": "a warning sign, never averaged",
    "parity": "reported because the field reports it; known weaknesses keep it from deciding",
}


def metrics() -> str:
    """Every metric of the registry, technical and biological."""
    from sweeper.metrics.registry import REGISTRY

    lines = ["# Metrics", "", "Higher is better for every anchored value: 0 is the metric's floor, 1 its ceiling.", ""]
    lines += [f"- **{name}**: {meaning}." for name, meaning in STANDINGS.items()]
    for role in ("technical", "biological"):
        lines += ["", f"## {role.capitalize()}", "", "| name | what | direction | standing | in every sweep |"]
        lines.append("|---|---|---|---|---|")
        lines += [
            f"| `{m.name}` | {_cell(m.title)} | {_cell(m.direction)} | {m.standing} | {'yes' if m.in_sweep else ''} |"
            for m in REGISTRY.values()
            if m.role == role
        ]
    return "\n".join([*lines, "", "[What each measures, and what it cannot see](../explanation/metrics.md)", ""])


def states() -> str:
    """Every state that a trade-off curve can be in."""
    from sweeper.decision.verdict.states import STATES

    lines = [
        "# States",
        "",
        "Every curve is in exactly one. `decision.json` names it; the report says it in words.",
        "",
    ]
    lines += ["| state | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{state}` | {_cell(meaning)} |" for state, meaning in STATES.items()), ""])


def _help(*arguments: str) -> str:
    from sweeper.cli import main

    out = io.StringIO()
    try:
        with redirect_stdout(out):
            main([*arguments, "--help"])
    except SystemExit:
        pass
    return out.getvalue().rstrip()


def commands() -> str:
    """The `--help` of the program and of every verb."""
    from sweeper.cli import VERBS

    lines = ["# Command line", "", "```text", _help(), "```", ""]
    for verb in VERBS:
        lines += [f"## `sweeper {verb}`", "", "```text", _help(verb), "```", ""]
    return "\n".join(lines)


def example() -> str:
    """The example notebook with what its cells showed when it was last run (docs/notebook.py)."""
    lines: list[str] = []
    for cell in json.loads((ROOT / NOTEBOOK).read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        lines += [source, ""] if cell["cell_type"] == "markdown" else ["```python", source, "```", ""]
        for output in cell.get("outputs", ()):
            shown = output.get("data", {})
            if picture := shown.get("image/png"):
                lines += [f"![what the cell draws](data:image/png;base64,{picture})", ""]
            elif html := shown.get("text/html"):
                lines += ["".join(html), ""]
            else:
                text = "".join(output.get("text") or shown["text/plain"]).rstrip()
                lines += ["```text", text, "```", ""]
    return "\n".join([*lines, f"The notebook is `{NOTEBOOK}` of the repository.", ""])


NOTEBOOK = "docs/example.ipynb"
GENERATED = {
    "example.md": example,
    "reference/keys.md": keys,
    "reference/trainers.md": trainers,
    "reference/metrics.md": metrics,
    "reference/states.md": states,
    "reference/commands.md": commands,
}


def _pages() -> Iterator[tuple[str, str | bytes]]:
    for page, make in GENERATED.items():
        yield page, make()
    for page, source in ELSEWHERE.items():
        path = ROOT / source
        yield page, path.read_text(encoding="utf-8") if page.endswith(".md") else path.read_bytes()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    from mkdocs.structure.files import File

    for page, content in _pages():
        files.append(File.generated(config, page, content=content))
    return files
