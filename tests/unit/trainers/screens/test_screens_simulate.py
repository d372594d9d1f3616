from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.linalg import subspace_angles

from trainers.errors import InputError
from trainers.screens.readers import read_screen
from trainers.screens.screen_spec import ScreenSpec
from trainers.screens.simulated_screen import Simulation, simulate, write_simulation
from trainers.screens.simulation_spec import SimulationSpec
from trainers.screens.table import screen_warnings

LINEAR = {"nonlinearity": 0.0, "batch_scale": 0.0}
SMALL = {"batches": 10, "plates_per_batch": 4, "wells_per_plate": 96, "features": 48, "perturbations": 20, "targets": 5}


def small(**changes: object) -> Simulation:
    return simulate(SimulationSpec.model_validate(SMALL | changes))


def batch_means(simulation: Simulation) -> NDArray[np.float64]:
    batch = simulation.screen.wells["batch"].to_numpy()
    return np.stack([simulation.screen.features[batch == name].mean(axis=0) for name in simulation.truth["batches"]])


def without_batch_directions(simulation: Simulation) -> NDArray[np.float64]:
    """Features with the span of the batch means projected out."""
    means = batch_means(simulation)
    directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)[2][: simulation.truth["spec"]["latent"]]
    features = simulation.screen.features
    return features - features @ directions.T @ directions


def accuracy(simulation: Simulation, features: NDArray[np.floating], label: str) -> float:
    """Linear discriminant analysis, learnt on all but the first plate of every batch and scored there."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    wells = simulation.screen.wells
    active = [n for n, flag in zip(simulation.truth["perturbations"], simulation.truth["active"], strict=True) if flag]
    rows = wells["perturbation"].isin(active).to_numpy()
    test = wells["plate"].str.endswith("-1").to_numpy()
    labels = wells[label].to_numpy()
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3)
    model.fit(features[rows & ~test], labels[rows & ~test])
    return float(model.score(features[rows & test], labels[rows & test]))


def retention(simulation: Simulation) -> float:
    """Share of the perturbation accuracy that is left without the batch directions."""
    before = accuracy(simulation, simulation.screen.features, "perturbation")
    return accuracy(simulation, without_batch_directions(simulation), "perturbation") / before


def test_the_default_screen_has_the_promised_size() -> None:
    screen = simulate(SimulationSpec()).screen
    assert screen.features.shape == (10 * 4 * 384, 500)
    wells = screen.wells
    assert [wells[name].nunique() for name in ("batch", "plate", "well", "perturbation")] == [10, 40, 384, 81]
    assert wells.groupby("plate")["control_type"].value_counts().unstack()["negative"].unique().tolist() == [16]
    assert wells["target"].nunique() == 20
    assert wells.loc[wells["control_type"] == "negative", "perturbation"].unique().tolist() == ["DMSO"]
    assert screen_warnings(screen) == ()


def test_equal_specs_give_equal_screens() -> None:
    assert small().screen.fingerprint == small().screen.fingerprint
    assert small().screen.fingerprint != small(seed=1).screen.fingerprint


def test_a_changed_dial_leaves_the_other_draws() -> None:
    first, second = small(), small(overlap=0.0, noise=0.3, phenotype=1.4)
    assert first.screen.wells.equals(second.screen.wells)
    np.testing.assert_allclose(first.truth["batch_shifts"], second.truth["batch_shifts"])
    np.testing.assert_allclose(2.0 * first.truth["effect_size"], second.truth["effect_size"])


@pytest.mark.parametrize("overlap", [0.0, 0.3, 1.0])
def test_the_overlap_is_the_share_of_biology_in_the_batch_directions(overlap: float) -> None:
    truth = small(overlap=overlap).truth
    assert truth["overlap_realised"] == pytest.approx(overlap, abs=1e-9)
    angles = subspace_angles(truth["biology_directions"], truth["batch_directions"])
    np.testing.assert_allclose(np.cos(angles) ** 2, overlap, atol=1e-9)
    np.testing.assert_allclose(truth["principal_cosines"] ** 2, overlap, atol=1e-9)


def test_few_batches_realise_less_overlap() -> None:
    truth = small(batches=4, overlap=1.0).truth
    assert len(truth["principal_cosines"]) == 3
    assert 0.05 < truth["overlap_realised"] < 0.8


def test_phenotypes_and_shifts_are_found_in_the_features() -> None:
    simulation = small(plate_shift=0.0, row_gradient=0.0, column_gradient=0.0, noise=0.01, **LINEAR)
    truth, wells = simulation.truth, simulation.screen.wells
    means = batch_means(simulation)
    np.testing.assert_allclose(means - means.mean(axis=0), truth["batch_shifts"], atol=0.02)
    centred = simulation.screen.features - truth["batch_shifts"][wells["batch"].str[1:].astype(int) - 1]
    for name, phenotype in zip(truth["perturbations"], truth["phenotypes"], strict=True):
        np.testing.assert_allclose(centred[wells["perturbation"] == name].mean(axis=0), phenotype, atol=0.02)
    np.testing.assert_allclose(np.sqrt((truth["phenotypes"] ** 2).mean(axis=1)), truth["effect_size"], rtol=1e-9)


@pytest.mark.slow
def test_strengths_are_root_mean_squares_per_feature() -> None:
    spec = {"latent": 12, "perturbations": 60, "targets": 60, "inactive": 0.0, "effect_spread": 0.2, "phenotype": 0.8}
    sizes = small(**spec).truth["effect_size"]
    assert np.sqrt((sizes**2).mean()) == pytest.approx(0.8, rel=0.15)
    shifts = small(batches=30, perturbations=30, batch_shift=0.6).truth["batch_shifts"]
    assert np.sqrt((shifts**2).mean()) == pytest.approx(0.6, rel=0.15)
    noise = small(
        phenotype=0.0, batch_shift=0.0, plate_shift=0.0, row_gradient=0.0, column_gradient=0.0, noise=2.0, **LINEAR
    )
    assert noise.screen.features.std() == pytest.approx(2.0 * np.sqrt(1.25), rel=0.05)


def test_inactive_perturbations_have_no_phenotype() -> None:
    truth = small(inactive=0.25).truth
    assert truth["active"].sum() == 15
    assert (truth["effect_size"][~truth["active"]] == 0.0).all()
    assert (truth["effect_size"][truth["active"]] > 0.0).all()


def test_perturbations_of_a_target_resemble_each_other() -> None:
    truth = small(moa_share=0.9, inactive=0.0).truth
    cosine = np.corrcoef(truth["phenotypes"])
    same = np.equal.outer(np.array(truth["targets"]), np.array(truth["targets"])) & ~np.eye(20, dtype=bool)
    assert cosine[same].mean() > 0.7
    assert abs(cosine[~same & ~np.eye(20, dtype=bool)].mean()) < 0.2


@pytest.mark.slow
def test_removing_the_batch_costs_biology_only_where_they_overlap() -> None:
    apart, shared = small(overlap=0.0, perturbations=40), small(overlap=0.5, perturbations=40)
    for simulation in (apart, shared):
        assert accuracy(simulation, simulation.screen.features, "batch") > 0.6
        assert accuracy(simulation, without_batch_directions(simulation), "batch") < 0.2
    assert retention(apart) > 0.97
    assert retention(shared) < 0.93


def test_all_biology_goes_with_the_batch_at_overlap_1() -> None:
    simulation = small(overlap=1.0, plate_shift=0.0, **LINEAR)
    assert accuracy(simulation, simulation.screen.features, "perturbation") > 0.4
    assert accuracy(simulation, without_batch_directions(simulation), "perturbation") < 0.2  # chance 1/16


def test_the_nonlinear_part_survives_linear_removal() -> None:
    """A product of batch and phenotype is left when every batch's mean is taken away."""

    def interaction(simulation: Simulation) -> float:
        wells = simulation.screen.wells.assign(row_number=range(len(simulation.screen)))
        residual = without_batch_directions(simulation)
        cells = wells[wells["control_type"] == "treatment"].groupby(["perturbation", "batch"])["row_number"].agg(list)
        means = np.stack([residual[rows].mean(axis=0) for rows in cells]).reshape(20, 10, -1)
        both = means - means.mean(axis=0) - means.mean(axis=1, keepdims=True) + means.mean(axis=(0, 1))
        return float(both.var() / means.var())

    quiet = {"noise": 0.1, "batch_scale": 0.0}
    assert interaction(small(nonlinearity=0.0, **quiet)) < 0.05
    assert interaction(small(nonlinearity=0.5, **quiet)) > 0.1


@pytest.mark.parametrize("axis", ["row", "column"])
def test_gradients_run_over_the_plate(axis: str) -> None:
    off = {"row_gradient": 0.0, "column_gradient": 0.0, "phenotype": 0.0, "noise": 0.2}
    simulation = small(**off | {f"{axis}_gradient": 0.5})
    wells, features = simulation.screen.wells, simulation.screen.features
    strongest = {
        name: np.abs(np.corrcoef(wells[name].to_numpy(float), features.T)[0, 1:]).max() for name in ("row", "column")
    }
    other = "column" if axis == "row" else "row"
    assert strongest[axis] > 0.3
    assert strongest[other] < 0.1


def test_a_balanced_design_puts_every_perturbation_in_every_batch_alike() -> None:
    design = small().truth["design"]
    assert design.shape == (20, 10)
    assert design.sum() == 10 * 4 * 80
    assert np.ptp(design) == 0
    uneven = small(perturbations=21).truth["design"]
    assert np.ptp(uneven) == 1


def test_imbalance_moves_every_perturbation_to_one_batch() -> None:
    some, full = small(imbalance=0.5).truth["design"], small(imbalance=1.0)
    assert ((full.truth["design"] > 0).sum(axis=1) == 1).all()
    assert (some > 0).all()
    assert some.max(axis=1).min() > 3 * some.min(axis=1).max()
    assert screen_warnings(full.screen)[0].startswith("20 of 20 perturbations occur in one batch only")
    wells = full.screen.wells[full.screen.wells["control_type"] == "treatment"]
    counted = wells.groupby(["perturbation", "batch"]).size().unstack(fill_value=0).to_numpy()
    np.testing.assert_array_equal(counted, full.truth["design"])


def test_layouts() -> None:
    fixed = small(layout="fixed").screen.wells.groupby("well")["perturbation"].nunique()
    assert set(fixed) == {1}
    drawn = small().screen.wells.groupby("well")["perturbation"].nunique()
    assert drawn.min() > 5
    per_batch = small(layout="fixed", imbalance=0.5).screen.wells.groupby(["batch", "well"])["perturbation"].nunique()
    assert set(per_batch) == {1}


def test_positive_controls_on_every_plate() -> None:
    simulation = small(positive_controls=2, wells_per_positive=3)
    wells = simulation.screen.wells
    counts = wells[wells["control_type"] == "positive"].groupby(["plate", "perturbation"]).size()
    assert counts.tolist() == [3] * 80
    assert simulation.truth["perturbations"][-2:] == ["POS1", "POS2"]
    assert simulation.truth["targets"][-2:] == [None, None]
    assert wells.loc[wells["control_type"] == "positive", "target"].isna().all()


def test_a_plate_of_1536_wells() -> None:
    wells = small(wells_per_plate=1536, batches=2, plates_per_batch=1).screen.wells
    assert (wells["row"].max(), wells["column"].max(), len(wells)) == (32, 48, 3072)
    assert "AF48" in set(wells["well"])


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    simulation = small(positive_controls=1)
    path = write_simulation(simulation, tmp_path / "new")
    assert sorted(item.name for item in path.parent.iterdir()) == ["screen.parquet", "truth.json", "truth.npz"]
    screen = read_screen(ScreenSpec(path=path), Path()).screen
    assert screen.fingerprint == simulation.screen.fingerprint
    stored = json.loads((path.parent / "truth.json").read_text(encoding="utf-8"))
    assert stored["fingerprint"] == screen.fingerprint
    assert SimulationSpec.model_validate(stored["spec"]) == SimulationSpec.model_validate(
        SMALL | {"positive_controls": 1}
    )
    with np.load(path.parent / "truth.npz", allow_pickle=False) as arrays:
        for name in arrays:
            np.testing.assert_array_equal(arrays[name], simulation.truth[name])
        assert set(arrays) | set(stored) == set(simulation.truth) | {"fingerprint"}


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    write_simulation(small(), tmp_path)
    before = (tmp_path / "screen.parquet").read_bytes()
    with pytest.raises(InputError, match=r"'truth.npz', 'truth.json', 'screen.parquet' already there"):
        write_simulation(small(seed=1), tmp_path)
    assert (tmp_path / "screen.parquet").read_bytes() == before
    write_simulation(small(seed=1), tmp_path, overwrite=True)
    assert (tmp_path / "screen.parquet").read_bytes() != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controls_per_plate": 96}, "controls take all 96 wells"),
        ({"perturbations": 500}, "500 perturbations do not fit into the 320 treatment wells of a batch"),
        ({"perturbations": 100, "layout": "fixed"}, "do not fit into the 80 treatment wells of a plate"),
        ({"targets": 30}, "30 targets for 20 perturbations"),
        ({"imbalance": 0.5, "perturbations": 8}, "8 for 10 batches"),
        ({"features": 31}, "31 features hold at most latent = 7, got 8"),
        ({"overlap": 1.1}, "less than or equal to 1"),
        ({"wells_per_plate": 100}, "96, 384 or 1536"),
    ],
)
def test_sizes_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small(**changes)
