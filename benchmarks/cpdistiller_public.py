"""The public cpDistiller's side of `cpdistiller_parity.py`, run by an interpreter that has its dependencies.

python benchmarks/cpdistiller_public.py CHECKOUT FOLDER      reads what the benchmark left in FOLDER, writes beside it

Calls the checkout's own modules; nothing of theirs is copied here.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import types
import warnings
from pathlib import Path
from unittest import mock

import anndata
import numpy as np
import pandas as pd
import torch

LINEAR = {
    "category0": "encode.qy_x.0",
    "category1": "encode.qy_x.2",
    "logits": "encode.GumbelSoftmax.logits",
    "latent0": "encode.qz_yx.0",
    "latent1": "encode.qz_yx.2",
    "mean": "encode.Gaussian.mu.0",
    "variance": "encode.Gaussian.var.0",
    "projection": "encode.projection_head.0",
    "prior_mean": "decode.y_mu.0",
    "prior_variance": "decode.y_var.0",
    "decoder0": "decode.px_z.0",
    "decoder1": "decode.px_z.2",
    "decoder2": "decode.px_z.4",
}
"""Our name of a linear layer → theirs."""
EFFECTS = {"batch": "D_batch", "row": "D_row", "column": "D_col"}


def layers(model):
    """Our name → their linear layer."""
    found = {ours: model.model.get_submodule(theirs) for ours, theirs in LINEAR.items()}
    for effect, name in EFFECTS.items():
        found |= {f"{effect}{i}": getattr(model, name).main[2 * i] for i in range(3)}
    return found


def losses(package, table, folder):
    """Losses and gradients at given weights, rows and noise."""
    given = np.load(folder / f"{table}_losses.npz")
    codes = {effect: given[effect] for effect in EFFECTS}
    stand_in = types.SimpleNamespace(
        mod=1,
        label_row=codes["row"],
        label_col=codes["column"],
        label_batch=codes["batch"],
        data=types.SimpleNamespace(X=given["x"][0]),
    )
    model = package.cpDistiller_Model(stand_in, str(folder), mo="cpDistiller-C")
    own = layers(model)
    with torch.no_grad():
        for name, layer in own.items():
            layer.weight.copy_(torch.from_numpy(given[f"{name}.weight"].T.copy()))
            layer.bias.copy_(torch.from_numpy(given[f"{name}.bias"][0].copy()))
    model.model.train()
    with (
        mock.patch.object(torch, "rand", side_effect=list(torch.from_numpy(given["uniform"]))),
        mock.patch.object(torch, "randn_like", side_effect=list(torch.from_numpy(given["normal"]))),
    ):
        anchor, positive, negative = (
            model.model(torch.from_numpy(part), float(given["temperature"]), 0) for part in given["x"]
        )
    z = package.main.ReverseLayerF.apply(anchor["gaussian"], float(given["reversal"]))
    soft = {"batch": model.smooth_label_batch, "row": model.smooth_label_row, "column": model.smooth_label_col}
    rows = given["rows"]
    terms = {}
    for effect, name in EFFECTS.items():
        level = torch.from_numpy(codes[effect][rows])
        labels = torch.FloatTensor(soft[effect][codes[effect][rows]])
        terms[effect] = model.LabelSmoothing(getattr(model, name)(z), level, labels)
    terms["triplets"] = model.triple_loss(*(part["project_head"] for part in (anchor, positive, negative)))
    names = ("x_rec", "X", "gaussian", "mu", "var", "y_mu", "y_var", "logits", "prob")
    terms["vae"] = model.elbo_loss(*(anchor[name] for name in names))
    scale = model.input_dim / model.alp[0]
    total = terms["vae"] + scale * (terms["triplets"] + sum(terms[effect] for effect in EFFECTS))
    total.backward()
    gradients = {f"{name}.weight": layer.weight.grad.numpy().T for name, layer in own.items()}
    gradients |= {f"{name}.bias": layer.bias.grad.numpy()[None] for name, layer in own.items()}
    told = {f"loss_{name}": value.item() for name, value in {**terms, "total": total}.items()}
    np.savez(folder / f"{table}_losses_public.npz", **told, **gradients)


def embeddings(package, table, folder, epochs, seeds):
    """Their whole training on the training rows, each seed, and embeddings of all rows."""
    given = np.load(folder / f"{table}_table.npz")
    train = given["train"]

    def as_data(rows):
        described = {
            name: pd.Categorical([f"{code:03d}" for code in given[ours][rows]])
            for name, ours in (("batch", "batch"), ("row", "row"), ("col", "column"))
        }
        described["control"] = np.where(given["control"][rows], "negative", "treatment")
        obs = pd.DataFrame(described, index=[str(row) for row in range(len(rows))])
        return anndata.AnnData(X=given["features"][rows], obs=obs)

    data, everything = as_data(train), as_data(np.arange(len(given["features"])))
    start = time.process_time()
    lists = ["row", "col", "batch"]
    package.labeled(data, Mnn=5, Knn=10, Mnn_list=lists, Knn_list=lists, deep=True, deep_dim=0)
    matrix = data.obsp["matrix"]
    found = {"mutual": np.argwhere(matrix == 3), "within": np.argwhere(matrix == 2)}
    found["neighbour_seconds"] = time.process_time() - start
    spent = []
    for seed in seeds:
        start = time.process_time()
        dataset = package.DataSet(data, seed=seed, batch_size=256, mod=1)
        model = package.cpDistiller_Model(
            dataset, str(folder), epochs=epochs, seed=seed, mo="cpDistiller-C", name=f"{table}_{seed}"
        )
        model.train()
        model.load_model(str(folder / f"{table}_{seed}" / "final_model_ema.ckpt"))
        found[f"embedding_{seed}"] = model.eval(everything)[0]
        spent.append(time.process_time() - start)
        print(f"public, {table}, seed {seed}: {spent[-1]:.0f} s", flush=True)
    if seeds:
        found["train_seconds"] = float(np.mean(spent))
        found |= noise(model, everything)
    np.savez(folder / f"{table}_public.npz", **found)


def noise(model, data, draws=20):
    """Embeddings by noise draws of the last model, and without noise at two temperatures."""
    drawn = []
    for seed in range(draws):
        model.seed = seed
        drawn.append(model.eval(data)[0])
    x, encode = torch.from_numpy(data.X), model.model.encode
    told = {"noisy": np.stack(drawn)}
    with torch.no_grad():
        logits = encode.GumbelSoftmax.logits(encode.qy_x(x))
        for name, temperature in (("softmax", 1.0), ("cooled", float(model.gmvae_t))):
            category = torch.softmax(logits / temperature, -1)
            told[name] = encode.Gaussian.mu(encode.qz_yx(torch.cat((x, category), 1))).numpy()
    return told


def main():
    """Do what FOLDER/task.json asks for."""
    checkout, folder = (Path(argument).resolve() for argument in sys.argv[1:3])
    sys.path.insert(0, str(checkout))
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    package = importlib.import_module("cpDistiller")

    task = json.loads((folder / "task.json").read_text())
    losses(package, task["table"], folder)
    embeddings(package, task["table"], folder, task["epochs"], task["seeds"])


if __name__ == "__main__":
    main()
