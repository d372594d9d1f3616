"""The pack: independence of companions, λ = 0, resume, failure, early stopping, and that it learns what it should."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from trainers.abra.abra_settings import AbraSettings
from trainers.abra.profile_pack import AbraPack
from trainers.base import Pack
from trainers.errors import InputError

ADVERSARIES: dict[str, dict[str, Any]] = {
    "ridge": {},
    "fourier": {"critic": "fourier"},
    "kernel": {"critic": "kernel"},
    "moments": {"critic": "moments"},
    "mlp": {"critic": "mlp"},
    "reversal": {"critic": "mlp", "critic_steps": 0},
    "worst_case": {"critic": "none", "statistics": "worst_case"},
    "random": {"critic": "none", "statistics": "random", "alignment": "mmd"},
    "both": {"statistics": "worst_case", "alignment": "coral", "ascent_steps": 2},
}
ALL = pytest.mark.parametrize("adversary", ADVERSARIES)
EVERY_ROW = np.arange(360)


def settings_of(short: AbraSettings, **changes: Any) -> AbraSettings:
    return AbraSettings.model_validate(short.model_dump() | changes)


def trained(pack: AbraPack) -> AbraPack:
    pack.advance(pack.total_steps)
    return pack


def weights(pack: AbraPack, index: int) -> torch.Tensor:
    values: torch.Tensor = pack.state_dict()["parameters"]["values"]
    return values[index]


@pytest.mark.slow
@ALL
def test_a_cell_does_not_depend_on_its_companions(simulated: Any, short: AbraSettings, adversary: str) -> None:
    settings = settings_of(short, **ADVERSARIES[adversary])
    rows = np.arange(20, 260)
    cells = [simulated.cell(s, m, seed) for seed in (0, 1) for s, m in ((0.0, 0.0), (0.0, 0.3), (0.5, 0.3), (4.0, 0.0))]
    cells += [simulated.cell(s, 0.2, 2, train=rows, validation=rows[:0]) for s in (0.0, 1.0, 2.0, 8.0)]
    reference = {i: trained(simulated.pack([cells[i]], settings)).embed(0, EVERY_ROW) for i in (2, 4, 9)}
    for order in ([2, 3], [9, 4], list(range(12))[::-1]):
        pack = trained(simulated.pack([cells[i] for i in order], settings))
        for position, i in enumerate(order):
            if i in reference:
                np.testing.assert_allclose(pack.embed(position, EVERY_ROW), reference[i], atol=1e-4)


@pytest.mark.slow
@ALL
def test_strength_zero_is_bit_equal_to_no_adversary(simulated: Any, short: AbraSettings, adversary: str) -> None:
    settings = settings_of(short, **ADVERSARIES[adversary])
    plain = settings_of(short, critic="none", statistics="none")
    cell = simulated.cell(0.0, 0.3, 5)
    zero, without = trained(simulated.pack([cell], settings)), trained(simulated.pack([cell], plain))
    assert torch.equal(weights(zero, 0), weights(without, 0))
    assert zero.history(0) == without.history(0)
    assert zero.state_dict()["objective"] == {"directions": None, "critic": None}  # there is no r to touch
    mixed = trained(simulated.pack([simulated.cell(3.0, 0.3, 5), cell], settings))
    np.testing.assert_allclose(mixed.embed(1, EVERY_ROW), without.embed(0, EVERY_ROW), atol=1e-4)
    assert not np.allclose(mixed.embed(0, EVERY_ROW), without.embed(0, EVERY_ROW), atol=1e-2)


def test_without_an_adversary_the_strength_means_nothing(simulated: Any, short: AbraSettings) -> None:
    plain = settings_of(short, critic="none", statistics="none")
    pack = trained(simulated.pack([simulated.cell(0.0), simulated.cell(30.0)], plain))
    assert torch.equal(weights(pack, 0), weights(pack, 1))


def test_a_broken_adversary_does_not_reach_strength_zero(simulated: Any, short: AbraSettings) -> None:
    cells = [simulated.cell(0.0, 0.2), simulated.cell(3e38), simulated.cell(2.0, 0.2)]
    pack = trained(simulated.pack(cells, settings_of(short, batch_weight=10.0)))
    clean = trained(simulated.pack([cells[0], cells[2]], settings_of(short, batch_weight=10.0)))
    assert pack.diverged(0) is None
    assert pack.diverged(2) is None
    assert pack.diverged(1) == "loss or gradient not finite at step 1 of 60"
    np.testing.assert_allclose(pack.embed(0, EVERY_ROW), clean.embed(0, EVERY_ROW), atol=1e-4)
    np.testing.assert_allclose(pack.embed(2, EVERY_ROW), clean.embed(1, EVERY_ROW), atol=1e-4)
    assert np.isfinite(pack.embed(1, EVERY_ROW)).all()
    assert pack.history(1) == []


def test_a_pack_of_failed_cells_ends(simulated: Any, short: AbraSettings) -> None:
    pack = trained(simulated.pack([simulated.cell(3e38)], settings_of(short, batch_weight=10.0)))
    assert pack.step == 60
    assert pack.diverged(0) is not None


@pytest.mark.slow
@ALL
def test_resume_is_bit_exact(simulated: Any, short: AbraSettings, adversary: str) -> None:
    settings = settings_of(
        short, strength_schedule="ganin", early_stopping=50, evaluate_every=7, **ADVERSARIES[adversary]
    )
    cells = [simulated.cell(0.0, 0.3), simulated.cell(2.0, 0.3), simulated.cell(5.0, 0.0, 3)]
    whole = trained(simulated.pack(cells, settings))
    first = simulated.pack(cells, settings)
    first.advance(23)  # inside a chunk of every kind of draw
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    first.advance(5)  # a saved state is a copy
    file.seek(0)
    second = simulated.pack(cells, settings)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.step == 23
    second.advance(1000)
    assert second.step == second.total_steps == 60
    for index in range(3):
        assert torch.equal(weights(whole, index), weights(second, index))
        np.testing.assert_array_equal(whole.embed(index, EVERY_ROW), second.embed(index, EVERY_ROW))
        assert whole.history(index) == second.history(index)


def test_a_state_of_other_cells_or_settings_is_refused(simulated: Any, short: AbraSettings) -> None:
    state = simulated.pack([simulated.cell(1.0)], short).state_dict()
    for other in (
        simulated.pack([simulated.cell(2.0)], short),
        simulated.pack([simulated.cell(1.0, train=np.arange(1, 240))], short),
        simulated.pack([simulated.cell(1.0)], settings_of(short, scale=20.0)),
    ):
        with pytest.raises(InputError, match="checkpoint"):
            other.load_state_dict(state)


def test_the_same_seed_starts_from_the_same_weights_at_every_strength(simulated: Any, short: AbraSettings) -> None:
    pack = simulated.pack(
        [simulated.cell(0.0, 0.0, 1), simulated.cell(9.0, 0.4, 1), simulated.cell(0.0, 0.0, 2)], short
    )
    assert torch.equal(weights(pack, 0), weights(pack, 1))
    assert not torch.equal(weights(pack, 0), weights(pack, 2))
    pack.advance(1)
    arcs = [pack.history(index)[0]["arc"] for index in range(3)]
    assert arcs[0] == arcs[1] != arcs[2]  # the same mini-batch; the margin has not begun


def test_embeddings_are_unit_rows_and_each_depends_on_its_row_alone(simulated: Any, short: AbraSettings) -> None:
    pack = trained(simulated.pack([simulated.cell(2.0, 0.2)], settings_of(short, statistics="random")))
    together = pack.embed(0, EVERY_ROW)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, rtol=1e-5)
    for row in (0, 17, 359):
        np.testing.assert_allclose(pack.embed(0, np.array([row]))[0], together[row], atol=1e-6)
    np.testing.assert_array_equal(pack.embed(0, EVERY_ROW), together)  # nothing is drawn in eval mode
    np.testing.assert_array_equal(pack.embed_features(0, simulated.features[5:9]), pack.embed(0, np.arange(5, 9)))
    assert pack.embed(0, np.arange(0)).shape == (0, short.embedding_dim)
    with pytest.raises(InputError, match=r"\(n, 21\)"):
        pack.embed_features(0, simulated.features[:, :20])


@pytest.mark.slow
def test_standardisation_is_that_of_the_training_rows(simulated: Any, short: AbraSettings) -> None:
    """Shifting and scaling every feature, and adding a constant one, changes nothing."""
    cell = simulated.cell(1.0, 0.2)
    reference = trained(simulated.pack([cell], short)).embed(0, EVERY_ROW)
    moved = (simulated.features * 64.0 + 512.0).astype(np.float32)
    pack = AbraPack(moved, simulated.labels, simulated.batches, [cell], short, threads=1)
    np.testing.assert_allclose(trained(pack).embed(0, EVERY_ROW), reference, atol=2e-2)
    constant = simulated.features.copy()
    constant[:, 3] = 5.0
    assert np.isfinite(
        trained(AbraPack(constant, simulated.labels, simulated.batches, [cell], short)).embed(0, EVERY_ROW)
    ).all()


@pytest.mark.slow
@pytest.mark.parametrize("early_stopping", [0, 2])
def test_rows_outside_train_and_validation_are_never_read(
    simulated: Any, short: AbraSettings, early_stopping: int
) -> None:
    settings = settings_of(short, early_stopping=early_stopping, evaluate_every=5, statistics="worst_case")
    cell = simulated.cell(1.0, 0.2)
    other = simulated.features.copy()
    labels, batches = simulated.labels.copy(), simulated.batches.copy()
    outside = slice(240 if early_stopping == 0 else 300, 360)
    other[outside] = 1e6
    labels[outside], batches[outside] = 0, 0
    reference = trained(simulated.pack([cell], settings))
    pack = trained(AbraPack(other, labels, batches, [cell], settings, threads=1))
    assert torch.equal(weights(pack, 0), weights(reference, 0))
    assert pack.history(0) == reference.history(0)


def test_early_stopping_keeps_the_best_weights_and_spares_companions(simulated: Any, short: AbraSettings) -> None:
    settings = settings_of(
        short, steps=200, early_stopping=2, evaluate_every=5, curve_every=5, learning_rate=0.05, critic="none"
    )
    noise = simulated.labels.copy()
    noise[240:300] = np.random.default_rng(0).permutation(noise[240:300])  # nothing to gain by going on
    cells = [simulated.cell(0.0, 0.0, seed) for seed in (0, 1)]
    pack = trained(AbraPack(simulated.features, noise, simulated.batches, cells, settings, threads=1))
    for index in (0, 1):
        losses = [record["validation"] for record in pack.history(index) if "validation" in record]
        steps = [record["step"] for record in pack.history(index)]
        assert 3 <= len(losses) < 40
        assert int(np.argmin(losses)) == len(losses) - 3
        assert max(steps) == 5.0 * len(losses)
        alone = trained(AbraPack(simulated.features, noise, simulated.batches, [cells[index]], settings, threads=1))
        np.testing.assert_allclose(pack.embed(index, EVERY_ROW), alone.embed(0, EVERY_ROW), atol=1e-4)
        until = AbraPack(simulated.features, noise, simulated.batches, [cells[index]], settings, threads=1)
        until.advance(5 * (int(np.argmin(losses)) + 1))
        np.testing.assert_array_equal(until.embed(0, EVERY_ROW), alone.embed(0, EVERY_ROW))


def test_history_has_the_terms_in_force(simulated: Any, short: AbraSettings) -> None:
    settings = settings_of(short, statistics="random", strength_schedule="ganin")
    pack: Pack = simulated.pack([simulated.cell(0.0, 0.4), simulated.cell(2.0, 0.4)], settings)
    pack.advance(60)
    plain, adversarial = pack.history(0), pack.history(1)
    assert [record["step"] for record in plain] == [1.0, 20.0, 40.0, 60.0]
    assert set(plain[0]) == {"step", "loss", "arc", "margin", "strength"}
    assert set(adversarial[0]) == set(plain[0]) | {"batch", "perturbed", "align"}
    assert [record["margin"] for record in plain] == pytest.approx([0.0, 0.4, 0.4, 0.4])
    assert adversarial[0]["strength"] == 0.0
    assert adversarial[-1]["strength"] == pytest.approx(2.0, abs=0.01)
    last = adversarial[-1]
    total = last["arc"] + last["strength"] * (last["perturbed"] + last["batch"]) + 0.1 * last["align"]
    assert last["loss"] == pytest.approx(total, rel=1e-5)
    assert all(math.isfinite(value) for record in adversarial for value in record.values())


def test_classes_absent_from_training_are_no_target(simulated: Any, short: AbraSettings) -> None:
    seen = np.flatnonzero(simulated.labels[:240] != 2)
    cells = [simulated.cell(1.0, 0.2, train=seen), simulated.cell(1.0, 0.2)]
    settings = settings_of(short, early_stopping=3, evaluate_every=10, statistics="random", weight_decay=0.0)
    pack, start = simulated.pack(cells, settings), simulated.pack(cells, settings)
    trained(pack)
    assert pack.diverged(0) is None
    width = 5 * short.embedding_dim  # the class vectors come last, padded to 64 = 4 x 16 floats
    vectors, initial = (weights(p, 0)[-64:][:width].view(5, -1) for p in (pack, start))
    assert torch.equal(vectors[2], initial[2])
    assert not torch.isclose(vectors[[0, 1, 3, 4]], initial[[0, 1, 3, 4]]).any()


def test_a_row_is_given_the_nearest_class_vector_of_the_classes_in_training(
    simulated: Any, short: AbraSettings
) -> None:
    seen = np.flatnonzero(simulated.labels[:240] != 2)
    pack = trained(simulated.pack([simulated.cell(0.0, 0.2), simulated.cell(0.0, 0.2, train=seen)], short))
    found = [pack.predict(index, EVERY_ROW) for index in (0, 1)]
    width = 5 * short.embedding_dim
    for index, predicted in enumerate(found):
        vectors = weights(pack, index)[-64:][:width].view(5, -1).numpy().copy()
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = pack.embed(index, EVERY_ROW) @ vectors.T
        if index:
            cosine[:, 2] = -np.inf
        np.testing.assert_array_equal(predicted, cosine.argmax(axis=1))
    assert np.mean(found[0][:240] == simulated.labels[:240]) > 0.6
    assert 2 in found[0]
    assert 2 not in found[1]


def test_the_ridge_critic_removes_the_batch_and_the_classes_stay(simulated: Any, short: AbraSettings) -> None:
    settings = settings_of(short, steps=200, groups=6)
    pack = trained(simulated.pack([simulated.cell(0.0, 0.2), simulated.cell(5.0, 0.2)], settings))
    told, accuracy = [], []
    for index in (0, 1):
        train, test = pack.embed(index, np.arange(240)), pack.embed(index, np.arange(240, 360))

        def nearest(own: Any, train: Any = train, test: Any = test) -> float:
            centres = np.stack([train[own[:240] == value].mean(0) for value in np.unique(own)])
            distance = ((test[:, None] - centres[None]) ** 2).sum(-1)
            return float(np.mean(distance.argmin(1) == own[240:]))

        told.append(nearest(simulated.batches))
        accuracy.append(nearest(simulated.labels))
    assert accuracy[0] > 0.8
    assert accuracy[1] > accuracy[0] - 0.1
    assert told[0] > 0.3
    assert told[1] < told[0] - 0.08


@pytest.mark.slow
def test_a_cell_may_train_with_batches_of_its_own_beside_others(simulated: Any, short: AbraSettings) -> None:
    rng = np.random.default_rng(3)
    sham = simulated.batches.copy()
    for label in np.unique(simulated.labels[:240]):
        rows = np.flatnonzero(simulated.labels[:240] == label)
        sham[rows] = rng.permutation(sham[rows])
    real = simulated.cell(5.0, 0.2)
    same, other = replace(real, batches=simulated.batches.copy()), replace(real, batches=sham)
    for critic in ("ridge", "mlp"):
        settings = settings_of(short, critic=critic)
        mixed = trained(simulated.pack([real, same, other], settings))
        assert torch.equal(weights(mixed, 0), weights(mixed, 1))
        assert torch.equal(weights(mixed, 0), weights(trained(simulated.pack([real], settings)), 0))
        alone = trained(simulated.pack([other], settings))
        np.testing.assert_allclose(alone.embed(0, EVERY_ROW), mixed.embed(2, EVERY_ROW), atol=1e-4)
        assert not np.allclose(mixed.embed(0, EVERY_ROW), mixed.embed(2, EVERY_ROW), atol=1e-2)
        with pytest.raises(InputError, match="other cells"):
            simulated.pack([real], settings).load_state_dict(alone.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("critic_steps", [0, 3])
def test_a_trained_critic_tells_the_batch_unless_the_encoder_works_against_it(
    simulated: Any, short: AbraSettings, critic_steps: int
) -> None:
    settings = settings_of(
        short, steps=200, groups=6, critic="mlp", critic_steps=critic_steps, critic_learning_rate=0.01
    )
    pack = trained(simulated.pack([simulated.cell(1e-6, 0.2), simulated.cell(0.5, 0.2)], settings))
    idle, opposed = (pack.history(index)[-1]["batch"] for index in (0, 1))
    assert idle < math.log(6) - 0.5
    assert opposed > idle + 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": -1.0}, "adversarial weight -1.0 must be finite and at least 0"),
        ({"strength": math.nan}, "adversarial weight nan"),
        ({"margin": 1.6}, r"margin 1.6 must be in \[0, π/2\)"),
        ({"seed": -3}, "seed -3"),
        ({"train": np.arange(300, 400)}, "train rows must be in 0 … 359"),
        ({"train": np.arange(200, 260)}, "are in train and validation"),
        ({"train": np.zeros(0, np.int64)}, "0 training rows hold fewer than 2 classes"),
    ],
)
def test_cells_that_cannot_train_are_named(
    simulated: Any, short: AbraSettings, change: dict[str, Any], message: str
) -> None:
    cell = simulated.cell(**change)
    with pytest.raises(InputError, match=message) as error:
        simulated.pack([cell], short)
    assert cell.key in str(error.value)


def test_cells_that_do_not_fit_together_or_the_settings_are_named(simulated: Any, short: AbraSettings) -> None:
    few = np.flatnonzero(simulated.batches[:240] < 3)
    with pytest.raises(InputError, match="3 bio-batches in a mini-batch but 4"):
        simulated.pack([simulated.cell(1.0), simulated.cell(1.0, train=few)], short)
    one = np.flatnonzero(simulated.batches[:240] == 1)
    with pytest.raises(InputError, match="nothing to remove"):
        simulated.pack([simulated.cell(1.0, train=one)], short)
    assert trained(simulated.pack([simulated.cell(0.0, train=one)], short)).diverged(0) is None
    with pytest.raises(InputError, match="early stopping needs validation rows"):
        simulated.pack([simulated.cell(1.0, validation=one[:0])], settings_of(short, early_stopping=1))
    with pytest.raises(InputError, match="no cells"):
        simulated.pack([], short)


def test_arrays_that_do_not_fit_are_named(simulated: Any, short: AbraSettings) -> None:
    cells = [simulated.cell(1.0)]
    broken = simulated.features.copy()
    broken[3, 4] = np.inf
    with pytest.raises(InputError, match="row 3, column 4 is not finite"):
        AbraPack(broken, simulated.labels, simulated.batches, cells, short)
    with pytest.raises(InputError, match="labels: shape"):
        AbraPack(simulated.features, simulated.labels[:9], simulated.batches, cells, short)
    with pytest.raises(InputError, match="batches: -1 at row 0"):
        AbraPack(simulated.features, simulated.labels, simulated.batches - 1 - simulated.batches[0], cells, short)


def test_read_only_arrays_are_fine_and_stay_as_they_are(simulated: Any, short: AbraSettings) -> None:
    arrays = [array.copy() for array in (simulated.features, simulated.labels, simulated.batches)]
    cell = simulated.cell(1.0)
    for array in (*arrays, cell.train, cell.validation):
        array.setflags(write=False)
    pack = AbraPack(*arrays, [cell], short, threads=1)
    pack.advance(3)
    np.testing.assert_array_equal(arrays[0], simulated.features)


def test_threads_of_the_process_are_put_back(simulated: Any, short: AbraSettings) -> None:
    before = torch.get_num_threads()
    pack = AbraPack(
        simulated.features, simulated.labels, simulated.batches, [simulated.cell(1.0)], short, threads=before + 1
    )
    pack.advance(2)
    pack.embed(0, np.arange(4))
    assert torch.get_num_threads() == before
