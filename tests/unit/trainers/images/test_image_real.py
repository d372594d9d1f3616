"""Real RxRx1 images, where they lie beside the project: read, packed and embedded by an untrained backbone.

18 images of untreated wells, one a plate: 5 experiments, of which two are of one cell type. Channel statistics name the
experiment of 17 by their nearest neighbour. The embedding does not see brightness (each channel is standardised), and
names 11 to 15: it tells cell types apart, and hardly the two experiments that share one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from trainers.images.frozen import frozen_features
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.simple import channel_statistics
from trainers.screens.images.image_screen import ImageScreen
from trainers.screens.images.manifest import open_packed
from trainers.screens.images.packing import pack
from trainers.screens.images.plate_folder import PlateFolder
from trainers.screens.images.plates import list_plates

IMAGES = Path(__file__).resolve().parents[5] / "shared" / "data" / "rxrx1_b02_images"
SETTINGS = ImageAbraSettings(backbone="test_resnet", precision="fp32", statistics="none", points=())


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> ImageScreen:
    """The 18 complete images, packed by the reader of the release's layout."""
    if not IMAGES.is_dir():
        pytest.skip(f"real data absent: {IMAGES}")
    folder = tmp_path_factory.mktemp("real")
    index = pd.read_csv(IMAGES / "index.csv", dtype=str)
    sites = index[index["site"] == "1"].drop_duplicates(["experiment", "plate"])
    table = sites[["dataset", "experiment", "cell_type", "plate", "well", "site"]]
    table.assign(well_type="negative_control", sirna_id="1138").to_csv(folder / "metadata.csv", index=False)
    pack(list_plates(PlateFolder(path=IMAGES, metadata=folder / "metadata.csv")), folder / "packed")
    return open_packed(folder / "packed", verify=True)


def named_by_neighbour(features: NDArray[Any], names: NDArray[np.object_]) -> int:
    """How many rows have the name of their nearest other row, columns standardised."""
    z = (features - features.mean(0)) / (features.std(0) + 1e-9)
    distance = np.square(z[:, None] - z[None]).sum(-1)
    np.fill_diagonal(distance, np.inf)
    return int((names[distance.argmin(1)] == names).sum())


def test_channel_statistics_name_the_experiment_of_17_of_18(packed: ImageScreen) -> None:
    values = channel_statistics(packed.images).reshape(18, 6, -1)[:, :, :2]
    found = named_by_neighbour(np.log(values.reshape(18, -1) + 1e-6), packed.wells["batch"].to_numpy())
    assert found == 17


def test_an_untrained_backbone_tells_cell_types_and_with_them_experiments(packed: ImageScreen, tmp_path: Path) -> None:
    experiments, types = (packed.wells[name].to_numpy(dtype=object) for name in ("batch", "cell_type"))
    one_type = types == "HEPG2"
    assert len(set(experiments[one_type])) == 2
    found = []
    for seed in range(5):
        features = np.asarray(
            frozen_features(
                packed.images, SETTINGS, fingerprint=packed.fingerprint, folder=tmp_path, seed=seed, threads=1
            )
        )
        assert features.shape == (18, 96)
        found.append(
            (
                named_by_neighbour(features, experiments),
                named_by_neighbour(features, types),
                named_by_neighbour(features[one_type], experiments[one_type]),
            )
        )
        rng = np.random.default_rng(seed)
        permuted = [named_by_neighbour(features, rng.permutation(experiments)) for _ in range(200)]
        assert found[-1][0] > np.quantile(permuted, 0.99)
    by_experiment, by_type, in_one_type = np.mean(found, axis=0)
    assert 10 < by_experiment < by_type < 17, found
    assert in_one_type < 5, "the two experiments of one cell type are told apart: say so above"
