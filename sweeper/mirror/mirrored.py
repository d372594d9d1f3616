"""What MLflow shows of a cell, a decision and a kept model: records of the store in its words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.arms.arm import Arm, read_name
from sweeper.decision import Decision
from sweeper.kept.card import decision_facts
from sweeper.kept.keeping import Kept
from sweeper.kept.strengths import advised_strength
from sweeper.metrics.composites import composites
from sweeper.mirror.logged_model import EXAMPLE_ROWS, MirroredModel
from sweeper.mirror.tracking import MirroredCell
from sweeper.spoken import strength_text
from sweeper.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from trainers.base import IntArray

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
    """Short, the strength first: "λ=3 m=0.3 s1 plates/0", an arm's own name before the seed, "raw s0 batches/1"."""
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
