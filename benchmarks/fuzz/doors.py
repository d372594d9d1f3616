"""The doors: for each kind of input a whole one, what may be wrong with it, and the call that reads it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import yaml
from PIL import Image

from benchmarks.fuzz.mutations import HOSTILE, SCALARS, changed_table, changed_value, damaged, pick
from benchmarks.fuzz.outcome import Attempt
from sweeper.config.sweep_config import build_config, documented_keys
from sweeper.planning.cells import Cell
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import prepare
from sweeper.running.scoring import cell_record

CONFIG: dict[str, Any] = {
    "name": "small",
    "simulate": {
        "batches": 3, "plates_per_batch": 3, "wells_per_plate": 96, "features": 16, "perturbations": 8, "targets": 4,
        "controls_per_plate": 8, "latent": 4, "seed": 1,
    },
    "views": [{"view": "held_out_plates", "fraction": 0.33}, {"view": "held_out_batches", "folds": 3}],
    "strengths": {"adversarial_weight": {"low": 0.01, "high": 100, "count": 7}, "margin": [0.2]},
    "seeds": 3,
    "abra": {"steps": 20, "hidden_widths": [], "embedding_dim": 8},
    "metrics": ["batch_probe_linear", "retrieval_map"],
    "decision": {"deciding_view": "held_out_plates", "draws": 200, "delta": 0.1},
    "sham": {"enabled": True, "seeds": 2},
    "optuna": {"rounds": 1, "low": 0.1, "high": 10},
    "executor": {"cpus_per_pack": 1.0},
    "panel": {"units": ["batch", "perturbation"]},
}  # fmt: skip

Make = Callable[[np.random.Generator, Path], Attempt]
Write = Callable[[pd.DataFrame, Path], int]


SHARES = {
    "configuration": 0.30,
    "--set": 0.30,
    **{f"profiles {suffix}": 0.06 for suffix in (".csv", ".parquet", ".gct", ".npz")},
    "profiles .h5ad": 0.03,
    **{f"decide table {suffix}": 0.02 for suffix in (".csv", ".parquet")},
    "store": 0.015,
    "images PNG": 0.03,
    "images TIFF": 0.03,
}
"""Kind of input → its share of all."""


def doors(folder: Path) -> dict[str, Make]:
    """Kind of input → what makes a malformed one in an empty folder, with the call that reads it.

    The whole inputs are made in `folder` once.
    """
    table, whole = _table(), folder / "whole"
    whole.mkdir(parents=True, exist_ok=True)
    decided = _store(whole / "store")
    shutil.copytree(_images(whole / "images"), whole / "tiffs")
    _as_tiffs(whole / "tiffs")
    writers: Mapping[str, Write] = {
        ".csv": _write_csv,
        ".parquet": _write_parquet,
        ".h5ad": _write_h5ad,
        ".gct": _write_gct,
        ".npz": _write_npz,
    }
    return {
        "configuration": _config,
        "--set": partial(_override, keys=[key for key, _, _ in documented_keys()]),
        **{
            f"profiles {suffix}": partial(_profiles, table=table, suffix=suffix, write=write)
            for suffix, write in writers.items()
        },
        **{
            f"decide table {suffix}": partial(_decided, table=decided, suffix=suffix, write=writers[suffix])
            for suffix in (".csv", ".parquet")
        },
        "store": partial(_stored, whole=whole / "store"),
        "images PNG": partial(_packed, whole=whole / "images"),
        "images TIFF": partial(_packed, whole=whole / "tiffs"),
    }


# ---- settings --------------------------------------------------------------------------------------------------------


def _config(rng: np.random.Generator, folder: Path) -> Attempt:
    data = {**CONFIG, "folder": str(folder / "out")}
    for _ in range(int(rng.integers(1, 4))):
        data = changed_value(rng, data)
    content = yaml.safe_dump(data, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")
    path = folder / "sweep.yaml"
    path.write_bytes(damaged(rng, content) if rng.random() < 0.4 else content)
    return Attempt(["validate", str(path)], written=folder / "out")


def _override(rng: np.random.Generator, folder: Path, *, keys: list[str]) -> Attempt:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "folder": str(folder / "out")}))
    key = str(pick(rng, keys))
    if rng.random() < 0.2:
        key = damaged(rng, key.encode()).decode("utf-8", "replace")
    value = pick(rng, HOSTILE)
    text = value if isinstance(value, str) else json.dumps(value)
    if rng.random() < 0.3:
        text = damaged(rng, text.encode()).decode("utf-8", "replace")
    return Attempt(["validate", str(path), f"--set={key}={text}"], written=folder / "out")


# ---- tables ----------------------------------------------------------------------------------------------------------


def _table() -> pd.DataFrame:
    """72 wells of 3 batches with 12 features, as the field names them."""
    rng = np.random.default_rng(0)
    rows = [(b, p, w) for b in range(3) for p in range(2) for w in range(12)]
    frame = pd.DataFrame(
        {
            "Metadata_Batch": [f"batch{b}" for b, _, _ in rows],
            "Metadata_Plate": [f"BR{b}{p}" for b, p, _ in rows],
            "Metadata_Well": [f"{'ABC'[w // 4]}{w % 4 + 1:02d}" for _, _, w in rows],
            "Metadata_Compound": ["DMSO" if w < 3 else f"cpd{(w + b) % 5}" for b, _, w in rows],
            "Metadata_pert_type": ["negcon" if w < 3 else "trt" for _, _, w in rows],
        }
    )
    names = [f"{part}_AreaShape_F{number}" for number in range(4) for part in ("Cells", "Nuclei", "Cytoplasm")]
    return frame.assign(**{name: rng.standard_normal(len(rows)) for name in names})


def _write_csv(table: pd.DataFrame, path: Path) -> int:
    """As the other writers: the columns of numbers that are written under names of features."""
    table.to_csv(path, index=False)
    return sum(map(_is_feature, table.columns))


def _is_feature(name: object) -> bool:
    return "_AreaShape_" in str(name) and not str(name).startswith("Metadata")


def _write_parquet(table: pd.DataFrame, path: Path) -> int:
    kept = table.loc[:, ~table.columns.duplicated()]
    for name in kept.columns:
        try:
            kept[[name]].to_parquet(path)
        except Exception:  # noqa: BLE001 - Arrow has no such column: written as text, as others would
            kept = kept.assign(**{name: kept[name].map(repr)})
    kept.to_parquet(path, index=False)
    return sum(map(_is_feature, kept.columns))


def _write_h5ad(table: pd.DataFrame, path: Path) -> int:
    kept = table.loc[:, ~table.columns.duplicated()].reset_index(drop=True)
    numbers = [n for n in kept.columns if not str(n).startswith("Metadata") and kept[n].dtype.kind in "fiu"]
    obs = kept.drop(columns=numbers).astype(str)
    obs.index = obs.index.astype(str)
    made = anndata.AnnData(kept[numbers].to_numpy(dtype=np.float32), obs=obs, var=pd.DataFrame(index=numbers))
    made.write_h5ad(path)
    return len(numbers)


def _write_gct(table: pd.DataFrame, path: Path) -> int:
    """GCT 1.3: rows are features, columns are wells."""
    kept = table.loc[:, ~table.columns.duplicated()].reset_index(drop=True)
    numbers = [name for name in kept.columns if _is_feature(name)]
    about = [name for name in kept.columns if name not in numbers]
    wells = "\t".join(f"w{number}" for number in range(len(kept)))
    lines = ["#1.3", f"{len(numbers)}\t{len(kept)}\t0\t{len(about)}", f"id\t{wells}"]
    lines += ["\t".join([str(name), *kept[name].astype(str)]) for name in (*about, *numbers)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(numbers)


def _write_npz(table: pd.DataFrame, path: Path) -> int:
    """DeepProfiler's: an array `features` and a pickled `metadata` beside it, here as plain arrays."""
    kept = table.loc[:, ~table.columns.duplicated()].reset_index(drop=True)
    numbers = [name for name in kept.columns if _is_feature(name)]
    about = {str(name): kept[name].astype(str).to_numpy(dtype=str) for name in kept.columns if name not in numbers}
    np.savez(path, features=kept[numbers].to_numpy(dtype=np.float32), **about)
    return len(numbers)


def _profiles(
    rng: np.random.Generator,
    folder: Path,
    *,
    table: pd.DataFrame,
    suffix: str,
    write: Write,
) -> Attempt:
    path, touched, dimensions = _written(rng, folder, table, suffix, write)
    if suffix == ".npz" and touched is not None:
        touched = (*touched, "features_")  # its columns have no names of their own
    arguments = ["metrics", str(path), "--metrics", "batch_variance", "--json", str(folder / "panel.json")]
    return Attempt(arguments, written=folder / "panel.json", touched=touched, dimensions=dimensions)


def _written(
    rng: np.random.Generator,
    folder: Path,
    table: pd.DataFrame,
    suffix: str,
    write: Write,
) -> tuple[Path, tuple[str, ...] | None, int]:
    """A changed table as a file, what was touched of it (None: its bytes were damaged) and its number of features."""
    import warnings

    touched: tuple[str, ...] | None = ()
    for _ in range(int(rng.integers(1, 3))):
        table, names = changed_table(rng, table)
        touched = (*touched, *names)
        if table.empty or table.columns.duplicated().any():
            break
    path = folder / f"table{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            count = write(table, path)
        except Exception:  # noqa: BLE001 - the library writes no such file: nothing to read then but what is left
            path.write_bytes(b"")
            count = 0
    if rng.random() < 0.35:
        path.write_bytes(damaged(rng, path.read_bytes()))
        touched = None
    return path, touched, count


def _decided(
    rng: np.random.Generator,
    folder: Path,
    *,
    table: pd.DataFrame,
    suffix: str,
    write: Write,
) -> Attempt:
    path, _, _ = _written(rng, folder, table, suffix, write)
    out = folder / "decision.json"
    return Attempt(["decide", "--table", str(path), "--set", "draws=100", "--json", str(out)], written=out)


# ---- stores ----------------------------------------------------------------------------------------------------------


def _measured(cell: Cell, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Biology falls above λ = 3, batch removal rises around λ = 0.1."""
    x = math.log10(cell.adversarial_weight) if cell.adversarial_weight else -9.0
    values = {
        "retrieval_map": ("biological", 0.0 if cell.is_control else 0.6 - 0.4 / (1 + math.exp(-8 * (x - 0.5)))),
        "batch_probe_linear": ("technical", 0.2 + 0.7 / (1 + math.exp(-4 * (x + 1)))),
    }
    return [
        {
            "metric": name,
            "role": role,
            "primary": True,
            "value": value + rng.normal(0, 0.005),
            "floor": 0.0,
            "ceiling": 1.0,
            "raw": value,
            "chance": 0.0,
            "reason": None,
        }
        for name, (role, value) in values.items()
    ]


def _store(folder: Path) -> pd.DataFrame:
    """A finished sweep as if it had been trained, with its report; returns its results."""
    from sweeper.library.outputs import write_outputs

    data = {**CONFIG, "views": CONFIG["views"][:1], "seeds": 3, "optuna": {}, "sham": {"enabled": False}}
    prepared = prepare(build_config({**data, "folder": str(folder)}, "whole.yaml"))
    store, rng = prepared.store, np.random.default_rng(2)
    store.create(
        sweep_id=prepared.sweep_id, description=sweep_description(prepared, ["sweeper"]), screen=prepared.screen
    )
    units = pd.DataFrame({"metric": ["retrieval_map"], "axis": ["batch"], "unit": ["b"], "wells": [3], "value": [0.5]})
    for cell in prepared.known_cells():
        seconds = {"train": 1.0, "score": 0.1}
        record = cell_record(
            cell, status="ok", reason=None, metrics=_measured(cell, rng), seconds=seconds, pack_cells=1
        )
        store.write_cell(record, curve=[{"step": 1.0, "loss": 2.0}], units=units)
    return write_outputs(store).results


def _stored(rng: np.random.Generator, folder: Path, *, whole: Path) -> Attempt:
    store = folder / "store"
    shutil.copytree(whole, store)
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.name != ".lock")
    groups = {path.name: [other for other in files if other.name == path.name] for path in files}
    for _ in range(int(rng.integers(1, 4))):
        path = pick(rng, groups[str(pick(rng, list(groups)))])
        if not path.exists():
            continue
        action = rng.random()
        if action < 0.15:
            path.unlink()
        elif action < 0.2:
            shutil.rmtree(path.parent) if path.parent != store else path.unlink()
        elif action < 0.6 and path.suffix == ".json":
            try:
                data = changed_value(rng, json.loads(path.read_text()))
            except ValueError:  # damaged a moment ago, or nothing to change
                data = pick(rng, SCALARS)
            path.write_text(json.dumps(data, default=str))
        else:
            path.write_bytes(damaged(rng, path.read_bytes()))
    verb = str(pick(rng, ("status", "status", "decide", "report")))
    return Attempt([verb, str(store)], kept=store)


# ---- images ----------------------------------------------------------------------------------------------------------


def _images(folder: Path) -> Path:
    """12 sites of 2 channels in 2 batches, 16 × 16 pixels."""
    rng = np.random.default_rng(0)
    rows = [(f"E{b}", f"P{b}", f"A{w + 1:02d}", f"c{w % 3}") for b in (1, 2) for w in range(6)]
    table = pd.DataFrame(rows, columns=["batch", "plate", "well", "compound"])
    for batch, _, well, _ in rows:
        for channel in (1, 2):
            path = folder / batch / f"{well}_{channel}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 2**16, (16, 16), dtype=np.uint16)).save(path)
    table.to_csv(folder / "metadata.csv", index=False)
    return folder


def _as_tiffs(folder: Path) -> None:
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            image.save(path.with_suffix(".tif"))
        path.unlink()


def _packed(rng: np.random.Generator, folder: Path, *, whole: Path) -> Attempt:
    images = folder / "images"
    shutil.copytree(whole, images)
    files = sorted(path for path in images.rglob("*") if path.is_file())
    suffix = files[0].suffix
    for _ in range(int(rng.integers(1, 3))):
        path = images / "metadata.csv" if rng.random() < 0.25 else pick(rng, files)
        action = rng.random()
        if path.suffix == ".csv" and action < 0.6:
            changed_table(rng, pd.read_csv(whole / "metadata.csv"))[0].to_csv(path, index=False)
        elif action < 0.1:
            path.unlink(missing_ok=True)
        elif path.suffix != ".csv" and action < 0.3:
            dtype = str(pick(rng, ("uint8", "int32", "float32", "uint16", "bool")))
            odd = Image.fromarray(np.ones((int(pick(rng, (16, 15))), 16), dtype=dtype))
            odd.save(path, "PNG" if suffix == ".png" and dtype in ("uint8", "uint16", "bool") else "TIFF")
        elif path.exists():
            path.write_bytes(damaged(rng, path.read_bytes()))
    settings = {
        "metadata": "metadata.csv",
        "pattern": f"{{batch}}/{{well}}_{{channel}}{suffix}",
        "channels": "[DNA, ER]",
        "columns": "{batch: batch, plate: plate, well: well, perturbation: compound}",
    }
    if rng.random() < 0.2:
        settings[str(pick(rng, list(settings)))] = str(pick(rng, SCALARS))
    chosen = [f"--set={key}={value}" for key, value in settings.items()]
    out = folder / "packed"
    arguments = ["pack", "--plates", str(images), "--out", str(out), "--workers", "1", *chosen]
    return Attempt(arguments, written=out / "manifest.json")


__all__ = ["SHARES", "Make", "doors"]
