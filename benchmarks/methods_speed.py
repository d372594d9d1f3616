"""What a grid of settings costs in a pack of cells, and in a plain loop over the libraries.

    .venv/bin/python benchmarks/methods_speed.py [--wells 3500 10000] [--settings 8 25]      (writes methods_speed.json)

Sphering (pycytominer's, all wells) and Harmony (harmonypy, 50 components, θ = 2), each at every setting of its dial, on
random features with batch shifts. *Plain*: the library is asked anew at every setting, from the features: `Spherize`
fitted and applied; standardising, scikit-learn's PCA and `run_harmony`. *Pack*: a pack of this project's cells, which
decomposes once for all settings. Corrections alone, no scoring: that is the same work for both. Seconds are of the
processor (one thread), so that what else runs on the machine counts little; peak memory is what Python and NumPy held
at once beyond the table (tracemalloc). A peer that is absent is left out. On two cores packs run side by side besides;
a plain loop does not.
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweeper.planning.description import versions
from trainers.base import Inputs, TrainingCell
from trainers.corrector import Corrector
from trainers.correctors.harmony import Harmony, HarmonySettings
from trainers.correctors.sphering import Sphering, SpheringSettings

BATCHES = 10
KEYS = ("method", "wells", "settings")


def screen(wells: int, features: int) -> Inputs:
    """Random features with batch shifts."""
    rng = np.random.default_rng(14)
    batch = np.arange(wells) % BATCHES
    values = rng.standard_normal((wells, features)) + rng.standard_normal((BATCHES, features))[batch]
    table = pd.DataFrame({"batch": batch.astype(str), "plate": batch.astype(str), "control_type": None})
    table["perturbation"] = (np.arange(wells) % 97).astype(str)
    return Inputs(wells=table, features=values.astype(np.float32))


def settings_of(trainer: Corrector, count: int) -> list[float]:
    """`count` settings over the dial's own range."""
    low, high = trainer.dials[0].span
    return np.logspace(np.log10(low), np.log10(high), count).tolist()


def in_a_pack(inputs: Inputs, trainer: Corrector, settings: Any, strengths: list[float], second: float) -> None:
    """Every setting, as a sweep's worker corrects them."""
    rows = np.arange(len(inputs.wells))
    for strength in strengths:
        cell = TrainingCell(key="", adversarial_weight=strength, margin=second, seed=0, train=rows, validation=rows[:0])
        pack = trainer.pack(inputs, [cell], settings)
        pack.advance(1)
        pack.embed(0, rows)


def plain_sphering(inputs: Inputs, strengths: list[float]) -> None:
    """pycytominer, anew at every setting."""
    from pycytominer.operations.transform import Spherize

    table = pd.DataFrame(inputs.features).astype(float)
    for strength in strengths:
        Spherize(method="ZCA", epsilon=1.0 / strength, center=True).fit(table).transform(table)


def plain_harmony(inputs: Inputs, strengths: list[float]) -> None:
    """harmonypy, anew at every setting."""
    from harmonypy import run_harmony
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    for strength in strengths:
        scores = PCA(50, svd_solver="full").fit_transform(StandardScaler().fit_transform(inputs.features.astype(float)))
        run_harmony(scores, inputs.wells, ["batch"], theta=2.0, lamb=1 / strength, verbose=False, ncores=1)


def measured(work: Callable[[], None]) -> dict[str, float]:
    """Seconds of the processor, and MB held at once at most."""
    tracemalloc.start()
    began = time.process_time()
    work()
    seconds = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"seconds": round(seconds, 2), "peak_mb": round(peak / 1e6, 1)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wells", type=int, nargs="+", default=[3500, 10000])
    parser.add_argument("--settings", type=int, nargs="+", default=[8, 25])
    parser.add_argument("--features", type=int, default=500)
    parser.add_argument("--pack-alone", action="store_true", help="do not run the plain loop")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {"rows": []}
    found |= {"versions": versions(), "features": options.features}
    ways: dict[str, tuple[Corrector, Any, float, Callable[[Inputs, list[float]], None]]] = {
        "sphering": (
            Sphering(),
            SpheringSettings(fit_on="all", regularise="singular_values"),
            0.0,
            plain_sphering,
        ),
        "harmony": (Harmony(), HarmonySettings(), 2.0, plain_harmony),
    }
    for wells in options.wells:
        for count in options.settings:
            for name, (trainer, settings, second, plain) in ways.items():
                strengths = settings_of(trainer, count)
                row: dict[str, Any] = {"method": name, "wells": wells, "settings": count}
                made = screen(wells, options.features)
                if not options.pack_alone:
                    try:
                        row["plain"] = measured(lambda at=made, s=strengths, p=plain: p(at, s))
                    except ImportError as absent:
                        print(absent)
                row["pack"] = measured(
                    lambda at=made, t=trainer, c=settings, s=strengths, m=second: in_a_pack(
                        Inputs(wells=at.wells, features=at.features), t, c, s, m
                    )
                )
                if "plain" in row:
                    row["ratio"] = round(row["plain"]["seconds"] / row["pack"]["seconds"], 2)
                same = [other for other in found["rows"] if all(other[key] == row[key] for key in KEYS)]
                found["rows"] = [other for other in found["rows"] if other not in same] + [row]
                print(row, flush=True)
                options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
