"""Trainings until the point is known."""

from __future__ import annotations

from typing import Any

from tables.common import load

ROADS = {"grid": "plain grid", "random": "random", "tpe": "TPE (Optuna)", "locate": "locate"}


def table() -> list[str]:
    """Its lines."""
    result = load("locate")
    low, high = result["range"]
    repetitions = " and ".join(dict.fromkeys(str(found["repetitions"]) for found in result["shapes"].values()))
    lines = [
        f"**Trainings until the point is known as well** ({repetitions} repetitions a curve, "
        f"{result['seeds']} seeds, σ {result['sigma']:g}, δ {result['delta']:g}, λ from {low:g} to {high:g};",
        "`make benchmark-locate`). Width: median of the 90 % interval of λ_OC, in decades; unsafe: bound above the",
        "truth. Last column: trainings at which a road reaches the median width at which locate ended.",
        "",
        "| curve | road | trainings | width | coverage (± SE) | unsafe | trainings for locate's width |",
        "|---|---|---|---|---|---|---|",
    ]
    for shape, found in result["shapes"].items():
        for road, sizes in found["roads"].items():
            need = sizes[-1]["trainings"] if road == "locate" else found["trainings_for_locates_width"][road]
            for place, size in enumerate(sizes):
                last = ("not reached" if need is None else f"{need:.0f}") if place == len(sizes) - 1 else ""
                lines.append(
                    f"| {shape} | {ROADS[road]} | {size['trainings']:.0f} | {size['width']:.2f} | "
                    f"{size['coverage']:.2f} (± {size['coverage_se']:.2f}) | {size['unsafe']:.3f} | {last} |"
                )
    return [*lines, "", *_of_the_grid(result["shapes"]), ""]


AIM_OF_THE_GRID = 0.5


def _of_the_grid(shapes: dict[str, Any]) -> list[str]:
    """How locate stands against its aim."""
    said = []
    for shape, found in shapes.items():
        share = found["share_of_the_grid"]
        low, high = ("less" if end is None else f"{end:.2f}" for end in found["share_of_the_grid_95"])
        if share is None:
            said.append(f"{shape}: no grid tried reaches its width")
        else:
            verdict = "met" if share <= AIM_OF_THE_GRID else "missed"
            said.append(f"{shape} {share:.2f} (95 % of bootstraps over repetitions: {low} to {high}), {verdict}")
    return [f"Locate's trainings as a share of the grid's, aim at most {AIM_OF_THE_GRID:g}: {'; '.join(said)}."]
