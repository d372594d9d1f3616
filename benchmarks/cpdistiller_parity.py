"""Our cpDistiller beside the public code: losses at the same weights, neighbours, and the panel of both embeddings.

git clone https://github.com/BioX-NKU/cpDistiller /somewhere && git -C /somewhere checkout d7f5302
python -m venv /elsewhere && /elsewhere/bin/pip install torch scanpy anndata hnswlib matplotlib pillow "pandas<3"
make benchmark-cpdistiller CHECKOUT=/somewhere PUBLIC_PYTHON=/elsewhere/bin/python

The public code is neither installed nor copied; without a checkout the benchmark says so and ends. It runs both codes
on the CPU with one thread, on a simulated screen and, where ../shared/data holds it, on the JUMP table; writes
benchmarks/cpdistiller_parity.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import sweeper
from sweeper.installed import versions
from trainers.base import FloatArray, Inputs, TrainingCell
from trainers.cpdistiller.cpdistiller_pack import CpDistillerPack
from trainers.cpdistiller.cpdistiller_settings import CpDistillerSettings
from trainers.cpdistiller.discriminators import EffectLevels, discriminator_shapes, initial_discriminators
from trainers.cpdistiller.distiller_objective import DistillerBatch, DistillerObjective
from trainers.cpdistiller.mixture_vae import initial_linear, vae_shapes
from trainers.cpdistiller.neighbour_pairs import neighbour_pairs, principal_components
from trainers.screens.normalise import location_and_scale
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec
from trainers.screens.splits import make_split
from trainers.screens.table import Screen
from trainers.screens.view_spec import ViewSpec

HERE = Path(__file__).parent
JUMP = HERE.parent / "configs/jump_source3.yaml"
SIMULATED = SimulationSpec(
    batches=4, plates_per_batch=4, wells_per_plate=96, features=120, perturbations=20, targets=10, latent=6,
    controls_per_plate=12, row_gradient=0.6, column_gradient=0.6, seed=3,
)  # fmt: skip
METRICS = (
    "batch_probe_linear", "batch_reader", "batch_mixing_bras", "row_column_ridge", "retrieval_map", "label_nmi",
)  # fmt: skip
EFFECTS = ("batch", "row", "column")


def tables() -> dict[str, Screen]:
    """The simulated screen and, where its data are, the JUMP table."""
    found = {"simulated": simulate(SIMULATED).screen}
    config = sweeper.load_config(JUMP)
    if config.screen is not None and Path(config.screen.path).exists():
        found["jump"] = sweeper.plan(config).prepared.screen
    return found


class Case:
    """One table, scaled by its training rows as both codes get it."""

    def __init__(self, name: str, screen: Screen) -> None:
        self.name, self.wells = name, screen.wells
        split = make_split(screen.wells, ViewSpec(view="held_out_plates", fraction=0.33), fold=0, seed=0)
        self.train, self.test = split.train, split.test
        mean, std = location_and_scale(screen.features[self.train])
        self.features: FloatArray = ((screen.features - mean) / std).astype(np.float32)
        self.inputs = Inputs(wells=screen.wells, features=self.features)
        codes = {"batch": self.inputs.batches, **{e: screen.wells[e].to_numpy(np.int64) for e in ("row", "column")}}
        self.codes = {effect: np.unique(code, return_inverse=True)[1] for effect, code in codes.items()}
        self.control = (screen.wells["control_type"] == "negative").to_numpy()

    def write(self, folder: Path) -> None:
        """What the public side reads."""
        np.savez(
            folder / f"{self.name}_table.npz",
            features=self.features, train=self.train, control=self.control, **self.codes,
        )  # fmt: skip


def loss_parity(case: Case, folder: Path, settings: CpDistillerSettings) -> dict[str, Any]:
    """Writes weights, rows and noise for the public side; gives our losses and gradients at them."""
    rng = np.random.default_rng(1)
    size, width = 128, case.features.shape[1]
    every = np.arange(len(case.features))
    levels = {e: EffectLevels([case.codes[e]], [every], settings.true_level_share, "cpu") for e in EFFECTS}
    shapes = vae_shapes(
        width, hidden=settings.hidden_width, latent=settings.embedding_dim, categories=settings.categories
    )
    own_shapes = discriminator_shapes(levels, latent=settings.embedding_dim, width=settings.discriminator_width)
    values = {**initial_linear(shapes, rng), **initial_discriminators(own_shapes, EFFECTS, 0)}
    # away from the start, where every part would be small
    values = {name: (2.0 * value).astype(np.float32) for name, value in values.items()}
    rows = rng.permutation(len(every))[: 3 * size].reshape(3, size)
    normal = rng.standard_normal((3, size, settings.embedding_dim), np.float32)
    uniform = rng.uniform(1e-6, 1 - 1e-6, (3, size, settings.categories)).astype(np.float32)
    temperature, reversal = 0.7, 0.6
    np.savez(
        folder / f"{case.name}_losses.npz",
        x=case.features[rows], rows=rows[0], normal=normal, uniform=uniform, temperature=temperature,
        reversal=reversal, **case.codes, **values,
    )  # fmt: skip

    def stacked(names: Any) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(values[name][None].copy()).requires_grad_() for name in names}

    vae, discriminators = stacked(shapes), stacked(own_shapes)
    batch = DistillerBatch(
        torch.from_numpy(case.features[rows].reshape(1, 3 * size, width)),
        torch.from_numpy(rows[:1]),
        torch.full((1, size), 1 / size),
        torch.from_numpy(normal.reshape(1, 3 * size, -1)),
        torch.from_numpy(-np.log(-np.log(uniform)).reshape(1, 3 * size, -1)),
    )
    objective = DistillerObjective(settings, levels, torch.ones(1))
    terms = objective.terms(
        vae, discriminators, batch, temperature=torch.tensor([temperature]), reversal=torch.tensor([reversal])
    )
    total = objective.total(terms, width)
    parameters = {**vae, **discriminators}
    gradients = torch.autograd.grad(total.sum(), list(parameters.values()))
    told = {name: value.item() for name, value in terms.items()}
    told["vae"] = told["reconstruction"] + told["latent"] + told["category"]
    told["total"] = total.item()
    return {"terms": told, "gradients": dict(zip(parameters, (g[0].numpy() for g in gradients), strict=True))}


def compared_losses(ours: dict[str, Any], theirs: Any) -> dict[str, Any]:
    """Both values of every loss with their relative difference, and the largest relative difference of gradients."""
    rows = {}
    for name in ("vae", "triplets", *EFFECTS, "total"):
        own, public = ours["terms"][name], float(theirs[f"loss_{name}"])
        rows[name] = {"ours": own, "public": public, "relative_difference": abs(own - public) / abs(public)}
    apart = {
        name: float(np.linalg.norm(value - theirs[name]) / max(np.linalg.norm(theirs[name]), 1e-12))
        for name, value in ours["gradients"].items()
    }
    worst = max(apart, key=lambda name: apart[name])
    return {"losses": rows, "gradients": {"largest_relative_difference": apart[worst], "of": worst}}


def compared_neighbours(case: Case, theirs: Any, settings: CpDistillerSettings) -> dict[str, Any]:
    """How many pairs each code found, and the share of theirs (by approximate search) that is among ours (exact)."""
    start = time.process_time()
    found = neighbour_pairs(
        principal_components(case.features[case.train], settings.components),
        [case.codes[effect][case.train] for effect in ("row", "column", "batch")],
        between=settings.between_neighbours,
        within=settings.within_neighbours,
    )
    told: dict[str, Any] = {
        "seconds": {"ours": time.process_time() - start, "public": float(theirs["neighbour_seconds"])}
    }
    for kind, matrix in (("mutual", found.mutual), ("within", found.within)):
        public = {tuple(pair) for pair in theirs[kind].tolist()}
        own = set(zip(*(part.tolist() for part in matrix.nonzero()), strict=True))
        share = len(own & public) / len(public) if public else None
        told[kind] = {"ours": len(own) // 2, "public": len(public) // 2, "of_public_in_ours": share}
    return told


def panel(case: Case, embedding: FloatArray) -> dict[str, float]:
    """Anchored values (1: best) of the test rows."""
    scored = sweeper.score_table(
        embedding[case.test], case.wells.iloc[case.test].reset_index(drop=True), metrics=METRICS
    )
    return {row["metric"]: row["value"] for row in scored.rows if row["value"] is not None}


def spread(values: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over seeds."""
    table = pd.DataFrame(values)
    return {name: {"mean": float(table[name].mean()), "sd": float(table[name].std())} for name in table}


def noise_account(theirs: Any) -> dict[str, float]:
    """Root mean squares relative to the spread of the mean embedding over wells."""
    noisy = theirs["noisy"].astype(np.float64)
    mean = noisy.mean(0)
    size = np.sqrt(np.square(mean - mean.mean(0)).mean())
    apart = {name: float(np.sqrt(np.square(theirs[name] - mean).mean()) / size) for name in ("softmax", "cooled")}
    return {"between_draws": float(np.sqrt(noisy.var(0).mean()) / size), **apart}


def trained(case: Case, settings: CpDistillerSettings, seeds: list[int]) -> tuple[list[FloatArray], float]:
    """Our embeddings, and processor seconds a seed."""
    cells = [
        TrainingCell(
            key=str(seed), adversarial_weight=1.0, margin=1.0, seed=seed, train=case.train,
            validation=case.train[:0], test=case.test,
        )
        for seed in seeds
    ]  # fmt: skip
    start = time.process_time()
    pack = CpDistillerPack(case.inputs, cells, settings, threads=1)
    pack.advance(pack.total_steps)
    every = np.arange(len(case.features))
    return [pack.embed(index, every) for index in range(len(cells))], (time.process_time() - start) / len(seeds)


def one_table(
    case: Case, settings: CpDistillerSettings, seeds: list[int], options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Both codes on one table."""
    case.write(folder)
    at_weights = loss_parity(case, folder, settings)
    task = {"table": case.name, "epochs": settings.epochs, "seeds": seeds}
    (folder / "task.json").write_text(json.dumps(task))
    public = [options.python, HERE / "cpdistiller_public.py", options.checkout, folder]
    subprocess.run([str(word) for word in public], check=True)
    theirs = np.load(folder / f"{case.name}_public.npz")
    found = {
        "training_rows": len(case.train),
        "features": case.features.shape[1],
        **compared_losses(at_weights, np.load(folder / f"{case.name}_losses_public.npz")),
        "neighbours": compared_neighbours(case, theirs, settings),
    }
    if not seeds:
        return found
    mine, seconds = trained(case, settings, seeds)
    both = {"ours": mine, "public": [theirs[f"embedding_{seed}"] for seed in seeds]}
    return {
        **found,
        "epochs": settings.epochs,
        "seeds": seeds,
        "panel": {"raw": panel(case, case.features)}
        | {side: spread([panel(case, found) for found in embeddings]) for side, embeddings in both.items()},
        "seconds_a_training": {"ours": seconds, "public": float(theirs["train_seconds"])},
        "test_time_noise_of_public": noise_account(theirs),
    }


def main() -> None:
    """Run both codes and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, help="folder of a checkout of the public code")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has its dependencies")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=5, help="0: losses and neighbours alone")
    parser.add_argument("--tables", nargs="+", choices=("simulated", "jump"), help="others stay as they were measured")
    options = parser.parse_args()
    if options.checkout is None or not (options.checkout / "cpDistiller/main.py").is_file():
        print("skipped: give a checkout of github.com/BioX-NKU/cpDistiller, make benchmark-cpdistiller CHECKOUT=PATH")
        return
    settings = CpDistillerSettings(epochs=options.epochs)
    seeds = list(range(options.seeds))
    wanted = options.tables or ("simulated", "jump")
    cases = [Case(name, screen) for name, screen in tables().items() if name in wanted]
    path = Path(__file__).with_suffix(".json")
    before = json.loads(path.read_text())["tables"] if path.exists() else {}
    result: dict[str, Any] = {
        "command": "make benchmark-cpdistiller CHECKOUT=… PUBLIC_PYTHON=…",
        "public": "github.com/BioX-NKU/cpDistiller at d7f5302, variant C, batch + row + column",
        "versions": versions(),
        "tables": before,
    }
    for case in cases:
        with tempfile.TemporaryDirectory() as made:
            result["tables"][case.name] = one_table(case, settings, seeds, options, Path(made))
        print(json.dumps({case.name: result["tables"][case.name]}, indent=1), flush=True)
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(path)


if __name__ == "__main__":
    main()
