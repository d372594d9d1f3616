import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sweeper.arms.proposal import Block, Proposal
from sweeper.errors import InputError, StoreMismatchError
from sweeper.findings.stored import damaged_files, readable_decision
from sweeper.store.store import Store
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

SCREEN = simulate(
    SimulationSpec(
        batches=2,
        plates_per_batch=2,
        wells_per_plate=96,
        features=16,
        perturbations=8,
        targets=4,
        controls_per_plate=8,
        latent=4,
    )
).screen


DESCRIPTION = {
    "name": "small",
    "config": {},
    "identity": {
        "data": "sha256:0",
        "trainer": "abra",
        "settings": {},
        "normalise": "none",
        "held_out_perturbations": 0,
    },
    "command": ["sweeper", "run"],
    "versions": {},
    "warnings": [],
    "screen": {"wells": 1},
}


def make(folder: Path, sweep_id: str = "abc") -> Store:
    store = Store(folder)
    store.check(sweep_id)
    store.create(sweep_id=sweep_id, description=DESCRIPTION, screen=SCREEN)
    return store


def record(cell_id: str, status: str = "ok") -> dict[str, object]:
    return {
        "cell_id": cell_id,
        "trainer": "abra",
        "adversarial_weight": 1.0,
        "margin": 0.0,
        "seed": 0,
        "view": "held_out_plates",
        "fold": 0,
        "split": "held_out_plates/0",
        "status": status,
        "reason": None,
        "metrics": [],
        "seconds": {"train": 1.0, "score": 0.5},
        "ended": 10.0,
    }


def test_screen_comes_back_memory_mapped_and_equal(tmp_path: Path) -> None:
    found = make(tmp_path / "s").screen()
    assert isinstance(found.features, np.memmap) or isinstance(found.features.base, np.memmap)
    assert found.fingerprint == SCREEN.fingerprint


def test_a_cell_is_there_whole_or_not_at_all_and_keeps_its_first_result(tmp_path: Path) -> None:
    store = make(tmp_path)
    rows, embeddings = np.arange(3), np.ones((3, 2), dtype=np.float32) / 3
    assert store.write_cell({**record("c1"), "n": 1}, curve=[{"step": 1.0}], rows=rows, embeddings=embeddings)
    assert not store.write_cell({**record("c1"), "n": 2}, curve=[])
    assert store.record("c1")["n"] == 1
    assert store.finished() == {"c1"}
    assert store.curve("c1") == [{"step": 1.0}]
    found_rows, found = store.embeddings("c1")
    np.testing.assert_array_equal(found_rows, rows)
    np.testing.assert_allclose(found, embeddings, rtol=1e-3)


def test_half_written_cells_are_not_finished_and_are_swept(tmp_path: Path) -> None:
    store = make(tmp_path)
    (store.cells_folder / ".c2.999.tmp").mkdir()
    (store.cells_folder / ".c2.999.tmp" / "record.json").write_text("{")
    assert store.finished() == frozenset()
    store.sweep_leftovers()
    assert list(store.cells_folder.iterdir()) == []


def test_retry_leaves_collapsed_cells_alone(tmp_path: Path) -> None:
    store = make(tmp_path)
    for status in ("ok", "failed", "oom", "collapsed"):
        store.write_cell(record(status, status), curve=[])
    assert store.finished(retry=True) == {"ok", "collapsed"}
    assert store.write_cell({**record("failed"), "n": 2}, curve=[], replace=True)
    assert store.record("failed")["n"] == 2


WHOLE = json.dumps(record("c2"))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "missing"),
        (b"", "empty"),
        (b"\x00" * 40, "line 1: not valid JSON"),
        (b"\xff\xfe{", "not text"),
        *((WHOLE[:at].encode(), "cut off") for at in (1, len(WHOLE) // 3, len(WHOLE) // 2, len(WHOLE) - 1)),
        (WHOLE.replace(",", "", 1).encode(), "line 1: not valid JSON"),
        ((WHOLE + WHOLE).encode(), "line 1: not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1, 2]", "expected keys and values"),
        (WHOLE.replace("1.0", "NaN").encode(), "NaN is no number"),
        (WHOLE.replace("1.0", "1" * 5000).encode(), "not valid JSON"),
        (WHOLE.replace("1.0", '"strong"', 1).encode(), "adversarial_weight: expected a number"),
        (WHOLE.replace('"seed": 0', '"seed": null').encode(), "seed: expected a whole number"),
        (WHOLE.replace('"metrics": []', '"metrics": [{}]').encode(), "metrics.0"),
        (WHOLE.replace('"ok"', '"fine"').encode(), "status: expected 'ok', 'failed', 'collapsed' or 'oom'"),
        (WHOLE.replace("c2", "c3").encode(), "is the record of cell 'c3'"),
    ],
)
def test_a_damaged_cell_is_named_and_the_others_work(tmp_path: Path, content: bytes | None, fault: str) -> None:
    store = make(tmp_path)
    for cell_id in ("c1", "c2", "c4"):
        store.write_cell(record(cell_id), curve=[])
    path = store.cells_folder / "c2" / "record.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    (line,) = store.damage()
    assert line.startswith("cells/c2/record.json: ")
    assert fault in line
    assert len(line.splitlines()) == 1
    with pytest.raises(InputError, match=r"c2/record\.json: "):
        store.record("c2")
    assert store.finished() == store.finished(retry=True) == {"c1", "c4"}
    assert [found["cell_id"] for found in store.records(sorted(store.finished()))] == ["c1", "c4"]
    assert store.write_cell({**record("c2"), "n": 2}, curve=[])
    assert store.damage() == ()
    assert store.finished() == {"c1", "c2", "c4"}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\x00" * 400 + b"PAR1", b"not a table"])
def test_damaged_units_cost_a_cell_those_alone(tmp_path: Path, content: bytes) -> None:
    store = make(tmp_path)
    store.write_cell(record("c1"), curve=[])
    (store.cells_folder / "c1" / "units.parquet").write_bytes(content)
    (store.cells_folder / "c1" / "curve.json").write_bytes(content)
    assert store.units("c1") is None
    assert store.curve("c1") == []
    assert store.finished() == {"c1"}
    assert [line.partition(": ")[0] for line in store.damage()] == ["cells/c1/units.parquet"]


@pytest.mark.parametrize("name", ["features.npy", "features.json", "wells.parquet"])
@pytest.mark.parametrize("share", [None, 0.0, 0.5, 0.99])
def test_a_damaged_screen_is_named_with_the_remedy(tmp_path: Path, name: str, share: float | None) -> None:
    store = make(tmp_path)
    path = tmp_path / "screen" / name
    content = path.read_bytes()
    path.unlink()
    if share is not None:
        path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"screen: damaged \(.*remove .*screen and give the run's command again"):
        store.screen()
    shutil.rmtree(tmp_path / "screen")
    store.create(sweep_id="abc", description=DESCRIPTION, screen=SCREEN)
    assert store.screen().fingerprint == SCREEN.fingerprint


@pytest.mark.parametrize("at", range(6, 120, 3))
def test_a_header_of_features_that_is_none_is_one_line(tmp_path: Path, at: int) -> None:
    store = make(tmp_path)
    path = tmp_path / "screen" / "features.npy"
    content = bytearray(path.read_bytes())
    content[at : at + 3] = b"([{"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"screen: damaged \("):
        store.screen()


def test_a_damaged_decision_is_named_and_none(tmp_path: Path) -> None:
    store = make(tmp_path)
    assert readable_decision(store) is None
    assert damaged_files(store) == []
    for content in ("", "{", "[]", '{"rule": {"state": "IDENTIFIED"}}'):
        store.decision_path.write_text(content)
        assert readable_decision(store) is None
        (line,) = damaged_files(store)
        assert line.startswith("decision.json: ")


def test_another_sweeps_store_is_refused_and_untouched(tmp_path: Path) -> None:
    make(tmp_path, "abc")
    before = (tmp_path / "sweep.json").read_bytes()
    with pytest.raises(StoreMismatchError, match=r"holds another sweep \(id abc"):
        Store(tmp_path).check("xyz")
    assert (tmp_path / "sweep.json").read_bytes() == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(StoreMismatchError, match="not a sweep's folder"):
        Store(tmp_path).check("abc")


def test_no_sweep_and_broken_sweep_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sweep here"):
        Store(tmp_path).description()
    (tmp_path / "sweep.json").write_text("{,")
    with pytest.raises(InputError, match="line 1: not valid JSON"):
        Store(tmp_path).description()
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(InputError, match=r"sweep\.json: expected keys and values, got list"):
        Store(tmp_path).description()
    for key in DESCRIPTION:
        (tmp_path / "sweep.json").write_text(json.dumps({"sweep_id": "abc", **DESCRIPTION, key: None}))
        with pytest.raises(InputError, match=rf"sweep\.json: not a sweep's description: {key}: expected"):
            Store(tmp_path).description()


def test_proposals_come_back_as_they_were(tmp_path: Path) -> None:
    store = make(tmp_path)
    assert store.proposals() == []
    grown = Proposal(kind="optuna", trainer="abra", blocks=(Block(strengths=((0.5, 0.3),)),), how={"sampler": "x"})
    fixed = Proposal(
        kind="locate",
        trainer="abra",
        blocks=(Block(strengths=((2.0, 0.3), (0.0, 0.3)), seeds=(3, 4)), Block(strengths=(), seeds=None)),
        views=("held_out_plates",),
        why="there",
    )
    store.write_proposal(1, grown)
    store.write_proposal(2, fixed)
    assert store.proposals() == [grown, fixed]
    assert json.loads((tmp_path / "proposals/round-001.json").read_text())["how"] == {"sampler": "x"}
    (tmp_path / "proposals/round-002.json").write_text('{"strengths": [[1.0, 0.3]]}')
    with pytest.raises(InputError, match=r"round-002\.json: not a round"):
        store.proposals()


def test_a_folder_taken_by_another_sweep_meanwhile_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    with store.owned("abc"):
        pass
    make(tmp_path / "s", "xyz")
    with pytest.raises(StoreMismatchError, match="holds another sweep"), store.owned("abc"):
        pass


def test_a_start_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("")
    (tmp_path / "mlartifacts").mkdir()
    (tmp_path / ".lease").mkdir()
    store = make(tmp_path)  # killed while the mirror was opened: the folder is still this sweep's to take
    shutil.rmtree(tmp_path / "screen")  # killed before the screen was written
    store.check("abc")
    store.create(sweep_id="abc", description=DESCRIPTION, screen=SCREEN)
    assert store.screen().fingerprint == SCREEN.fingerprint
