"""What a metric says of the rows alone is what is then measured on them, whatever the design."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.metrics.biological.retention import uncorrected
from sweeper.metrics.biological.retrieval import answerable, answerable_by_controls, replicate_ranking
from sweeper.metrics.evaluation import Evaluation, Source
from sweeper.metrics.layout import Layout, companions
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.registry import REGISTRY

Make = Callable[..., Any]


def nested(wells: pd.DataFrame) -> pd.DataFrame:
    """Each perturbation in one batch only; its target in two of four."""
    place = wells["batch"].str[1:].astype(int)
    number = wells["perturbation"].str[1:].where(wells["perturbation"] != "dmso", "0").astype(int)
    kept = wells[(wells["perturbation"] == "dmso") | (number % 4 == place)].reset_index(drop=True)
    return kept.assign(
        target=kept["perturbation"].map(lambda name: None if name == "dmso" else f"t{int(name[1:]) % 2}")
    )


def lonely(wells: pd.DataFrame) -> pd.DataFrame:
    """One well of each perturbation on the first plate, and its controls."""
    first = wells[wells["plate"] == "b0/0"]
    return first.drop_duplicates(subset=["perturbation"]).reset_index(drop=True)


DESIGNS: dict[str, Callable[[Make], pd.DataFrame]] = {
    "crossed": lambda make: make(controls=8),
    "nested": lambda make: nested(make(perturbations=16, plates=3)),
    "nested, no controls": lambda make: nested(make(perturbations=16, controls=0, plates=3)),
    "unbalanced": lambda make: make(batches=5).drop(index=range(3, 40)).reset_index(drop=True),
    "tiny": lambda make: make(batches=2, plates=1, perturbations=2, replicates=1, controls=1),
    "lonely": lambda make: lonely(make()),
    "one batch": lambda make: make(batches=1, plates=3),
    "one plate a batch": lambda make: make(plates=1),
    "no controls": lambda make: make(controls=0),
    "controls on one plate": lambda make: _controls_once(make()),
    "no targets": lambda make: make().drop(columns=["target", "row", "column"]),
    "one target": lambda make: make().assign(
        target=lambda wells: wells["target"].notna().map({True: "t", False: None})
    ),
    "one perturbation": lambda make: make(perturbations=1),
}


def _controls_once(wells: pd.DataFrame) -> pd.DataFrame:
    return wells[(wells["perturbation"] != "dmso") | wells["plate"].str.endswith("/0")].reset_index(drop=True)


def _halves(wells: pd.DataFrame, embedding: np.ndarray[Any, Any], options: PanelOptions, hidden: tuple[str, ...]):
    """An evaluation with half of the rows as test rows, a quarter as training and a quarter as validation rows."""
    part = np.random.default_rng(2).permutation(len(wells)) % 4
    of = {"test": part < 2, "train": part == 2, "validation": part == 3}
    if not (of["train"].any() and of["validation"].any()):
        of = {"test": part >= 0, "train": part < 0, "validation": part < 0}
    seen = ~wells["perturbation"].isin(hidden).to_numpy()
    rows = {name: np.flatnonzero(mask if name == "test" else mask & seen) for name, mask in of.items()}
    tables = {name: wells.iloc[at].reset_index(drop=True) for name, at in rows.items()}
    test = embedding[rows["test"]]
    shared: dict[str, Any] = {
        **{f"{name}_wells": table for name, table in tables.items()},
        "held_out_perturbations": hidden,
        "view": "held_out_plates",
        "seed": 3,
        "options": options,
    }
    return shared, Evaluation(
        **shared,
        **{name: embedding[at] for name, at in rows.items()},
        reference=uncorrected(
            test, tables["test"], view="held_out_plates", seed=3, held_out_perturbations=hidden, options=options
        ),
        source=Source(features=test, encode=lambda features: features),
        predict=lambda which: tables[which]["perturbation"].to_numpy(dtype=str),
    )


OPTIONS = {
    "default": PanelOptions(permutations=2),
    "plates": PanelOptions(permutations=2, probe_groups="plate", replicates_across="plate", different_wells=False),
}
EMBEDDING_DECIDES = {
    "within_batch_retention": "the uncorrected features show no phenotype inside batches",
    "planted_signal_retention": "what would be planted does not stand out of the negative controls' features",
    "nsc_gap": "targets are matched no better than chance in any batch: nothing to lose",
    "target_recall": "every pair of perturbations is equally similar",
}
"""Metrics whose embedding may hold nothing that could be lost, and the one reason that they then give."""


@pytest.mark.parametrize("hidden", [(), ("p0", "p1", "p4")], ids=["all", "held out"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("design", DESIGNS)
def test_what_is_foreseen_is_what_is_measured(
    make_wells: Make, embed: Make, design: str, options: str, hidden: tuple[str, ...]
) -> None:
    wells = DESIGNS[design](make_wells)
    shared, found = _halves(wells, embed(wells, biology=3.0, batch=0.5), OPTIONS[options], hidden)
    layout = Layout(**shared, at_hand=("reference", "source", "predict"))
    for name, metric in REGISTRY.items():
        foreseen, measured = metric.absent(layout), metric.function(found)
        if foreseen is None:
            assert measured.value is not None or measured.reason == EMBEDDING_DECIDES.get(name), (name, measured.reason)
        else:
            assert (measured.value, measured.reason) == (None, foreseen.reason), name


def test_designs_differ_in_what_they_measure(make_wells: Make, embed: Make) -> None:
    """The test above would pass on designs that all measure everything, or nothing."""
    missing = {}
    for design, make in DESIGNS.items():
        wells = make(make_wells)
        shared, _ = _halves(wells, embed(wells), OPTIONS["default"], ())
        layout = Layout(**shared, at_hand=("reference", "source", "predict"))
        missing[design] = {name for name, metric in REGISTRY.items() if metric.absent(layout) is not None}
    assert missing["crossed"] == set()
    assert {"retrieval_map", "activity_map"} <= missing["nested"]
    assert not {"batch_reader", "nscb_accuracy"} & missing["nested"]
    assert {"batch_reader", "cilisi", "activity_map"} <= missing["nested, no controls"]
    assert {"batch_reader", "retrieval_map"} <= missing["one batch"]
    assert "activity_map" in missing["no controls"]
    assert "nsc_accuracy" in missing["no targets"]
    every = set.union(*missing.values())
    assert set(REGISTRY) - every <= {"plain_accuracy", "in_distribution_plain_accuracy", "plate_variance"}


@pytest.mark.parametrize("within", [False, True])
def test_counted_queries_are_those_that_are_ranked(make_wells: Make, embed: Make, within: bool) -> None:
    for design in ("crossed", "nested", "unbalanced", "one plate a batch"):
        wells = DESIGNS[design](make_wells)
        _, found = _halves(wells, embed(wells), OPTIONS["default"], ())
        np.testing.assert_array_equal(
            answerable(found, within=within), replicate_ranking(found, within=within).queries, err_msg=design
        )
        assert set(answerable_by_controls(found, within=within)) <= set(np.flatnonzero(found.scored))


def test_companions_are_counted_as_pairs_of_rows_would_be() -> None:
    rng = np.random.default_rng(5)
    a, b, c = (rng.integers(0, 4, 60) for _ in range(3))
    among = rng.random(60) < 0.7
    pairs = (a[:, None] == a) & (b[:, None] != b) & (c[:, None] != c) & among
    np.testing.assert_array_equal(companions([a], [b, c], among), pairs.sum(axis=1))
