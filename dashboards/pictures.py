"""Pictures of the deciding view: embeddings before and after, perturbations lost first, the position effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboards.chart import Chart, chart
from dashboards.figures.embedding import describe_embeddings, draw_embeddings
from dashboards.figures.lost import describe_lost, draw_lost
from dashboards.figures.plate import describe_plates, draw_plates
from dashboards.lost_first import LostFirst, lost_first
from dashboards.position_effect import PositionEffect, position_effect
from dashboards.projection import Projection, has_umap, project
from dashboards.stages import Stage
from sweeper.decision import RuledCurve
from sweeper.findings.stored_embeddings import StoredEmbeddings
from sweeper.findings.unit_gains import Gains

NOT_KEPT = "The store keeps no embeddings of these wells that can be read, so there is nothing to draw."


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is drawn, each with why not where it is not.

    Attributes:
        planes: the embeddings in the plane; `seed` and `split` say which run they are of.
        umap: None where umap-learn is not installed.
        missing: why there are no embeddings; "" where there are.
    """

    planes: Projection | None
    plane: Chart | None
    umap: Chart | None
    seed: int | None
    split: str
    missing: str
    lost: LostFirst | None
    losses: Chart | None
    effect: PositionEffect | None
    plates: Chart | None

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Those that are drawn."""
        return tuple(found for found in (self.plane, self.umap, self.losses, self.plates) if found)


def pictures(
    embeddings: StoredEmbeddings | None,
    gains: Gains | None,
    *,
    curve: RuledCurve | None,
    stages: Sequence[Stage],
    primary: Sequence[str],
    ranges: Mapping[str, float],
    prefix: str,
) -> Pictures:
    """Pictures of one view at its curve's margin.

    Args:
        embeddings: those that the store keeps; None where there is no store.
        gains: by perturbation.
        curve: of the view; None where the decision could not read it.
        stages: the embeddings that are compared; the largest strength is not among the pictures.
        primary: biological metrics that decide, and
        ranges: ceiling minus floor of each.
        prefix: of the charts' ids.
    """
    lost = _lost(gains, curve, primary, ranges)
    losses = None
    if lost is not None and lost.shown:
        losses = chart(f"{prefix}-lost", draw_lost(lost), describe_lost(lost), narrow=draw_lost(lost, narrow=True))
    compared = {stage.weight: stage.label for stage in stages if not stage.label.startswith("largest")}
    run = None
    if embeddings is not None and curve is not None and len(compared) > 1:
        run = embeddings.run(view=curve.view, margin=curve.margin or 0.0, weights=list(compared))
    if run is None:
        return Pictures(None, None, None, None, "", NOT_KEPT, lost, losses, None, None)
    labels = [compared[weight] for weight in run.weights]
    first = [item.unit for item in lost.shown] if lost else []
    planes = project(run, labels, first=first)
    other = project(run, labels, first=first, method="UMAP") if has_umap() else None
    effect = position_effect(run, labels)
    return Pictures(
        planes=planes,
        plane=_planes(planes, f"{prefix}-embedding"),
        umap=_planes(other, f"{prefix}-umap") if other else None,
        seed=run.seed,
        split=run.split,
        missing="",
        lost=lost,
        losses=losses,
        effect=effect,
        plates=chart(
            f"{prefix}-plates",
            draw_plates(effect),
            describe_plates(effect),
            narrow=draw_plates(effect, narrow=True),
        )
        if effect.maps
        else None,
    )


def _lost(
    gains: Gains | None, curve: RuledCurve | None, primary: Sequence[str], ranges: Mapping[str, float]
) -> LostFirst | None:
    """By the metric that is lost before the others, where there is one; else by the first that decides."""
    if gains is None or curve is None:
        return None
    early = curve.remarks.early if curve.remarks else None
    found = (
        lost_first(
            gains, view=curve.view, margin=curve.margin or 0.0, metric=metric, limit=curve.delta * ranges[metric]
        )
        for metric in ((early.name,) if early else ()) + tuple(primary)
        if metric in ranges
    )
    return next((one for one in found if one is not None), None)


def _planes(planes: Projection, identity: str) -> Chart:
    narrow = draw_embeddings(planes, narrow=True)
    return chart(identity, draw_embeddings(planes), describe_embeddings(planes), narrow=narrow)


__all__ = ["Pictures", "pictures"]
