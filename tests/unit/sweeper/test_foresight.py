"""What can be decided is known from table and splits: as the cells then measure it, and before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import sweeper
from sweeper.cli import main
from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.errors import InputError
from sweeper.findings.stored import tabulate_and_decide
from sweeper.planning.cells import make_packs
from sweeper.planning.description import sweep_description
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.nesting import nesting
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.worker import PackRun, pack_content
from tests.unit.sweeper.test_rounds import DATA, write
from trainers.screens.splits import make_split

BBBC021 = Path(__file__).resolve().parents[4] / "shared/data/bbbc021/bbbc021_wells.csv.gz"
BOTH = [{"view": "held_out_plates", "fraction": 0.5}, {"view": "held_out_batches", "folds": 3}]
CELL = {"abra": {"steps": 4, "hidden_widths": [8], "embedding_dim": 6}, "metrics": None, "panel": {"permutations": 2}}


def simulated(**changes: Any) -> dict[str, Any]:
    return {**DATA["simulate"], **changes}


def planned(folder: Path, **changes: Any) -> Prepared:
    return prepare(build_config({**DATA, "folder": str(folder), **changes}, "test"))


def outlooks(sweep: Prepared) -> dict[str, str]:
    return {view: found.outlook for view, found in sweep.foresight.views.items()}


DESIGNS: dict[str, dict[str, Any]] = {
    "crossed": {},
    "nested": {"simulate": simulated(imbalance=1.0)},
    "nested, biology of targets": {"simulate": simulated(imbalance=1.0), "biology": "target"},
    "unbalanced": {"simulate": simulated(imbalance=0.7)},
    "no controls": {"simulate": simulated(controls_per_plate=0)},
    "held out": {"held_out_perturbations": 0.4},
    "few wells": {"simulate": simulated(controls_per_plate=90, perturbations=4, targets=2)},
}


@pytest.mark.parametrize("design", DESIGNS)
def test_the_cells_measure_what_was_foreseen(tmp_path: Path, design: str) -> None:
    """Both views, one trained cell a split: a metric is in a record exactly where it was foreseen."""
    sweep = planned(tmp_path / "s", views=BOTH, **CELL, seeds=2, **DESIGNS[design])
    sweep.store.create(sweep_id=sweep.sweep_id, description=sweep_description(sweep, []), screen=sweep.screen)
    cells = [cell for cell in sweep.known_cells() if cell.adversarial_weight == 0.0]
    for pack in make_packs(cells, workers=1, training_batches=sweep.batches_of(cells)):
        content = pack_content(pack, sweep.config, replace=frozenset())
        run = PackRun(sweep.store.write_pack(pack.pack_id, content))
        while run.advance():
            pass
        list(run.finish())
    depends = {"within_batch_retention", "planted_signal_retention", "nsc_gap"}  # on what the embedding holds, too
    for cell in cells:
        measured = {row["metric"]: row for row in sweep.store.record(cell.cell_id)["metrics"]}
        assert measured, cell.label
        for found in sweep.foresight.views[cell.view].metrics:
            missing = [at for at in found.missing if (at.seed, at.fold) == (cell.seed, cell.fold)]
            row = measured[found.metric]
            if missing:
                assert (row["value"], row["reason"]) == (None, missing[0].absence.reason), (cell.label, found.metric)
            elif found.metric not in depends:
                assert row["value"] is not None, (cell.label, found.metric, row["reason"])


def test_a_crossed_screen_can_decide_in_both_views_and_a_small_grid_can_later(tmp_path: Path) -> None:
    views = [BOTH[0], {**BOTH[1], "folds": 2}]
    whole = planned(tmp_path / "a", views=views, simulate=simulated(batches=4))
    assert outlooks(whole) == {"held_out_plates": "possible", "held_out_batches": "possible"}
    assert not whole.foresight.hopeless
    assert whole.foresight.warnings == ()
    few = planned(tmp_path / "b", seeds=2)
    assert outlooks(few) == {"held_out_plates": "later"}
    assert not few.foresight.hopeless
    assert "2 seeds were run and 3 are needed" in few.foresight.warnings[0]


def test_nested_perturbations_are_confounded_and_their_targets_are_not(tmp_path: Path) -> None:
    nested = planned(tmp_path / "a", simulate=simulated(imbalance=1.0), views=BOTH)
    assert set(outlooks(nested).values()) == {"confounded"}
    assert nested.foresight.hopeless
    assert "biology: target; 3 of 4 targets lie in several batches" in nested.foresight.refusal
    targets = planned(tmp_path / "b", simulate=simulated(imbalance=1.0), biology="target")
    assert outlooks(targets) == {"held_out_plates": "possible"}
    assert targets.config.decision.primary_biological == ("nscb_accuracy", "target_retrieval_map")
    assert targets.config.decision.margin_metric == "nscb_accuracy"


def test_one_view_that_cannot_decide_does_not_stop_another(tmp_path: Path) -> None:
    sweep = planned(tmp_path / "s", views=BOTH, metrics=["batch_reader", "retrieval_map"])
    assert outlooks(sweep) == {"held_out_plates": "possible", "held_out_batches": "impossible"}
    assert not sweep.foresight.hopeless
    (warning,) = sweep.foresight.warnings
    assert warning.startswith("view held_out_batches: a decision is not possible: ")
    assert "one batch among the test rows; hold out 2 batches or more" in warning
    other = planned(tmp_path / "t", views=BOTH[::-1], metrics=["batch_reader", "retrieval_map"], decision={})
    assert "it is the deciding view, and held_out_plates can (decision.deciding_view)" in other.foresight.warnings[0]


def test_run_stops_before_training_and_goes_on_anyway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {**DATA, **CELL, "folder": str(tmp_path / "s"), "simulate": simulated(imbalance=1.0)}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    assert main(["validate", str(tmp_path / "sweep.yaml")]) == 0
    assert "decision:  not possible, confounded by design: each of 8 perturbations" in capsys.readouterr().out
    assert main(["plan", str(tmp_path / "sweep.yaml"), "--no-estimate"]) == 0
    assert "decision:  not possible, confounded by design: " in capsys.readouterr().out
    assert main(["run", str(tmp_path / "sweep.yaml"), "--set", "tracking.enabled=false"]) == 2
    told = capsys.readouterr()
    (line,) = [line for line in told.err.splitlines() if line.startswith("sweeper: ")]
    assert "no view can decide" in line
    assert "--anyway" in line
    assert not (tmp_path / "s").exists()
    with pytest.raises(InputError, match="no view can decide"):
        sweeper.run(sweeper.load_config(tmp_path / "sweep.yaml", ["tracking.enabled=false"]))
    assert not (tmp_path / "s").exists()


def test_the_plan_holds_it_as_plain_values(tmp_path: Path) -> None:
    found = sweeper.plan(build_config({**DATA, "folder": str(tmp_path / "s"), "views": BOTH}, "test")).foresight
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["held_out_plates"]["outlook"] == "possible"
    (probe,) = [row for row in plain["held_out_plates"]["metrics"] if row["metric"] == "batch_probe_linear"]
    assert probe == {"metric": "batch_probe_linear", "role": "technical", "deciding": True, "splits": 3, "missing": []}


def patchy() -> pd.DataFrame:
    """A design in which most draws of the plates leave fewer than 2 perturbations in two batches."""
    rows = []
    for batch in range(3):
        for plate in range(4):
            names = ["dmso"] * 4 + ([f"shared{number}" for number in range(4)] if plate == batch else [])
            names += [f"own{batch}{plate}{number}" for number in range(4)]
            rows += [
                {
                    "batch": f"b{batch}",
                    "plate": f"b{batch}p{plate}",
                    "well": f"A{place + batch + 1:02d}",
                    "perturbation": name,
                    "control_type": "negative" if name == "dmso" else "treatment",
                    "target": None,
                }
                for place, name in enumerate(names)
            ]
    return pd.DataFrame(rows)


def drawn(draws: str) -> DrawnSplits:
    config: SweepConfig = build_config(
        {
            **DATA,
            "metrics": ["batch_mixing_bras", "retrieval_map"],
            "decision": {**DATA["decision"], "primary_technical": ["batch_mixing_bras"]},
            "seeds": 6,
            "split_draws": draws,
        },
        "test",
    )
    return DrawnSplits(config, patchy())


def test_a_seed_that_cannot_measure_what_decides_is_drawn_again_and_others_keep_their_split() -> None:
    splits, first = drawn("measurable"), drawn("first")
    again = splits.drawn_again("held_out_plates")
    assert 0 < len(again) < 6, "the design has seeds of both kinds"
    spec = splits._views["held_out_plates"]
    for seed in range(6):
        own, plain = splits.split("held_out_plates", 0, seed), make_split(patchy(), spec, fold=0, seed=seed)
        assert splits._missing([splits._layout(own, seed)], 99) == 0
        np.testing.assert_array_equal(first.split("held_out_plates", 0, seed).test, plain.test)
        assert (splits._missing([splits._layout(plain, seed)], 99) > 0) == (seed in again)
        assert np.array_equal(own.test, plain.test) == (seed not in again)
        np.testing.assert_array_equal(drawn("measurable").split("held_out_plates", 0, seed).test, own.test)
    assert first.drawn_again("held_out_plates") == ()


def test_further_draws_keep_the_held_out_perturbations_as_long_as_they_can() -> None:
    wells, spec = patchy(), drawn("first")._views["held_out_plates"]
    hidden = [
        make_split(wells, spec, fold=0, seed=1, held_out_perturbations=0.3, draw=draw).held_out_perturbations
        for draw in (0, 1, 50, 51, 52)
    ]
    assert hidden[0] == hidden[1] == hidden[2]
    assert len({*hidden}) == 3


def test_nesting_counts_what_lies_in_several_batches() -> None:
    found = nesting(patchy())
    assert (found.batches, found.perturbations, found.spanning, found.targets) == (3, 52, 4, 0)
    targets = patchy().assign(target=lambda wells: wells["perturbation"].str[:6] + "|" + wells["perturbation"].str[:3])
    targets.loc[targets["perturbation"] == "dmso", "target"] = None
    found = nesting(targets)
    # own (3 batches), own00 … own23, sha, shared
    assert (found.targets, found.spanning_targets) == (3 + 12 * 4, 3)


def test_bbbc021_is_confounded_by_design_and_between_mechanisms_it_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not BBBC021.exists():
        pytest.skip(f"needs {BBBC021}")
    data = {
        "name": "bbbc021",
        "folder": str(tmp_path / "s"),
        "screen": {
            "path": str(BBBC021),
            "columns": {"perturbation": "Metadata_Compound", "target": "Metadata_MoA"},
            "negative_controls": ["DMSO"],
        },
        "normalise": "plate",
        "views": [{"view": "held_out_plates"}, {"view": "held_out_batches"}],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    assert main(["run", str(tmp_path / "sweep.yaml"), "--set", "tracking.enabled=false"]) == 2
    assert "confounded by design: each of 103 perturbations lies in one of 10 batches" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    config = sweeper.load_config(tmp_path / "sweep.yaml", ["biology=target", "seeds=3"])
    found = sweeper.plan(config)
    assert {view: each.outlook for view, each in found.foresight.views.items()} == {
        "held_out_plates": "possible",
        "held_out_batches": "possible",
    }
    first = sweeper.plan(
        sweeper.load_config(tmp_path / "sweep.yaml", ["biology=target", "seeds=3", "split_draws=first"])
    )
    assert first.foresight.views["held_out_batches"].outlook == "impossible", "the first draws measure too little"


def test_a_sweep_that_went_on_anyway_says_confounded_by_design(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The decision of a store whose cells were all run, from what the store says of its screen."""
    sweep = planned(tmp_path / "s", simulate=simulated(imbalance=1.0))
    sweep.store.create(sweep_id=sweep.sweep_id, description=sweep_description(sweep, []), screen=sweep.screen)
    write(sweep, sweep.known_cells())
    _, decision = tabulate_and_decide(sweep.store)
    assert decision.rule.state == "CONFOUNDED_BY_DESIGN"
    assert decision.rule.advice.recommended is None
    assert main(["report", str(sweep.store.folder)]) == 0
    assert "confounded by design" in sweep.store.report_path.read_text(encoding="utf-8").lower().replace("_", " ")
    assert main(["status", str(sweep.store.folder)]) == 0
    assert "Each of 8 perturbations lies in one of 3 batches only" in " ".join(capsys.readouterr().out.split())
