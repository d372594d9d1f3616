"""The batch probe before and after correction: does a fresh classifier still read the batch?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from dashboards.figures.style import INK, MUTED, TECHNICAL, finish, tint
from dashboards.formatting import drawn, fixed, name, number
from dashboards.records import controls, seed_means, trained

READER, PROBE = "batch_reader", "batch_probe"
"""The strongest of the fresh classifiers, and what the names of single ones begin with."""
_SHAPES = ("diamond", "square", "triangle-up", "circle")
_COLOURS = (TECHNICAL, "#8C4A00", "#E69F00", MUTED)


@dataclass(frozen=True)
class ProbeStage:
    """Balanced accuracy of one probe on one embedding: the seeds' values (folds averaged) and their mean."""

    label: str
    probe: str
    mean: float
    seeds: tuple[float, ...]


@dataclass(frozen=True)
class ProbeComparison:
    """Probes before and after correction in one view; `chance` is that of the first, 1/B or the luck of the strongest.

    A stage that could not be measured is not in `stages`.
    """

    view: str
    labels: tuple[str, ...]
    probes: tuple[str, ...]
    stages: tuple[ProbeStage, ...]
    chance: float | None

    @property
    def title(self) -> str:
        """What the first probe is: the strongest reader, else a single probe (the linear one where there is one)."""
        return "batch reader" if self.probes[:1] == (READER,) else "batch probe"

    def accuracy(self, label: str) -> float | None:
        """Mean of the first probe at a stage; None when it was not measured."""
        found = (stage.mean for stage in self.stages if stage.label == label and stage.probe == self.probes[0])
        return next(found, None)


def probe_comparison(
    frame: pd.DataFrame, *, view: str, margin: float, stages: Sequence[tuple[str, float | None]]
) -> ProbeComparison:
    """Raw balanced accuracies of the sweep's own runs at `stages`, (label, λ) pairs; λ None: the uncorrected features.

    Permuted labels, fresh seeds and rungs at the same strength are other arms, and in no number here.
    """
    probing = frame["metric"].str.startswith(PROBE, na=False) | (frame["metric"] == READER)
    rows = frame[(frame["view"] == view) & probing]
    rows = pd.concat([trained(rows), controls(rows)])
    values = seed_means(rows)
    values = values[values["raw"].notna()]
    probes = tuple(sorted(values["metric"].unique(), key=lambda probe: (probe != READER, "linear" not in probe, probe)))
    found = []
    for label, weight in stages:
        if weight is None:
            at = values[values["trainer"] == "control:raw"]
        else:
            own = trained(values)
            at = own[(own["adversarial_weight"] == weight) & (own["margin"] == margin)]
        for probe in probes:
            accuracies = tuple(at.loc[at["metric"] == probe, "raw"].tolist())
            if accuracies:
                found.append(ProbeStage(label, probe, sum(accuracies) / len(accuracies), accuracies))
    chance = values.loc[values["metric"].isin(probes[:1]), "chance"].mean()
    labels = tuple(label for label, _ in stages if any(stage.label == label for stage in found))
    return ProbeComparison(view, labels, probes, tuple(found), float(chance) if pd.notna(chance) else None)


def draw_probe(comparison: ProbeComparison) -> go.Figure:
    """Means and seed dots a stage, one symbol a probe, the chance line drawn and labelled."""
    figure = go.Figure()
    count = len(comparison.probes)
    for i, probe in enumerate(comparison.probes):
        shift = (i - (count - 1) / 2) * min(0.22, 0.6 / max(count, 1))
        stages = [stage for stage in comparison.stages if stage.probe == probe]
        colour = _COLOURS[i % len(_COLOURS)]
        places = [comparison.labels.index(stage.label) + shift for stage in stages]
        figure.add_scatter(
            x=[place for place, stage in zip(places, stages, strict=True) for _ in stage.seeds],
            y=[value for stage in stages for value in stage.seeds],
            mode="markers",
            marker={"color": tint(colour, 0.35), "size": 6},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=places,
            y=[stage.mean for stage in stages],
            mode="markers+text",
            name=drawn(name(probe)),
            showlegend=count > 1,
            marker={
                "color": colour,
                "size": 11,
                "symbol": _SHAPES[i % len(_SHAPES)],
                "line": {"color": "white", "width": 1},
            },
            text=[fixed(stage.mean) for stage in stages],
            textposition="middle right" if i == count - 1 else "middle left",
            textfont={"size": 12, "color": INK},
            hoverinfo="text",
            hovertext=[drawn(f"{stage.label}, {name(probe)}: {fixed(stage.mean, 3)}") for stage in stages],
        )
    finish(figure, height=320, margin=(60, 20, 34, 60))
    if comparison.chance is not None:
        figure.add_hline(y=comparison.chance, line={"color": MUTED, "dash": "dash", "width": 1.5}, layer="below")
        figure.add_annotation(
            x=1,
            xref="paper",
            y=comparison.chance,
            text=f"chance {number(comparison.chance)}",
            showarrow=False,
            xanchor="right",
            yanchor="bottom",
            font={"color": MUTED, "size": 12},
        )
    figure.update_xaxes(
        tickvals=list(range(len(comparison.labels))),
        ticktext=[drawn(label) for label in comparison.labels],
        range=[-0.6, len(comparison.labels) - 0.4],
        showgrid=False,
        automargin=True,
    )
    figure.update_yaxes(title_text="balanced accuracy of the batch", title_font_size=12, range=[0, 1.05])
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 12}})
    figure.update_layout(showlegend=count > 1)
    return figure


def describe_probe(comparison: ProbeComparison) -> str:
    """The chart in words: every stage's mean, and chance."""
    parts = [f"{stage.label} ({name(stage.probe)}): {fixed(stage.mean)}" for stage in comparison.stages]
    chance = f" Chance is {number(comparison.chance)}." if comparison.chance is not None else ""
    return "Balanced accuracy of a fresh batch classifier. " + "; ".join(parts) + "." + chance
