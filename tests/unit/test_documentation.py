"""Every command and configuration in README and documentation is run here, or read by the program's own parser.

The comment above a block says which:

    <!-- run -->            run as printed, in order, in a folder of the page's own
    <!-- run: small -->     run as printed, with a training made short (`SMALL`)
    <!-- parsed: why -->    read by the command line's own parser, or by make; why it is not run
    <!-- not run: why -->   another program's; nothing of `sweeper` may stand in it
    <!-- file: NAME -->     a configuration that the commands below it use; it must load
    <!-- keys -->           a part of a configuration; every key must exist
"""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sweeper import __version__
from sweeper.cli import VERBS, main, parser
from sweeper.config.sweep_config import documented_keys

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "configs/README.md",
        ROOT / "docker/README.md",
        ROOT / "benchmarks/README.md",
        *(ROOT / "docs").rglob("*.md"),
    )
)
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.M | re.S)
SMALL = ["--set", "abra.steps=30", "--set", "seeds=3", "--set", "abra.embedding_dim=16", "--set", "decision.draws=2000"]
SMALL += ["--set", "strengths={adversarial_weight: [1, 3, 10, 30, 100, 300], margin: [0.0]}"]
SMALL += ["--set", "sham={enabled: false}", "--set", "views=[{view: held_out_plates, fraction: 0.5}]"]
SMALL += ["--set", "metrics=[batch_probe_linear, retrieval_map, perturbation_accuracy]"]


@dataclass(frozen=True)
class Block:
    page: str
    mark: str
    language: str
    text: str

    @property
    def kind(self) -> str:
        return self.mark.partition(":")[0]

    @property
    def about(self) -> str:
        return self.mark.partition(":")[2].strip()

    def commands(self) -> Iterator[list[str]]:
        """The words of each command, comments and environment left out."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words:
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(page, found["mark"] or "", found["language"], found["text"]) for found in BLOCK.finditer(text)]


def of(*kinds: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.kind in kinds]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def check(words: list[str], where: str) -> None:
    """Read a command by the parser that would run it."""
    if words[0] == "make":
        assert set(words[1:]) <= make_targets(), f"{where}: {words}"
    elif words[0] == "sweeper":
        verb = next(word for word in words[1:] if word in VERBS)
        parser(verb).parse_args(words[1:])
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"{where}: {words}"
    else:
        raise AssertionError(f"{where}: nothing here reads {words[0]!r}; mark the block `not run: why`")


def test_every_block_says_how_it_is_checked() -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language in {"sh", "python", "yaml", "toml"}:
                assert block.kind in {"run", "parsed", "not run", "file", "keys"}, f"{page}: unmarked\n{block.text}"
            else:
                assert block.language == "text", f"{page}: a block of language {block.language!r}\n{block.text}"
            if block.kind in {"parsed", "not run", "file"}:
                assert block.about, f"{page}: say why\n{block.text}"


@pytest.mark.parametrize("block", of("run", "parsed"), ids=lambda block: f"{block.page}:{block.text.split()[0]}")
def test_every_command_is_read_by_its_own_parser(block: Block) -> None:
    for words in block.commands() if block.language == "sh" else ():
        check(words, block.page)


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_every_help_are_read_by_its_own_parser(verb: str) -> None:
    examples = importlib.import_module(f"sweeper.cli.{verb}").EXAMPLE.replace("\\\n", " ")
    lines = [re.split(r"\s{3,}(?=[^-])", line.strip())[0] for line in examples.splitlines()]
    commands = [line for line in lines if re.match(r"([A-Z_]+=\S+ )*sweeper ", line)]
    assert commands, "a verb without an example"
    for block in (Block(f"sweeper {verb} --help", "", "sh", line) for line in commands):
        for words in block.commands():
            check(words, block.page)


def test_nothing_of_ours_is_left_out() -> None:
    for block in of("not run"):
        for words in block.commands() if block.language == "sh" else ():
            assert words[0] not in {"sweeper", "make"}, f"{block.page}: {words} can be parsed"
            if "sweeper" in words:
                check(words[words.index("sweeper") :], block.page)


def test_every_key_exists() -> None:
    known = {key for key, _, _ in documented_keys()}
    images = {"layout", "path", "packed"}
    for block in of("keys"):
        for section, content in yaml.safe_load(block.text).items():
            assert section in known, f"{block.page}: {section}"
            if isinstance(content, dict):
                unknown = {key for key in content if f"{section}.{key}" not in known} - (
                    images if section == "images" else set()
                )
                assert not unknown, f"{block.page}: {section}: {unknown}"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: profiles, an embedding with its raw features, a sweep made elsewhere."""
    folder = tmp_path_factory.mktemp("inputs")
    small = (
        "batches=4 plates_per_batch=3 wells_per_plate=96 features=30 perturbations=12 targets=4 controls_per_plate=8"
    )
    settings = [word for setting in small.split() for word in ("--set", setting)]
    assert main(["simulate", str(folder / "screen"), *settings, "--set", "latent=4"]) == 0
    table = folder / "screen" / "screen.parquet"
    for name in ("profiles", "raw", "embeddings"):
        shutil.copy(table, folder / f"{name}.parquet")
    shutil.rmtree(folder / "screen")
    weights = (0, 0.1, 0.3, 1, 3, 10, 30, 100)
    rows = [
        {"adversarial_weight": w, "margin": 0, "seed": seed, "metric": metric, "role": role, "floor": 0, "ceiling": 1}
        | {"value": (0.3 + 0.1 * i if role == "technical" else 0.8 - 0.002 * i**3) + 0.004 * ((seed * 7 + i * 3) % 5)}
        for i, w in enumerate(weights)
        for seed in range(4)
        for metric, role in (("probe", "technical"), ("retrieval", "biological"))
    ]
    pd.DataFrame(rows).to_csv(folder / "sweep.csv", index=False)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({block.page for block in of("run")}))
def test_what_a_page_says_can_be_done(
    page: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for block in blocks(page):
        if block.kind == "file":
            (tmp_path / block.about).write_text(block.text, encoding="utf-8")
        elif block.kind == "run" and block.language == "python":
            done = subprocess.run([sys.executable, "-c", block.text], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        elif block.kind == "run":
            for words in block.commands():
                assert words[0] == "sweeper", f"{page}: {words}"
                further = SMALL if block.about == "small" and words[1] == "run" else []
                code, told = call([*words[1:], *further], tmp_path, capsys)
                assert code == 0, f"{page}: {' '.join(words)}\n{told}"


def call(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and complaints; in a process of its own where the page made a package, which is then as installed."""
    if not (folder / "pyproject.toml").exists():
        return main(arguments), capsys.readouterr().err
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    information = folder / f"{project['name']}-{project['version']}.dist-info"
    information.mkdir(exist_ok=True)
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    ((group, points),) = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items()), ""]
    (information / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", *arguments],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


NOTEBOOK = ROOT / "docs/example.ipynb"


def cells(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["cells"])


def test_the_notebook_is_committed_with_what_its_cells_show() -> None:
    code = [cell for cell in cells(NOTEBOOK) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "image/png" in text
    assert not re.search(r"/(tmp|home|work|root)/", text), "a place of the machine that it was run on"
    assert len(text) < 150_000


@pytest.mark.slow
def test_the_notebook_runs_and_shows_the_same_kinds(tmp_path: Path) -> None:
    """From a table to corrected profiles and a batch that is told to be wrong, by the asserts within."""
    copy = tmp_path / NOTEBOOK.name
    shutil.copy(NOTEBOOK, copy)
    environment = {key: value for key, value in os.environ.items() if key not in {"RAY_ADDRESS", "MLFLOW_TRACKING_URI"}}
    command = [sys.executable, str(ROOT / "docs/notebook.py"), str(copy)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def kinds(path: Path) -> list[list[str]]:
        outputs = [cell.get("outputs", ()) for cell in cells(path)]
        return [[name for one in cell for name in one.get("data", {"text": ""})] for cell in outputs]

    assert kinds(copy) == kinds(NOTEBOOK)
    assert sorted(path.name for path in tmp_path.iterdir()) == [NOTEBOOK.name]


LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


@pytest.mark.parametrize("page", ["README.md", "configs/README.md"])
def test_what_is_linked_exists(page: str) -> None:
    for target, _ in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


def test_the_readme_is_short_and_shows_a_report() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert "make demo" in text
    assert "make test" in text
    for name in ("docs/report.png", "docs/curve.png"):
        picture = (ROOT / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 300_000


def test_hooks_before_a_commit_are_the_tools_of_this_environment() -> None:
    (here,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert here["repo"] == "local"
    for hook in here["hooks"]:
        assert hook["language"] == "system"
        assert shutil.which(Path(hook["entry"].split()[0]).name, path=Path(sys.executable).parent), hook["entry"]
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config"], cwd=ROOT, check=True)


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_files_and_folders_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`((?:sweeper|trainers|dashboards|tests|benchmarks|docs|configs|docker)/[\w./]*)`", text):
        assert (ROOT / name).exists(), f"{page}: {name}"


def test_every_folder_is_on_the_map() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for package in ("sweeper", "trainers", "dashboards"):
        for folder in (ROOT / package).iterdir():
            if (folder / "__init__.py").exists():
                assert f"`{package}/{folder.name}/" in text, f"{folder}: not on the map in CONTRIBUTING.md"


GENERATE = runpy.run_path(str(ROOT / "docs/generate.py"))
MADE = {f"docs/{page}" for page in (*GENERATE["GENERATED"], *GENERATE["ELSEWHERE"])}
CITED = re.compile(r"[\w./-]*\w+\.md\b")


def test_no_file_cites_what_is_not_here() -> None:
    """Documents are named by their path from the root, or are beside the file that names them."""
    names = {path.name for path in ROOT.glob("*.md")}
    sources = [
        path
        for folder in ("sweeper", "trainers", "dashboards", "tests", "benchmarks", "docs", "configs", "docker")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".json", ".yaml", ".toml", ".html", ".js", ".css"}
    ]
    for path in sources:
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8")
        assert "§" not in text, f"{path}: a paragraph of what?"
        for cited in CITED.findall(text):
            known = (ROOT / cited).exists() or (path.parent / cited).exists() or cited in names
            assert known or cited in MADE or path.name == "generate.py", f"{path}: {cited}"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (make docs installs it)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    foreign = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"(?:https?:)?//(?!127)[^\"]*\"[^>]*>")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = [tag for tag in foreign.findall(page.read_text(encoding="utf-8")) if "canonical" not in tag]
        assert not loaded, f"{page.name} asks a foreign server: {loaded}"
