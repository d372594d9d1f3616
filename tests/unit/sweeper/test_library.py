"""What `import sweeper` promises: its names, how little it loads, its examples; a stored sweep in a notebook."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest

import sweeper
from sweeper.library.progress_bar import ProgressBar
from sweeper.library.stored_sweep import MISSING, StoredSweep
from sweeper.planning.prepared import Prepared
from tests.public_examples import FAST, OF_A_STORE, run_examples
from tests.unit.sweeper.test_rounds import prepared, write

FUNCTIONS = {"keep", "embed", "apply", "compare"} | {
    "load_config",
    "plan",
    "run",
    "run_methods",
    "open_methods",
    "open_store",
    "decide",
    "decide_table",
    "score_table",
    "write_report",
}
TYPES = {
    *("Applied", "Comparison", "Corrected", "Kept", "StoredMethods"),
    *("Decision", "Event", "InputError", "Outputs", "Panel", "Plan", "StoredSweep", "SweepConfig", "SweepFailedError"),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A finished grid, and a name that could end an element of a page."""
    made = prepared(tmp_path_factory.mktemp("stored") / "s", name="<b>small</b>")
    write(made, made.known_cells())
    return made


def test_the_names_are_these_and_no_others() -> None:
    assert set(sweeper.__all__) == FUNCTIONS | TYPES | {"__version__"}
    assert set(sweeper.__all__) <= set(dir(sweeper))
    assert {
        name for name in sweeper.__all__ if callable(found := getattr(sweeper, name)) and not isinstance(found, type)
    } == FUNCTIONS
    assert set(FAST) | set(OF_A_STORE) == FUNCTIONS
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        sweeper.runn  # noqa: B018


def test_the_checker_of_types_sees_the_same_names() -> None:
    tree = ast.parse(Path(sweeper.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == FUNCTIONS | TYPES


def test_importing_loads_nothing_heavy_and_no_module_takes_the_place_of_a_function() -> None:
    script = """
import sys, sweeper
heavy = {"numpy", "pandas", "torch", "ray", "mlflow", "optuna", "plotly", "pydantic", "dashboards"} & set(sys.modules)
assert not heavy, heavy
import sweeper.cli.run, sweeper.cli.plan, sweeper.cli.decide
from sweeper.library import launch, planned, deciding
assert sweeper.run is launch.run and sweeper.plan is planned.plan and sweeper.decide is deciding.decide
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_examples_that_need_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_examples(FAST, tmp_path, monkeypatch)


def test_a_stored_sweep_is_read_and_nothing_is_written(stored: Prepared) -> None:
    before = sorted(stored.store.folder.rglob("*"))
    sweep = sweeper.open_store(stored.store.folder)
    assert sweep.config == stored.config
    assert len(sweep.cells) == len(stored.known_cells())
    assert set(sweep.cells["status"]) == {"ok"}
    assert set(sweep.results["cell_id"]) == set(sweep.cells["cell_id"])
    with pytest.raises(sweeper.InputError, match="no decision yet"):
        _ = sweep.decision
    assert "decision" not in sweep._repr_html_()
    assert sorted(stored.store.folder.rglob("*")) == before
    with pytest.raises(sweeper.InputError, match="no sweep here"):
        sweeper.open_store(stored.store.folder.parent)


def test_cells_that_are_missing_and_cells_of_an_earlier_plan(tmp_path: Path) -> None:
    made = prepared(tmp_path / "s", seeds=2)
    known = made.known_cells()
    write(made, known[1:])
    store = prepared(tmp_path / "s", seeds=1).store
    cells = sweeper.open_store(store.folder).cells
    assert list(cells["status"]).count(MISSING) == 1
    assert cells["cell_id"].nunique() == len(cells) == len(known)
    assert (cells["seed"].iloc[: len(known) // 2] == 0).all()


def test_a_decision_by_other_settings_departs_from_the_declared_one(stored: Prepared) -> None:
    declared = sweeper.decide(stored.store.folder)
    assert declared.departures == ()
    other = sweeper.decide(StoredSweep(stored.store), delta=0.2)
    assert [change.setting for change in other.departures] == ["delta"]
    with pytest.raises(sweeper.InputError, match="held_out_batches: the sweep has held_out_plates"):
        sweeper.decide(stored.store.folder, view="held_out_batches")


def test_report_figures_and_page(tmp_path: Path) -> None:
    made = prepared(tmp_path / "s", name="<b>small</b>")
    write(made, made.known_cells())
    outputs = sweeper.write_report(made.store.folder)
    assert made.store.report_path.exists()
    sweep = sweeper.open_store(made.store.folder)
    assert sweep.decision == outputs.decision
    figure = sweep.figure("tradeoff")
    assert isinstance(figure, go.Figure)
    assert len(figure.data) > 2
    assert isinstance(sweep.figure("batch_probe_linear"), go.Figure)
    with pytest.raises(sweeper.InputError, match=r"figure 'trade': there is tradeoff, .*perturbation_accuracy"):
        sweep.figure("trade")
    with pytest.raises(sweeper.InputError, match="view 'lab': the sweep has held_out_plates"):
        sweep.figure(view="lab")
    page = sweep._repr_html_()
    assert "&lt;b&gt;small&lt;/b&gt;" in page
    assert "<b>" not in page
    assert str(made.store.report_path) in page


def test_a_plan_is_what_is_missing_of_what_is_known(tmp_path: Path) -> None:
    made = prepared(tmp_path / "s", sham={"enabled": False}, pseudo={"enabled": False})
    write(made, made.known_cells()[:5])
    found = sweeper.plan(made.config)
    assert len(found.known) - len(found.missing) == 5 == found.cells["done"].sum()
    assert isinstance(found.cells, pd.DataFrame)
    assert all(item.cells >= 0 for item in found.upcoming)


def test_a_bar_is_drawn_only_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        sweeper.Event(kind="start", cells_done=1, cells=4),
        sweeper.Event(kind="cells", cells_done=3, cells=4, training=1.0),
        sweeper.Event(kind="warning", note="look here"),
    ]
    for shown in (False, True):
        with ProgressBar(shown=shown) as bar:
            for event in events:
                bar.show(event)
        captured = capsys.readouterr()
        assert ("3/4" in captured.err) is shown
        assert ("look here" in captured.out + captured.err) is shown
