"""The correctors against what people know of them: Harmony on the real table, ComBat and sphering beside their peers.

    .venv/bin/uv pip install -r requirements-harmony.lock combatlearn==2.3.0 pycytominer==1.7.1
    .venv/bin/python benchmarks/correctors.py        (a minute; writes benchmarks/correctors.json)

*Harmony*: the table of configs/jump_source3.yaml, standardised, 30 principal components, θ = 2, batches by label.
mAP is of a compound's fields in other batches at other wells, by cosine, averaged within compounds and then over them
(chance about .10); the probe is a logistic regression on standardised components, ten folds of whole plates stratified
by batch, balanced accuracy (chance .111). Beside it the figures that were measured before, independently.

*Peers*: the largest difference of any value, as a share of the largest value, on a simulated screen, from combatlearn's
ComBat and from pycytominer's Spherize (method ZCA; ours with regularise: singular_values but for ε/√(n − 1)).
combatlearn takes the moments of its priors over batches, feature by feature; the paper over features, batch by batch.
So it is no reference: the tests have the paper's equations written out instead. A peer that is absent is left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sweeper.config.sweep_config import load_config
from sweeper.installed import versions
from sweeper.planning.prepared import load_screen
from trainers.base import FloatArray, Inputs, TrainingCell
from trainers.corrector import Corrector
from trainers.correctors.combat import Combat, CombatSettings
from trainers.correctors.harmony import Harmony, HarmonySettings
from trainers.correctors.sphering import Sphering, SpheringSettings
from trainers.errors import InputError
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

HERE = Path(__file__).parent.parent
KNOWN = {"raw": (0.225, 0.707), "10": (0.228, 0.551), "1": (0.232, 0.198), "0.01": (0.232, 0.052)}
"""Harmony's lamb → mAP and probe, as measured before this project had a Harmony."""


def corrected(trainer: Corrector, inputs: Inputs, settings: Any, strength: float, second: float = 0.0) -> FloatArray:
    """(n, e) every row of a screen, corrected."""
    rows = np.arange(len(inputs.wells))
    cell = TrainingCell(key="", adversarial_weight=strength, margin=second, seed=0, train=rows, validation=rows[:0])
    return trainer.correct(inputs, cell, settings)


def retrieval(rows: FloatArray, wells: pd.DataFrame) -> float:
    """Mean over perturbations of the mean average precision of their rows in other batches at other wells."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    batch, well, label = (wells[name].to_numpy(dtype=str) for name in ("batch", "well", "perturbation"))
    precision = np.empty(len(rows))
    for row, likeness in enumerate(unit @ unit.T):
        others = np.flatnonzero((batch != batch[row]) & (well != well[row]))
        hits = np.flatnonzero(label[others[np.argsort(-likeness[others])]] == label[row])
        precision[row] = ((np.arange(len(hits)) + 1) / (hits + 1)).mean()
    return float(pd.Series(precision).groupby(label).mean().mean())


def probe(rows: FloatArray, wells: pd.DataFrame) -> float:
    """Balanced accuracy of a fresh classifier of the batch, on whole plates that it never saw."""
    batch = wells["batch"].to_numpy(dtype=str)
    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    found = cross_val_predict(reader, rows, batch, groups=wells["plate"].to_numpy(), cv=StratifiedGroupKFold(10))
    return float(balanced_accuracy_score(batch, found))


def harmony_on_jump() -> dict[str, Any] | None:
    """Both numbers at each ridge penalty, beside those known."""
    try:
        screen = load_screen(load_config(HERE / "configs/jump_source3.yaml"))
        inputs = Inputs(wells=screen.wells, features=np.asarray(screen.features))
        Harmony().try_out(inputs, HarmonySettings())
    except InputError as absent:
        print(absent)
        return None
    found = {}
    for lamb, known in KNOWN.items():
        strength = 0.0 if lamb == "raw" else 1.0 / float(lamb)
        rows = corrected(Harmony(), inputs, HarmonySettings(components=30), strength, 2.0)
        numbers = retrieval(rows, screen.wells), probe(rows, screen.wells)
        found[lamb] = {"map": round(numbers[0], 4), "probe": round(numbers[1], 4), "known": list(known)}
        print(lamb, found[lamb])
    return found


def peers() -> dict[str, float]:
    """The largest difference from each peer, as a share of the largest value."""
    screen = simulate(SimulationSpec(batches=4, plates_per_batch=2, wells_per_plate=96, features=64, latent=8)).screen
    inputs = Inputs(wells=screen.wells, features=np.asarray(screen.features))
    table = pd.DataFrame(inputs.features.astype(float))
    found: dict[str, float] = {}
    try:
        from combatlearn import ComBat
    except ImportError as absent:
        print(absent)
    else:
        for name, mean_only in (("combat", False), ("combat, mean only", True)):
            theirs = ComBat(batch=pd.Series(inputs.batches), mean_only=mean_only).fit_transform(table)
            found[name] = _apart(corrected(Combat(), inputs, CombatSettings(mean_only=mean_only), 1.0), theirs)
    try:
        from pycytominer.operations.transform import Spherize
    except ImportError as absent:
        print(absent)
    else:
        settings = SpheringSettings(fit_on="all", regularise="singular_values")
        for inverse in (1e-2, 2.0, 1e4):
            theirs = Spherize(method="ZCA", epsilon=1.0 / inverse, center=True).fit(table).transform(table)
            ours = corrected(Sphering(), inputs, settings, inverse)
            found[f"sphering, 1/ε = {inverse:g}"] = _apart(ours * inverse * np.sqrt(len(table) - 1), theirs)
    return found


def _apart(ours: Any, theirs: Any) -> float:
    theirs = np.asarray(theirs, dtype=float)
    return float(f"{np.abs(np.asarray(ours, dtype=float) - theirs).max() / np.abs(theirs).max():.2g}")


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    found = {"versions": versions(), "harmony_on_jump": harmony_on_jump(), "apart": peers()}
    print(found["apart"])
    options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
