"""The examples of the helps, run exactly as they are printed, in a folder that holds what they name.

Not run here are those that train, wait, ask a server or download (`NOT_RUN`); that every example is understood by its
own parser is in tests/unit/test_documentation.py.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sweeper.cli import VERBS, main
from trainers.screens.images.image_simulation import draw_simulation
from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
from trainers.screens.images.simulated_images import write_images
from trainers.screens.readers import screen_frame
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

ROOT = Path(__file__).parents[4]
NOT_RUN = {
    "demo": "trains",
    "run": "trains",
    "keep": "trains",
    "embed": "of models that are kept",
    "report": "made of the same store in tests/unit/sweeper/test_store_before.py",
    "apply": "of models that are kept",
    "submit": "a cluster",
    "sync": "a server",
    "doctor": "its answer is the machine's",
}
NOT_RUN_WITH = {
    "--download": "7.4 GB",
    "--watch": "does not end",
    "cuda": "a GPU",
    "held_out_batches": "the stored sweep has one view",
    "s3://lab/packed/wilds": "a bucket",
    "runs/images": "draws thousands of images",
    "runs/images6": "draws thousands of images",
}
SCREEN = SimulationSpec(
    batches=3, plates_per_batch=2, wells_per_plate=96, features=16, perturbations=8, targets=4, latent=4, seed=1
)
IMAGES = ImageSimulationSpec(batches=2, cell_types=1, sites=1, size=16, cells=2, radius=3, perturbations=4, targets=2)


def examples() -> Iterator[str]:
    for verb in VERBS:
        text = importlib.import_module(f"sweeper.cli.{verb}").EXAMPLE.replace("\\\n", " ")
        for line in text.splitlines():
            command = re.split(r"\s{3,}(?=[^-\s])", line.strip())[0]
            if (
                command.startswith("sweeper ")
                and verb not in NOT_RUN
                and not NOT_RUN_WITH.keys() & set(command.split())
            ):
                yield command


def plates(folder: Path) -> None:
    """A folder of images by batch, plate, well, site and channel, with its layout."""
    rng = np.random.default_rng(0)
    rows = [(run, f"{run}p", f"A{well:02d}", ("DMSO", "c1")[well % 2]) for run in ("r1", "r2") for well in (1, 2)]
    for run, plate, well, _ in rows:
        for channel in ("DNA", "ER", "RNA", "AGP", "Mito"):
            path = folder / run / plate / f"{well}-1_{channel}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 2**16, (8, 8), dtype=np.uint16)).save(path)
    layout = pd.DataFrame(rows, columns=["run", "plate", "well", "compound"]).assign(site=1)
    layout.to_csv(folder / "layout.csv", index=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import anndata

    made = tmp_path_factory.mktemp("examples")
    table = screen_frame(simulate(SCREEN).screen)
    table = table.rename(columns={"Metadata_Perturbation": "Metadata_Compound", "Metadata_target": "Metadata_moa"})
    negative = table["Metadata_pert_type"] == "negcon"
    table.loc[negative, "Metadata_Compound"] = "DMSO"
    table = table.assign(Metadata_Source=table["Metadata_Batch"], Metadata_JCP2022=table["Metadata_Compound"])
    for name in ("profiles", "embeddings", "corrected", "raw", "joined_profiles"):
        table.to_parquet(made / f"{name}.parquet")
    table.to_csv(made / "profiles.csv.gz", index=False)
    described = [name for name in table if name.startswith("Metadata_")]
    obs = table[described].astype(str).set_axis([str(row) for row in range(len(table))])
    anndata.AnnData(table.drop(columns=described).to_numpy("float32"), obs=obs).write_h5ad(made / "corrected.h5ad")
    rows = [
        (weight, 0.0, seed, metric, role, "new_batches", 0.8 - 0.002 * place**3 + 0.004 * ((seed * 7 + place * 3) % 5))
        for place, weight in enumerate((0, 0.1, 0.3, 1, 3, 10, 30, 100))
        for seed in range(4)
        for metric, role in (("probe", "technical"), ("retrieval", "biological"))
    ]
    names = ["adversarial_weight", "margin", "seed", "metric", "role", "view", "value"]
    sweep = pd.DataFrame(rows, columns=names).assign(floor=0.0, ceiling=1.0)
    sweep.to_parquet(made / "sweep.parquet")
    sweep.to_csv(made / "sweep.csv", index=False)
    write_images(draw_simulation(IMAGES), made / "data", "wilds")
    write_images(draw_simulation(IMAGES.model_copy(update={"channels": 6})), made / "data" / "rxrx1", "rxrx1")
    plates(made / "screen7")
    with tarfile.open(ROOT / "tests" / "data" / "store_before.tar.xz") as archive:
        archive.extractall(made / "before", filter="data")
    for name in ("demo", "abra", "sphering", "center", "deep"):
        shutil.copytree(made / "before" / "store", made / "runs" / name)
    (made / "configs").symlink_to(ROOT / "configs")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("command", list(examples()))
def test_an_example_does_what_it_says(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    if "harmony" in command and importlib.util.find_spec("harmonypy") is None:
        pytest.skip("needs the extra harmony")
    if "configs/jump" in command and not (ROOT / "../../shared/data/jump_source3_poscon").resolve().is_dir():
        pytest.skip("real data absent")
    if "configs/my_images.yaml" in command:
        pytest.skip("a configuration of the reader's own; tests/unit/sweeper/cli/test_pack.py has one")
    code = main(shlex.split(command)[1:])
    shown = capsys.readouterr()
    assert code == 0, f"{command}\n{shown.err}"
    assert shown.out.strip()
