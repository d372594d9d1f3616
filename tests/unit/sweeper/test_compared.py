"""Sweeps beside each other: paired where the wells are the same, and the reason where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sweeper
from dashboards.compared_sweeps import comparison_lines, comparison_page
from sweeper.cli import main
from sweeper.errors import InputError
from sweeper.findings.compared import paired
from sweeper.findings.stored import tabulate_and_decide
from sweeper.planning.prepared import Prepared
from tests.unit.sweeper.test_rounds import DATA, prepared, write


def decided(folder: Path, *, removal: float = 0.8, **changes: object) -> Prepared:
    made = prepared(folder, **changes)
    write(made, made.known_cells(), removal=removal)
    tabulate_and_decide(made.store)
    return made


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same screen with other trainer settings; the second removes less of the batch."""
    folder = tmp_path_factory.mktemp("pair")
    one = decided(folder / "one", name="<b>one</b>")
    other = decided(folder / "other", removal=0.6, name="other", abra={"steps": 77})
    assert one.sweep_id != other.sweep_id
    return one.store.folder, other.store.folder


def test_the_same_wells_are_compared_by_seed(pair: tuple[Path, Path]) -> None:
    found = sweeper.compare(*pair)
    (only,) = found.pairs
    assert not only.reasons
    technical, biological = only.differences
    assert (technical.role, biological.role) == ("technical", "biological")
    assert technical.upper < 0, "it removes less of the batch"
    assert technical.lower <= technical.mean <= technical.upper
    assert technical.seeds == DATA["seeds"]
    base, against = found.sweeps
    assert base.technical is not None
    assert against.technical is not None
    assert technical.mean == pytest.approx(against.technical - base.technical, abs=0.02)


def test_a_sweep_against_itself_differs_by_nothing(pair: tuple[Path, Path]) -> None:
    found = sweeper.compare(pair[0], pair[0])
    assert [row.label for row in found.sweeps] == ["<b>one</b> (1)", "<b>one</b> (2)"]
    assert all((item.mean, item.lower, item.upper) == (0, 0, 0) for item in found.pairs[0].differences)


def test_what_is_not_comparable_says_why(pair: tuple[Path, Path], tmp_path: Path) -> None:
    wells = decided(tmp_path / "wells", simulate={**DATA["simulate"], "batches": 4})
    view = decided(tmp_path / "view", views=[{"view": "held_out_plates", "fraction": 0.4}])
    metrics = prepared(tmp_path / "metrics")
    write(metrics, metrics.known_cells())
    for path in metrics.store.cells_folder.glob("*/record.json"):
        path.write_text(path.read_text().replace("perturbation_accuracy", "retrieval_map"))
    tabulate_and_decide(metrics.store)
    found = sweeper.compare(pair[0], wells.store.folder, view.store.folder, metrics.store.folder)
    first, second, third = (one.reasons for one in found.pairs)
    assert any(line.startswith("the wells are not the same (576 and 768)") for line in first)
    assert "the view held_out_plates holds out otherwise (fraction)" in second
    assert any("composite is of other metrics" in line for line in third)
    assert not any(one.differences for one in found.pairs)
    assert any("not comparable: " in line for line in comparison_lines(found))


def test_text_page_and_json_say_the_same(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, values = tmp_path / "page.html", tmp_path / "values.json"
    assert main(["compare", *map(str, pair), "-o", str(page), "--json", str(values)]) == 0
    told = capsys.readouterr().out
    assert "batch removal T" in told
    assert "lower" in told
    document = json.loads(values.read_text())
    assert document["schema"] == "comparison/1"
    assert f"{document['pairs'][0]['differences'][0]['seeds']} seeds" in told
    text = page.read_text()
    assert "&lt;b&gt;one&lt;/b&gt;" in text
    assert "<b>one</b>" not in text.replace("&lt;", "").split("</head>")[1]
    assert text == comparison_page(sweeper.compare(*pair))


def test_one_sweep_is_no_comparison_and_an_undecided_one_says_so(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give 2 sweeps or more, got 1"):
        sweeper.compare(pair[0])
    bare = prepared(tmp_path / "bare")
    with pytest.raises(InputError, match="no decision yet"):
        sweeper.compare(pair[0], bare.store.folder)


def test_paired_intervals_cover_the_difference_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        shared = rng.normal(size=6)  # what a seed does to both
        base = dict(enumerate(shared + 0.1 * rng.normal(size=6)))
        other = dict(enumerate(shared + 0.3 + 0.1 * rng.normal(size=6)))
        found = paired(base, other, "biological", 0.9)
        assert found is not None
        covered += found.lower <= 0.3 <= found.upper
    assert 0.86 <= covered / 400 <= 0.94
    assert paired({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0, 2: 1.0}, "biological", 0.9) is None
