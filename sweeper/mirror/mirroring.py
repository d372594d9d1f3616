"""Store → MLflow: which records are told, and the thread that tells them while a sweep runs."""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.arms.arm import Arm, read_name
from sweeper.decision import Decision
from sweeper.kept.card import decision_facts
from sweeper.kept.keeping import Kept
from sweeper.kept.strengths import advised_strength
from sweeper.metrics.composites import composites
from sweeper.mirror.logged_model import EXAMPLE_ROWS, MirroredModel
from sweeper.mirror.tracking import Mirror, MirroredCell, MirrorError, ParentStatus
from sweeper.planning.cells import Cell
from sweeper.planning.prepared import Prepared
from sweeper.spoken import strength_text
from sweeper.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from trainers.base import IntArray

STOP_SECONDS = 3.0
"""How long an interrupted sweep waits for its mirror."""
_PARAMETERS = ("trainer", "adversarial_weight", "margin", "seed", "split", "view", "fold")


def mirrored_cell(store: Store, cell_id: str, shared_tags: Mapping[str, str]) -> MirroredCell:
    """A finished cell as MLflow shows it: final metrics under technical/, biological/ and composite/, the curve under
    training/. Values before anchoring are in the record that is attached: a chart each would double the page.
    """
    record = store.record(cell_id)
    metrics: dict[str, float] = {}
    for row in record["metrics"]:
        if row["value"] is not None:
            metrics[f"{row['role']}/{row['metric']}"] = row["value"]
    total = composites(record["metrics"])
    for name, value in (("T", total.technical), ("B", total.biological), ("geometric", total.geometric)):
        if value is not None:
            metrics[f"composite/{name}"] = value
    return MirroredCell(
        cell_id=cell_id,
        name=cell_name(record),
        status=record["status"],
        params={key: record[key] for key in _PARAMETERS if record[key] is not None},
        metrics={key: value for key, value in metrics.items() if math.isfinite(value)},
        curve=store.curve(cell_id),
        artefacts=(store.cells_folder / cell_id / "record.json",),
        started=record["ended"] - sum(record["seconds"].values()),
        ended=record["ended"],
        tags={**shared_tags, **({"sweeper.reason": record["reason"]} if record["reason"] else {})},
    )


def cell_name(record: Mapping[str, Any]) -> str:
    """Short, the strength first: "λ=3 m=0.3 s1 plates/0", "λ=3 m=0.3 sham s1 plates/0", "raw s0 batches/1"."""
    arm, own = read_name(record["trainer"])
    what = [own]
    if record["adversarial_weight"] is not None:
        what = [strength_text(own, record["adversarial_weight"], record["margin"])]
        what += [] if arm is Arm.SWEEP else [arm.value if arm is not Arm.LADDER else own]
    return " ".join([*what, f"s{record['seed']}", record["split"].removeprefix("held_out_")])


def decision_params(decision: Decision) -> dict[str, Any]:
    """What the decision says, as parameters of the parent: of the advised strength, state and bounds."""
    rule = decision.rule
    return {
        "decision.advised": rule.advice.recommended,
        "decision.advised_margin": rule.margin,
        "decision.safe_up_to": rule.estimate.safe_up_to,
        "decision.unsafe_from": rule.estimate.unsafe_from,
        "decision.state": rule.state,
        "decision.firmness": rule.firmness,
        "decision.certainty": rule.certainty,
    }


def decision_metrics(decision: Decision) -> dict[str, float]:
    """The numbers among them, with T and B at the advised strength, as metrics of the parent."""
    strength = advised_strength(decision)
    found = {key.replace(".", "/"): value for key, value in decision_params(decision).items()}
    if strength is not None and (facts := decision_facts(decision, strength)) is not None:
        found |= {"decision/T": facts["technical"], "decision/B": facts["biological"]}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}


def mirrored_model(store: Store, kept: Kept, tags: Mapping[str, str]) -> MirroredModel:
    """A kept model as MLflow shows it."""
    facts, screen = kept.facts, store.screen()
    grouped = [layer for layer in (*facts.prepare, *facts.layers) if layer["op"] == "by_group"]
    groups = dict.fromkeys(str(layer["column"]) for layer in grouped)
    if any(layer["rows"] == "negative" for layer in grouped):
        groups["control_type"] = None
    rows = _example_rows(screen.wells, list(groups))
    values = {name: screen.wells[name].iloc[rows].tolist() for name in groups}
    values |= {name: screen.features[rows, at].astype(float).tolist() for at, name in enumerate(facts.features)}
    decided = facts.decision or {}
    return MirroredModel(
        folder=kept.folder,
        name=f"{facts.trainer}-{facts.name}",
        identity=facts.identity,
        features=facts.features,
        groups=tuple(groups),
        columns=facts.columns,
        advised=facts.advised,
        params={
            "trainer": facts.trainer,
            "adversarial_weight": f"{facts.weight:g}",
            "margin": f"{facts.margin:g}",
            "seeds": ", ".join(map(str, facts.seeds)),
            "trained_on": str(facts.trained_on["what"]),
        },
        tags={**tags, "sweeper.strength": facts.strength, "sweeper.state": str(decided.get("state", ""))},
        example=values,
    )


def _example_rows(wells: pd.DataFrame, groups: Sequence[str]) -> IntArray:
    """A few rows that the model can be tried on: of one group, with its controls where it is centred by them."""
    if not groups:
        return np.arange(min(EXAMPLE_ROWS, len(wells)))
    first = wells[groups[0]] == wells[groups[0]].iloc[0]
    negative = wells["control_type"] == "negative"
    return np.sort(np.concatenate([np.flatnonzero(first & negative)[:2], np.flatnonzero(first & ~negative)[:2]]))


def _shared_tags(prepared: Prepared) -> dict[str, str]:
    from sweeper.planning.description import versions

    return {
        "sweeper.data_fingerprint": prepared.identity["data"],
        **{f"version.{name}": version for name, version in versions().items()},
    }


class SweepMirror:
    """Mirrors finished cells in the background; a failing tracking server costs the mirror, never the sweep."""

    def __init__(self, prepared: Prepared, *, warn: Callable[[str], None]) -> None:
        self._store = prepared.store
        self._tags = _shared_tags(prepared)
        self._warn = warn
        self._queue: queue.Queue[tuple[str, ...] | None] = queue.Queue()
        config = prepared.config
        settings = config.trainer_settings.model_dump(mode="json")
        self.mirror = Mirror(
            uri=config.tracking.uri,
            sweep_id=prepared.sweep_id,
            name=config.name,
            folder=self._store.folder,
            params={
                "trainer": config.trainer,
                "normalise": config.normalise,
                "held_out_perturbations": config.held_out_perturbations,
                "deciding_view": config.decision.deciding_view,
                "seeds": len(config.seeds),
                "wells": len(prepared.screen.wells),
                **{f"{config.trainer}.{key}": value for key, value in settings.items()},
            },
            tags=self._tags,
        )
        self._name = config.name
        self._dataset = {
            "name": config.name,
            "digest": prepared.identity["data"].removeprefix("sha256:")[:36],
            "source": str(config.screen.path if config.screen is not None else prepared.account.source),
            "profile": {
                "wells": len(prepared.screen.wells),
                "features": len(prepared.screen.feature_names),
                "fingerprint": prepared.identity["data"],
            },
        }
        self._stopped: ParentStatus | None = None
        self._thread = threading.Thread(target=self._follow, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def tell(self, cells: Iterable[Cell]) -> None:
        """Queue finished cells; returns at once."""
        self._queue.put(tuple(cell.cell_id for cell in cells))

    def _follow(self) -> None:
        while (cell_ids := self._queue.get()) is not None:
            try:
                self._log(cell_ids)
            except MirrorError as error:
                self._warn(f"MLflow mirror: {error}; the sweep goes on, the rest is mirrored by the next `sweeper run`")
                return
        if self._stopped is not None:
            with suppress(MirrorError):
                self.mirror.finish(artefacts=[], metrics={}, tags={}, status=self._stopped)

    def _log(self, cell_ids: Iterable[str]) -> None:
        self.mirror.log_cells(
            mirrored_cell(self._store, cell_id, self._tags)
            for cell_id in takewhile(lambda _: self._stopped is None, cell_ids)
        )

    def stop(self, status: ParentStatus) -> None:
        """Close the parent of a sweep that did not reach its end, within seconds; the next run catches up."""
        self._stopped = status
        self._queue.put(None)
        self._thread.join(timeout=STOP_SECONDS)

    def finish(self, decision: Decision, *, metrics: Mapping[str, float], kept: Sequence[Kept] = ()) -> None:
        """Mirror whatever is not mirrored yet, then close the parent with the sweep's outputs, models and metrics."""
        self._queue.put(None)
        self._thread.join()
        store = self._store
        outputs = (store.report_path, store.decision_path, store.results_path, store.units_path)
        try:
            self._log(sorted(store.finished()))
            self.mirror.log_dataset(**self._dataset)
            self.mirror.log_models([mirrored_model(store, each, self._tags) for each in kept], registered=self._name)
        except MirrorError as error:
            self._warn(f"MLflow mirror: {error}; the sweep's own results are complete in {os.fspath(store.folder)}")
        try:
            self.mirror.finish(
                artefacts=[path for path in outputs if path.exists()],
                metrics={"cells": float(len(store.finished())), **metrics, **decision_metrics(decision)},
                params=decision_params(decision),
                note=decision.sentence,
                tags={
                    "sweeper.state": str(decision.rule.state),
                    "sweeper.sentence": decision.sentence[:4000],
                },
                status="FINISHED",
            )
        except MirrorError as error:
            self._warn(f"MLflow mirror: {error}; the sweep's own results are complete in {os.fspath(store.folder)}")
