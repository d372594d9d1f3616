"""The pack: independence of companions, λ = 0, resume, failure, the weight average, schedules, what is refused."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from trainers.base import EmbedsFeatures, Inputs
from trainers.cpdistiller.cpdistiller_pack import CpDistillerPack
from trainers.cpdistiller.cpdistiller_settings import CpDistillerSettings
from trainers.cpdistiller.cpdistiller_trainer import CpDistillerTrainer
from trainers.cpdistiller.distiller_schedule import DistillerSchedule
from trainers.errors import InputError
from trainers.kept import OPERATIONS, Keepable
from trainers.kept_layers import run_layers
from trainers.registry import trainer

EVERY_ROW = np.arange(288)


def changed(settings: CpDistillerSettings, **changes: Any) -> CpDistillerSettings:
    return CpDistillerSettings.model_validate(settings.model_dump() | changes)


def trained(pack: CpDistillerPack) -> CpDistillerPack:
    pack.advance(pack.total_steps)
    return pack


def weights(pack: CpDistillerPack, index: int, part: str = "vae") -> torch.Tensor:
    values: torch.Tensor = pack.state_dict()[part]["values"]
    return values[index]


@pytest.mark.parametrize("effects", [("row", "column"), ("batch", "row", "column")])
def test_a_cell_does_not_depend_on_its_companions(plates: Any, small: CpDistillerSettings, effects: Any) -> None:
    """Three cells alone and together; the last trains on fewer rows, and is through before the others."""
    settings = changed(small, effects=effects)
    cells = [plates.cell(0.0), plates.cell(4.0, 0.5, 1), plates.cell(1.0, 1.0, 2, train=np.arange(40, 150))]
    alone = [trained(plates.pack([cell], settings)) for cell in cells]
    assert [pack.total_steps for pack in alone] == [16, 16, 8]
    for order in ([0, 1, 2], [2, 0, 1]):
        pack = trained(plates.pack([cells[i] for i in order], settings))
        for position, i in enumerate(order):
            np.testing.assert_allclose(pack.embed(position, EVERY_ROW), alone[i].embed(0, EVERY_ROW), atol=1e-4)
            told = [record["loss"] for record in alone[i].history(0)]
            assert [record["loss"] for record in pack.history(position)] == pytest.approx(told, rel=1e-4)


def test_strength_zero_hears_nothing_of_the_discriminators(plates: Any, small: CpDistillerSettings) -> None:
    """Its encoder is that of a training whose discriminators do not learn, or are told other rows."""
    cell = plates.cell(0.0, 1.0, 5)
    reference = trained(plates.pack([cell], small))
    idle = trained(plates.pack([cell], changed(small, discriminator_learning_rate=1e-12)))
    assert torch.equal(weights(reference, 0), weights(idle, 0))
    assert not torch.equal(weights(reference, 0, "discriminators"), weights(idle, 0, "discriminators"))
    published = trained(plates.pack([plates.cell(1.0, 1.0, 5)], small))
    assert not torch.equal(weights(published, 0), weights(reference, 0))


def test_the_adversary_blinds_its_discriminators_and_takes_out_the_batch(
    plates: Any, small: CpDistillerSettings
) -> None:
    """The batch for a fresh linear probe on held-out wells, too; a blind discriminator of rows proves no such thing."""
    settings = changed(small, epochs=60, hidden_width=32, discriminator_width=32)
    pack = trained(plates.pack([plates.cell(0.0), plates.cell(20.0)], settings))
    level = np.unique(plates.inputs.wells["batch"].to_numpy(), return_inverse=True)[1]
    read = []
    for index in (0, 1):
        embedding = pack.embed(index, EVERY_ROW)
        design = np.c_[(embedding - embedding[:200].mean(0)) / embedding[:200].std(0), np.ones(288)]
        fit = np.linalg.lstsq(design[:200], np.eye(3)[level[:200]], rcond=None)[0]
        read.append(float(np.mean((design[200:] @ fit).argmax(1) == level[200:])))
    assert read[1] < read[0] - 0.2, read
    for effect, chance in (("batch", math.log(3)), ("row", math.log(6))):
        idle, opposed = (pack.history(index)[-1][effect] for index in (0, 1))
        assert idle < chance - 0.4, effect
        assert opposed > idle + 0.3, effect


def test_resume_is_bit_exact(plates: Any, small: CpDistillerSettings) -> None:
    cells = [plates.cell(0.0), plates.cell(3.0, 0.5, 1, train=np.arange(0, 120))]
    whole = trained(plates.pack(cells, small))
    first = plates.pack(cells, small)
    first.advance(7)  # inside an epoch of one, past the first epochs of the other
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    first.advance(3)  # a saved state is a copy
    file.seek(0)
    second = plates.pack(cells, small)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.step == 7
    second.advance(1000)
    assert second.step == second.total_steps == 16
    for index in (0, 1):
        assert torch.equal(weights(whole, index), weights(second, index))
        assert torch.equal(weights(whole, index, "discriminators"), weights(second, index, "discriminators"))
        np.testing.assert_array_equal(whole.embed(index, EVERY_ROW), second.embed(index, EVERY_ROW))
        assert whole.history(index) == second.history(index)


def test_a_state_of_other_cells_or_settings_is_refused(plates: Any, small: CpDistillerSettings) -> None:
    state = plates.pack([plates.cell()], small).state_dict()
    sham = np.random.default_rng(0).permutation(plates.inputs.batches)
    for other in (
        plates.pack([plates.cell(2.0)], small),
        plates.pack([plates.cell(train=np.arange(1, 200))], small),
        plates.pack([plates.cell(batches=sham)], small),
        plates.pack([plates.cell()], changed(small, smoothing=0.2)),
    ):
        with pytest.raises(InputError, match="checkpoint"):
            other.load_state_dict(state)


def test_a_cell_that_diverges_is_named_and_spares_the_others(plates: Any, small: CpDistillerSettings) -> None:
    pack = trained(plates.pack([plates.cell(0.0), plates.cell(3e38), plates.cell(2.0)], small))
    assert pack.diverged(1) == "loss or gradient not finite at step 2 of 16", "the ramp starts at 0"
    assert pack.diverged(0) is None
    assert pack.diverged(2) is None
    alone = trained(plates.pack([plates.cell(2.0)], small))
    np.testing.assert_allclose(pack.embed(2, EVERY_ROW), alone.embed(0, EVERY_ROW), atol=1e-4)
    assert [record["step"] for record in pack.history(1)] == [1.0]


def test_the_same_seed_starts_alike_at_every_strength(plates: Any, small: CpDistillerSettings) -> None:
    pack = plates.pack([plates.cell(0.0, 1.0, 1), plates.cell(9.0, 0.0, 1), plates.cell(0.0, 1.0, 2)], small)
    assert torch.equal(weights(pack, 0), weights(pack, 1))
    assert not torch.equal(weights(pack, 0), weights(pack, 2))
    pack.advance(1)
    first = [pack.history(index)[0]["reconstruction"] for index in range(3)]
    assert first[0] == first[1] != first[2]


def test_the_arm_that_permutes_batches_has_its_labels_in_triplets_and_discriminators(
    plates: Any, small: CpDistillerSettings
) -> None:
    sham = np.random.default_rng(3).permutation(plates.inputs.batches)
    real = plates.cell(4.0)
    same, other = replace(real, batches=plates.inputs.batches.copy()), replace(real, batches=sham)
    mixed = trained(plates.pack([real, same, other], small))
    torch.testing.assert_close(weights(mixed, 0), weights(mixed, 1))
    assert not np.allclose(mixed.embed(0, EVERY_ROW), mixed.embed(2, EVERY_ROW), atol=1e-2)
    np.testing.assert_allclose(
        trained(plates.pack([other], small)).embed(0, EVERY_ROW), mixed.embed(2, EVERY_ROW), atol=1e-4
    )
    positions = changed(small, effects=("row", "column"))
    fixed = trained(plates.pack([real, other], positions))
    torch.testing.assert_close(weights(fixed, 0), weights(fixed, 1))  # without the batch its labels are nothing
    assert not CpDistillerTrainer().reads_batches(positions)
    assert CpDistillerTrainer().reads_batches(small)


def test_the_embedding_is_by_averaged_weights_without_their_start(plates: Any, small: CpDistillerSettings) -> None:
    pack = plates.pack([plates.cell()], small)
    average, count = torch.zeros_like(weights(pack, 0)), 0
    for _ in range(small.epochs):
        pack.advance(4)
        average, count = 0.9 * average + 0.1 * weights(pack, 0), count + 1
    last = plates.pack([plates.cell()], small)
    state = pack.state_dict()
    state["vae"]["values"][0] = average / (1 - 0.9**count)
    last.load_state_dict({**state, "step": 0})  # no epoch yet: the weights themselves
    np.testing.assert_allclose(last.embed(0, EVERY_ROW), pack.embed(0, EVERY_ROW), atol=1e-5)
    plain = trained(plates.pack([plates.cell()], changed(small, average_decay=0.0)))
    assert not np.allclose(plain.embed(0, EVERY_ROW), pack.embed(0, EVERY_ROW), atol=1e-3)


def test_an_embedding_depends_on_its_row_alone(plates: Any, small: CpDistillerSettings) -> None:
    pack = trained(plates.pack([plates.cell(2.0)], small))
    assert isinstance(pack, EmbedsFeatures)
    together = pack.embed(0, EVERY_ROW)
    assert together.dtype == np.float32
    assert together.shape == (288, CpDistillerTrainer().width(small))
    for row in (0, 17, 287):
        np.testing.assert_allclose(pack.embed(0, np.array([row]))[0], together[row], atol=1e-5)
    np.testing.assert_array_equal(pack.embed(0, EVERY_ROW), together)
    np.testing.assert_array_equal(pack.embed_features(0, plates.features[5:9]), pack.embed(0, np.arange(5, 9)))
    assert pack.embed(0, np.arange(0)).shape == (0, 5)
    with pytest.raises(InputError, match=r"\(n, 24\)"):
        pack.embed_features(0, plates.features[:, :9])


def test_a_kept_cell_embeds_as_the_pack_does(plates: Any, small: CpDistillerSettings) -> None:
    pack = trained(plates.pack([plates.cell(0.0), plates.cell(2.0, 1.0, 1)], small))
    assert isinstance(pack, Keepable)
    assert CpDistillerTrainer().not_kept(small) is None
    for index in (0, 1):
        kept = pack.fitted(index)
        assert {layer["op"] for layer in kept.layers} <= set(OPERATIONS)
        np.testing.assert_allclose(
            run_layers(kept.layers, kept.arrays, plates.features), pack.embed(index, EVERY_ROW), atol=1e-5
        )


def test_rows_outside_training_are_never_read(plates: Any, small: CpDistillerSettings) -> None:
    reference = trained(plates.pack([plates.cell(2.0)], small))
    features, wells = plates.features.copy(), plates.inputs.wells.copy()
    features[200:] = 1e6
    wells.loc[200:, ["batch", "row", "column", "control_type"]] = ["B0", 1, 1, "negative"]
    pack = trained(CpDistillerPack(Inputs(wells=wells, features=features), [plates.cell(2.0)], small, threads=1))
    assert torch.equal(weights(pack, 0), weights(reference, 0))


def test_history_has_every_term(plates: Any, small: CpDistillerSettings) -> None:
    pack = trained(plates.pack([plates.cell(2.0)], small))
    curve = pack.history(0)
    assert [record["step"] for record in curve] == [1.0, 5.0, 10.0, 15.0, 16.0]
    assert set(curve[0]) == {
        "step", "loss", "reconstruction", "latent", "category", "triplets", "batch", "row", "column", "strength",
        "temperature",
    }  # fmt: skip
    assert curve[0]["strength"] == 0.0
    assert all(math.isfinite(value) for record in curve for value in record.values())


def test_schedules_are_the_published_ones() -> None:
    settings = CpDistillerSettings()
    schedule = DistillerSchedule(settings, np.array([10, 5]))
    assert schedule.steps.tolist() == [500, 250]
    np.testing.assert_allclose(schedule.rate_share(0), 1.0)
    np.testing.assert_allclose(schedule.rate_share(255), [0.5 * (1 + np.cos(np.pi * 25 / 50)), 0.0], atol=1e-12)
    epochs = [schedule.temperature(10 * epoch)[0] for epoch in (0, 1, 2, 49)]
    assert epochs == pytest.approx([1.0, 1.0, math.exp(-0.0125), math.exp(-0.0125 * 48)])
    assert DistillerSchedule(CpDistillerSettings(epochs=99), np.array([1])).temperature(98)[0] == 0.5
    assert schedule.reversal(100)[0] == pytest.approx(2 / (1 + math.exp(-2)) - 1)


def test_neighbours_are_kept_from_pack_to_pack_up_to_a_number(plates: Any, small: CpDistillerSettings) -> None:
    inputs = Inputs(wells=plates.inputs.wells, features=plates.features)
    for strength in (0.0, 2.0):
        CpDistillerPack(inputs, [plates.cell(strength, 1.0, seed) for seed in (0, 1)], small)
    assert len(inputs.kept) == 1
    first = set(inputs.kept)
    CpDistillerPack(inputs, [plates.cell(train=np.arange(size)) for size in range(150, 165)], small)
    assert len(inputs.kept) == 16
    assert first < set(inputs.kept)
    CpDistillerPack(inputs, [plates.cell(train=np.arange(149))], small)
    assert len(inputs.kept) == 16, "the oldest goes"
    assert not first & set(inputs.kept)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strength": -1.0}, "adversary weight -1.0 must be finite and at least 0"),
        ({"triplets": math.nan}, "triplet weight nan"),
        ({"seed": -3}, "seed -3"),
        ({"train": np.arange(300, 400)}, "there must be some, in 0 … 287"),
        ({"train": np.arange(0)}, "0 training rows; there must be some"),
        ({"train": np.arange(10)}, "10 training rows are too few for 9 neighbours"),
        ({"batches": np.zeros(288, np.int64)}, r"of one batch, which leaves nothing to remove; .*\[row, column\]"),
    ],
)
def test_cells_that_cannot_train_are_named(
    plates: Any, small: CpDistillerSettings, change: dict[str, Any], words: str
) -> None:
    cell = plates.cell(**change)
    with pytest.raises(InputError, match=words) as caught:
        plates.pack([cell], small)
    assert cell.key in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_screen_without_positions_is_refused_before_anything_is_trained(
    plates: Any, small: CpDistillerSettings
) -> None:
    wells, made = plates.inputs.wells, trainer("cpdistiller")
    made.try_out(plates.inputs, small)
    none = wells.assign(row=wells["row"].mask(wells["row"] > 0), column=wells["column"].mask(wells["row"] > 0))
    with pytest.raises(InputError, match=r"no well has a plate row; name wells like B03 or give .*effects: \[batch\]"):
        made.try_out(Inputs(wells=none, features=plates.features), small)
    some = wells.assign(column=wells["column"].where(wells.index != 3))
    with pytest.raises(
        InputError, match=rf"well '{wells['well'][3]}' \(table row 4\) has no plate column, as 1 of 288"
    ):
        made.try_out(Inputs(wells=some, features=plates.features), small)
    with pytest.raises(InputError, match="of one plate row"):
        made.try_out(Inputs(wells=wells.assign(row=1), features=plates.features), small)
    batch = changed(small, effects=("batch",))
    inputs = Inputs(wells=none, features=plates.features)
    made.try_out(inputs, batch)
    assert trained(made.pack(inputs, [plates.cell()], batch)).diverged(0) is None  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="effects must not repeat"):
        CpDistillerSettings(effects=("row", "row"))
    with pytest.raises(InputError, match="no cells"):
        made.pack(plates.inputs, [], small)
