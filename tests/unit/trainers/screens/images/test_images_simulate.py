"""Simulated images: phenotype and batch can be read from them, what is inactive cannot, and real readers read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from sweeper.cli import main
from trainers.errors import InputError
from trainers.screens.images.image_screen import ImageScreen
from trainers.screens.images.image_simulation import ImageSimulation, draw_simulation
from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
from trainers.screens.images.manifest import open_packed
from trainers.screens.images.packing import pack
from trainers.screens.images.plate_folder import PlateFolder
from trainers.screens.images.plates import list_plates
from trainers.screens.images.render import render, render_all
from trainers.screens.images.simulated_images import simulated_screen, write_images
from trainers.screens.images.wilds_rxrx1 import list_wilds
from trainers.screens.splits import make_split
from trainers.screens.view_spec import ViewSpec

SPEC = ImageSimulationSpec(batches=4, cell_types=1, sites=1, inactive=0.4, positive_controls=0, size=48, seed=2)
TINY = ImageSimulationSpec(batches=3, cell_types=1, perturbations=4, targets=2, size=16, cells=2, radius=3, sites=2)


@pytest.fixture(scope="module")
def simulation() -> ImageSimulation:
    return draw_simulation(SPEC)


@pytest.fixture(scope="module")
def screen(simulation: ImageSimulation) -> ImageScreen:
    return simulated_screen(simulation)


def statistics(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, k) simple statistics: moments, quantiles and roughness of each channel, and the channels' correlations."""
    x = images.astype(np.float64)
    flat = x.reshape(*x.shape[:2], -1)
    parts = [flat.mean(-1), flat.std(-1), *np.quantile(flat, (0.1, 0.5, 0.9, 0.99), axis=-1)]
    parts += [np.abs(np.diff(x, axis=axis)).mean((-1, -2)) for axis in (-1, -2)]
    parts.append(np.abs(np.diff(x, n=2, axis=-1)).mean((-1, -2)))
    z = (flat - parts[0][..., None]) / (parts[1][..., None] + 1e-9)
    parts.append(np.stack([(z[:, a] * z[:, b]).mean(-1) for a, b in ((0, 1), (0, 2), (1, 2))], axis=1))
    return np.concatenate(parts, axis=1)


def probe(features: NDArray[np.float64], labels: NDArray[np.object_]) -> float:
    """Accuracy of a fresh linear classifier on held-out wells."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
    return float(cross_val_score(model, features, labels, cv=folds).mean())


def within(features: NDArray[np.float64], groups: NDArray[np.object_]) -> NDArray[np.float64]:
    """Standardised in each group."""
    out = np.empty_like(features)
    for group in np.unique(groups):
        rows = groups == group
        out[rows] = (features[rows] - features[rows].mean(0)) / (features[rows].std(0) + 1e-9)
    return out


def test_phenotype_and_batch_are_decodable_and_the_inactive_are_not(
    simulation: ImageSimulation, screen: ImageScreen
) -> None:
    features = statistics(screen.images)  # type: ignore[arg-type]
    batch = screen.wells["batch"].to_numpy(dtype=object)
    perturbation = simulation.perturbation
    classes = perturbation.astype(str).astype(object)
    active = simulation.truth["active"]
    assert active.sum() == 6
    controls = (screen.wells["control_type"] == "negative").to_numpy()
    assert probe(features[controls], batch[controls]) > 0.9  # 4 batches: chance .25
    corrected = within(features, batch)
    shown = active[perturbation]
    assert probe(corrected[shown], classes[shown]) > 0.6  # 6 perturbations: chance .17
    silent = ~shown & ~controls
    assert silent.sum() > 100
    chance = np.unique(classes[silent], return_counts=True)[1].max() / silent.sum()
    assert probe(corrected[silent], classes[silent]) < chance + 3 * np.sqrt(chance * (1 - chance) / silent.sum())


@pytest.mark.slow
def test_rows_and_columns_are_decodable(simulation: ImageSimulation, screen: ImageScreen) -> None:
    strong = draw_simulation(SPEC.model_copy(update={"position_effect": 0.6, "batch_effect": 0.0, "phenotype": 0.0}))
    brightness = np.log(render_all(strong).mean((1, 2, 3)))
    for axis in ("row", "column"):
        assert np.corrcoef(strong.wells[axis], brightness)[0, 1] > 0.3
    none = draw_simulation(SPEC.model_copy(update={"position_effect": 0.0, "batch_effect": 0.0, "phenotype": 0.0}))
    brightness = np.log(render_all(none).mean((1, 2, 3)))
    for axis in ("row", "column"):
        assert abs(np.corrcoef(none.wells[axis], brightness)[0, 1]) < 0.2


def test_the_seed_decides_everything(simulation: ImageSimulation) -> None:
    again = draw_simulation(SPEC)
    np.testing.assert_array_equal(render(simulation, 7), render(again, 7))
    other = draw_simulation(SPEC.model_copy(update={"seed": 3}))
    assert not np.array_equal(render(simulation, 7), render(other, 7))
    stronger = draw_simulation(SPEC.model_copy(update={"phenotype": 2.0}))
    np.testing.assert_array_equal(stronger.perturbation, simulation.perturbation)
    np.testing.assert_allclose(stronger.phenotypes, 2 * simulation.phenotypes)
    np.testing.assert_array_equal(stronger.technical.stain, simulation.technical.stain)


@pytest.mark.slow
def test_the_wilds_reader_reads_the_wilds_layout(tmp_path: Path) -> None:
    simulation = draw_simulation(TINY)
    write_images(simulation, tmp_path / "wilds", "wilds")
    listing = list_wilds(tmp_path / "wilds", mixed_to_test=True)
    pack(listing, tmp_path / "packed")
    screen = open_packed(tmp_path / "packed", verify=True)
    in_memory = simulated_screen(simulation)
    np.testing.assert_array_equal(screen.images, in_memory.images)
    shared = [name for name in in_memory.wells.columns if name in screen.wells.columns]
    assert {"batch", "plate", "well", "site", "split", "row", "cell_type"} <= set(shared)
    assert screen.wells[shared].equals(in_memory.wells[shared])
    split = make_split(screen.wells, ViewSpec(view="official"), fold=0, seed=0)
    assert len(split.train) == len(split.validation) == len(split.test) // 2 > 0
    assert set(simulation.wells["control_type"]) == set(screen.wells["control_type"])


@pytest.mark.slow
def test_a_packed_screen_and_the_one_in_memory_have_one_fingerprint(tmp_path: Path) -> None:
    from trainers.screens.images.manifest import in_memory_screen

    write_images(draw_simulation(TINY), tmp_path / "wilds", "wilds")
    packed = pack(list_wilds(tmp_path / "wilds"), tmp_path / "packed")
    screen = open_packed(tmp_path / "packed")
    assert in_memory_screen(screen.wells, np.array(screen.images), screen.channels).fingerprint == packed.fingerprint


@pytest.mark.slow
def test_the_rxrx1_reader_reads_the_rxrx1_layout(tmp_path: Path) -> None:
    simulation = draw_simulation(TINY.model_copy(update={"channels": 6}))
    write_images(simulation, tmp_path / "rxrx1", "rxrx1")
    listing = list_plates(PlateFolder(path=tmp_path / "rxrx1"))
    assert listing.layout == "rxrx1"
    pack(listing, tmp_path / "packed")
    screen = open_packed(tmp_path / "packed", verify=True)
    assert screen.images.shape[1:] == (6, 16, 16)
    np.testing.assert_array_equal(screen.images, render_all(simulation))
    np.testing.assert_array_equal(screen.wells["perturbation"].astype(int), simulation.perturbation)


def test_the_verb_writes_images_and_refuses_to_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--set", "size=16", "--set", "sites=1", "--set", "batches=2", "--set", "radius=3"]
    command = ["simulate", "--images", "wilds", "--out", str(tmp_path / "out"), *few]
    assert main(command) == 0
    assert (tmp_path / "out" / "truth.json").exists()
    assert len(list_wilds(tmp_path / "out")) == 192
    assert main(command) == 2
    assert "already there" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--set", "channels=6"]) == 2
    assert "layout wilds has 3 channels, got 6" in capsys.readouterr().err
    assert main([*command, "--set", "colour=1"]) == 2
    assert "unknown key 'colour'" in capsys.readouterr().err
    assert main(["simulate", "--keys", "--images", "wilds"]) == 0
    assert "batch_effect = 1.0" in capsys.readouterr().out
    assert main(["simulate"]) == 2


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValidationError, match="4 cell types need as many batches, got 2"):
        ImageSimulationSpec(batches=2, cell_types=4)
    with pytest.raises(ValidationError, match="controls take all 96 wells"):
        ImageSimulationSpec(controls_per_plate=96)
    with pytest.raises(InputError, match="layout rxrx1 has 6 channels, got 3"):
        write_images(draw_simulation(TINY), Path("nowhere"), "rxrx1")
