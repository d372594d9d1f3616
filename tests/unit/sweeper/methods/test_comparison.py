"""The comparison of methods on curves with a known answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from decision_curves import sample, tidy

from sweeper.decision import DecisionSettings, decide_sweep
from sweeper.decision.methods.comparison import NONE, Comparison, compare_methods, place_of
from sweeper.decision.methods.comparison_text import grounds, headline
from sweeper.decision.methods.entries import Entry, make_field
from trainers.registry import trainer

VIEW = "held_out_plates"
SEEDS = 5
GRIDS = {"center": (0.0, *np.linspace(0.1, 1, 10).round(1)), "harmony": (0.0, *np.logspace(-3, 2, 11))}
GRIDS["combat"] = GRIDS["center"]
SETTINGS = DecisionSettings(deciding_view=VIEW, confidence=1 - 0.05 / 2, draws=2000, curves=500)


def table(method: str, top: float, *, loss: float = 0.0, seed: int = 0, gain: float = 0.5) -> pd.DataFrame:
    """T rises along the dial by `gain`; B is `top`, and falls by `loss` in the last third of the range."""
    grid = GRIDS[method]
    along = np.linspace(0.0, 1.0, len(grid))
    rng = np.random.default_rng(seed)
    biological = sample(lambda _: top - loss * (along > 0.66), rng, strengths=grid, seeds=SEEDS, sigma=0.004)
    technical = sample(
        lambda _: 0.3 + gain * np.minimum(along / 0.5, 1.0), rng, strengths=grid, seeds=SEEDS, sigma=0.004
    )
    margin = trainer(method).dials[1].published if len(trainer(method).dials) > 1 else 0.0
    made = tidy(biological, technical, strengths=grid, margin=margin)
    return made.assign(trainer=method)


def compared(tables: dict[str, pd.DataFrame], **changes: Any) -> Comparison:
    settings = SETTINGS.model_copy(update=changes)
    decisions = {
        method: decide_sweep(rows, settings=settings, provenance={"trainer": method}) for method, rows in tables.items()
    }
    return compare_methods(
        decisions,
        tables,
        None,
        name="test",
        dials={method: trainer(method).dials for method in tables},
        refit=dict.fromkeys(tables, True),
        settings=settings,
        confidence=0.95,
    )


@pytest.mark.parametrize(
    ("strength", "safe", "unsafe", "expected"),
    [
        (1.0, 1.0, None, "inside"),
        (1.0, 0.5, 1.0, "outside"),
        (1.0, 0.5, 3.0, "unknown"),
        (1.0, None, None, "unknown"),
        (1.0, None, 0.1, "outside"),
    ],
)
def test_a_published_setting_is_inside_or_outside_only_where_that_was_shown(
    strength: float, safe: float | None, unsafe: float | None, expected: str
) -> None:
    assert place_of(strength, safe, unsafe) == expected


def test_the_simplest_of_equals_is_advised_with_its_strength() -> None:
    found = compared({"harmony": table("harmony", 0.8, seed=1), "center": table("center", 0.8, seed=2)})
    assert [item.method for item in found.methods] == ["center", "harmony"]
    assert found.gains
    assert found.advised == "center"
    assert set(found.not_worse) == {"center", "harmony"}
    center = found.of("center")
    assert found.strength == center.advised
    assert center.safe_up_to == 1.0
    assert (center.published, center.place) == (1.0, "inside")
    said = headline(found)
    assert said.startswith(f"Take center at α = {center.advised:.3g}, and not above α = 1.")
    assert "so is harmony" in said


def test_a_method_that_keeps_more_biology_is_advised_though_it_is_less_simple() -> None:
    found = compared({"harmony": table("harmony", 0.8, seed=1), "center": table("center", 0.7, seed=2)})
    assert found.advised == "harmony"
    assert found.not_worse == ("harmony",)
    assert "Every other method that may be advised is shown to be worse" in headline(found)
    advised = found.of("harmony").at_advised
    assert advised is not None
    assert advised.biological is not None
    assert advised.biological.lower < 0.8 < advised.biological.upper + 0.02


def test_a_method_without_rivals_is_not_said_to_beat_them() -> None:
    lost = table("harmony", 0.8, seed=1).assign(adversarial_weight=lambda rows: rows["adversarial_weight"] * 0.0)
    found = compared({"harmony": lost, "center": table("center", 0.8, seed=2)})
    assert found.of("harmony").advised is None
    assert headline(found).endswith("No other method has a strength that can be advised.")


def test_where_no_method_removes_batch_the_advice_is_not_to_correct() -> None:
    found = compared({m: table(m, 0.8, gain=0.0, seed=place) for place, m in enumerate(("center", "combat"))})
    assert not found.gains
    assert (found.advised, found.strength) == (NONE, 0.0)
    assert headline(found).startswith("Do not correct: no method is shown to remove more batch")


def test_a_published_setting_that_costs_biology_is_named() -> None:
    found = compared({m: table(m, 0.8, loss=0.4, seed=place) for place, m in enumerate(("center", "combat"))})
    assert found.of("center").place == "outside"
    assert found.of("center").safe_up_to < 0.7  # type: ignore[operator]
    published = found.of("center").at_published
    assert published is not None
    assert published.biological is not None
    assert published.biological.mean == pytest.approx(0.4, abs=0.03)


def test_methods_are_compared_on_common_anchors_and_their_own_seeds() -> None:
    """A seed that shifts every method alike is no noise of their difference."""
    tables = {"center": table("center", 0.8, seed=3), "combat": table("combat", 0.8, seed=4)}
    shift = {seed: 0.05 * seed for seed in range(SEEDS)}
    for rows in tables.values():
        rows["value"] += rows["seed"].map(shift)
    entries = [Entry("center", 0.5, 0.0), Entry("combat", 0.5, 0.0)]
    field = make_field(entries, tables, None, view=VIEW, settings=SETTINGS)
    assert field.compared["biological"].error[0, 1] < 0.02
    assert field.fitted["biological"].noise.seed_variance > 0.002


def test_it_is_the_same_whatever_the_order_and_survives_its_file() -> None:
    tables = {"harmony": table("harmony", 0.8, seed=1), "center": table("center", 0.75, seed=2)}
    found = compared(tables)
    turned = compared({m: rows.sample(frac=1, random_state=0) for m, rows in reversed(list(tables.items()))})
    assert turned == found
    assert Comparison.from_json(found.to_json()) == found
    assert any("hold at once at 95 % (Bonferroni)" in line for line in grounds(found))
    assert any("A new batch needs a refit" in line for line in grounds(found))


def test_without_seeds_in_common_nothing_is_compared_and_each_keeps_its_own_verdict() -> None:
    center = table("center", 0.8)
    combat = table("combat", 0.8)
    found = compared({"center": center, "combat": combat.assign(seed=combat["seed"] + 100)})
    assert found.advised is None
    assert "0 seeds" in found.reason
    assert headline(found).startswith("No method can be named")
    assert found.of("center").advised is not None


def test_where_no_dial_could_be_judged_no_advice_is_made_of_it() -> None:
    few = {m: rows[rows["seed"] < 2] for m, rows in ((m, table(m, 0.8)) for m in ("center", "combat"))}
    found = compared(few)
    assert found.advised is None
    assert headline(found) == (
        "No method can be named: none of them could be judged on its own dial (INSUFFICIENT DATA)."
    )
