"""The pack of images: inputs, λ = 0, independence, resume, failures, and that it learns."""

from __future__ import annotations

import io
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainers.abra.abra_settings import AbraSettings
from trainers.abra.profile_pack import AbraPack
from trainers.base import Pack
from trainers.errors import InputError, OutOfMemoryError
from trainers.images.augment import _together, augmented, draw, standardised
from trainers.images.backbones import create_backbone
from trainers.images.frozen import frozen_features
from trainers.images.image_pack import ImagePack
from trainers.images.image_settings import AugmentSettings, ImageAbraSettings

ADVERSARIES: dict[str, dict[str, Any]] = {
    "worst_case_ridge": {},
    "random_reversal": {"statistics": "random", "critic": "mlp", "critic_steps": 0, "alignment": "coral"},
    "free_mlp": {"critic": "mlp", "ascent_steps": 0, "augment": {"crop": 28, "cutmix": 0.5}, "accumulation": 2},
}
ALL = pytest.mark.parametrize("adversary", ADVERSARIES)
HELD_OUT = np.arange(96, 144)


def settings_of(tiny: ImageAbraSettings, **changes: Any) -> ImageAbraSettings:
    return ImageAbraSettings.model_validate(tiny.model_dump() | changes)


def trained(pack: ImagePack) -> ImagePack:
    pack.advance(pack.total_steps)
    return pack


def weights(pack: ImagePack, index: int = 0) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = pack.state_dict()["finished"][index]["network"]
    return found


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def wilds_transform(image: np.ndarray, quarter: int, flip: bool) -> torch.Tensor:
    """The RxRx1 transform of WILDS' example code: rotation by a multiple of 90°, flip, to [0, 1], standardised."""
    from torchvision.transforms import functional as reference  # seconds, which every collection would pay

    picture = Image.fromarray(np.moveaxis(image, 0, -1))
    if quarter:
        picture = reference.rotate(picture, 90 * quarter)
    x = reference.to_tensor(reference.hflip(picture) if flip else picture)
    std = x.std(dim=(1, 2))
    std[std == 0.0] = 1.0
    return reference.normalize(x, x.mean(dim=(1, 2)), std)


def test_inputs_are_those_of_the_wilds_transform(screen: Any) -> None:
    images = screen.images[:16].copy()
    images[3, 1] = 7  # a constant channel
    once = draw(np.random.default_rng(2), AugmentSettings(), groups=4, items=4, height=32, width=32)
    found, share = augmented(torch.from_numpy(images), once, AugmentSettings())
    assert share is None
    plain = standardised(torch.from_numpy(images))
    seen = Counter()
    for image, x, raw in zip(found, plain, images, strict=True):
        options = {(q, f): wilds_transform(raw, q, f) for q in range(4) for f in (False, True)}
        torch.testing.assert_close(x, options[0, False], rtol=1e-4, atol=2e-5)
        near = [key for key, value in options.items() if torch.allclose(image, value, rtol=1e-4, atol=2e-5)]
        assert len(near) == 1
        seen[near[0]] += 1
    assert len(seen) >= 5


def test_symmetries_are_drawn_evenly_and_only_those_asked_for() -> None:
    base = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3)
    for options, expected in (({}, 8), ({"flips": False}, 4), ({"rotations": False}, 2)):
        settings = AugmentSettings(**options)
        once = draw(np.random.default_rng(0), settings, groups=40, items=20, height=3, width=3)
        out, _ = augmented(base.repeat(800, 1, 1, 1), once, settings)
        std, mean = torch.std_mean(base.float())
        counts = Counter(tuple(value.flatten().tolist()) for value in (out * std + mean).round())
        turns = {tuple(torch.rot90(base[0, 0], k).flatten().float().tolist()) for k in range(4)}
        assert len(counts) == expected
        assert min(counts.values()) > 0.7 * 800 / expected
        assert expected != 4 or counts.keys() == turns


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_crops_are_windows_standardised_by_the_whole_image(dtype: type) -> None:
    top = np.iinfo(dtype).max
    raw = np.random.default_rng(0).integers(0, top, (12, 2, 9, 9)).astype(dtype)
    settings = AugmentSettings(flips=False, rotations=False, crop=8)
    once = draw(np.random.default_rng(1), settings, groups=3, items=4, height=9, width=9)
    out, _ = augmented(torch.from_numpy(raw), once, settings)
    whole = standardised(torch.from_numpy(raw))
    for image, x, y0, x0 in zip(out, whole, once.top, once.left, strict=True):
        torch.testing.assert_close(image, x[:, y0 : y0 + 8, x0 : x0 + 8])
    assert len({*zip(once.top.tolist(), once.left.tolist(), strict=True)}) > 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_processor_and_a_gpu_cut_the_same_images(dtype: type) -> None:
    raw = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (40, 3, 11, 11)).astype(dtype)
    raw[5, 1] = np.iinfo(dtype).max - 1  # constant
    before = raw.copy()
    for crop in (None, 8):
        settings = AugmentSettings(crop=crop)
        once = draw(np.random.default_rng(3), settings, groups=4, items=10, height=11, width=11)
        side = (crop or 11, crop or 11)
        images = torch.from_numpy(raw)
        found, _ = augmented(images, once, settings)
        torch.testing.assert_close(_together(images, once, side), found)
        space = torch.full_like(found, torch.nan)
        again, _ = augmented(images, once, settings, space)
        assert again is space
        torch.testing.assert_close(space, found, rtol=0, atol=0)
    assert not standardised(torch.from_numpy(raw))[5, 1].any()
    np.testing.assert_array_equal(raw, before)


def test_cutmix_pastes_a_partner_of_the_same_bio_batch_and_counts_its_area() -> None:
    raw = np.random.default_rng(0).integers(0, 255, (12, 1, 16, 16)).astype(np.uint8)
    settings = AugmentSettings(flips=False, rotations=False, cutmix=1.0)
    shares = []
    for seed in range(20):
        once = draw(np.random.default_rng(seed), settings, groups=3, items=4, height=16, width=16)
        assert once.partner is not None
        assert (once.partner // 4 == np.arange(12) // 4).all()
        out, share = augmented(torch.from_numpy(raw), once, settings)
        assert share is not None
        whole = standardised(torch.from_numpy(raw))
        own = (out == whole).float().mean((1, 2, 3))
        other = once.partner != np.arange(12)
        torch.testing.assert_close(share[other], own[other], rtol=0.0, atol=0.03)  # equal pixels occur by chance
        pasted = out != whole
        assert torch.equal(out[pasted], whole[once.partner][pasted])
        shares.append(share)
    assert 0.5 < float(torch.cat(shares).mean()) < 0.8


@pytest.mark.slow
@ALL
def test_strength_zero_is_bit_equal_to_no_adversary(screen: Any, tiny: ImageAbraSettings, adversary: str) -> None:
    settings = settings_of(tiny, steps=4, **ADVERSARIES[adversary])
    plain = settings_of(settings, critic="none", statistics="none")
    cell = screen.cell(0.0, 0.3, 5)
    zero, without = trained(screen.pack([cell], settings)), trained(screen.pack([cell], plain))
    assert equal(weights(zero), weights(without))
    assert zero.history(0) == without.history(0)
    other = trained(screen.pack([screen.cell(2.0, 0.3, 5)], settings))
    assert not equal(weights(other), weights(zero))


@pytest.mark.slow
def test_a_cell_does_not_depend_on_its_companions_nor_on_what_torch_drew(screen: Any, tiny: ImageAbraSettings) -> None:
    settings = settings_of(tiny, backbone="test_vit", steps=3)
    cells = [screen.cell(1.0, 0.2, 1), screen.cell(0.0, 0.0, 2, train=np.arange(20, 90))]
    together = trained(screen.pack(cells, settings))
    torch.manual_seed(77)
    before = torch.get_rng_state()
    alone = trained(screen.pack(cells[1:], settings))
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(weights(together, 1), weights(alone))
    np.testing.assert_array_equal(together.embed(1, HELD_OUT), alone.embed(0, HELD_OUT))
    first, again = together.embed(0, HELD_OUT), together.embed(0, HELD_OUT)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, together.embed(1, HELD_OUT), atol=1e-2)


@pytest.mark.slow
@ALL
def test_resume_is_bit_exact(screen: Any, tiny: ImageAbraSettings, adversary: str) -> None:
    settings = settings_of(tiny, steps=5, curve_every=2, strength_schedule="ganin", **ADVERSARIES[adversary])
    cells = [screen.cell(0.0, 0.3), screen.cell(2.0, 0.3)]
    whole = trained(screen.pack(cells, settings))
    first = screen.pack(cells, settings)
    first.advance(7)  # inside the second cell
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    first.advance(2)  # a saved state is a copy
    file.seek(0)
    second = screen.pack(cells, settings)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.step == 7
    second.advance(1000)
    assert second.step == second.total_steps == 10
    for index in range(2):
        assert equal(weights(whole, index), weights(second, index))
        np.testing.assert_array_equal(whole.embed(index, HELD_OUT), second.embed(index, HELD_OUT))
        assert whole.history(index) == second.history(index)
        assert [record["step"] for record in whole.history(index)] == [1.0, 2.0, 4.0, 5.0]


def test_a_checkpoint_of_another_pack_is_refused(screen: Any, tiny: ImageAbraSettings) -> None:
    state = screen.pack([screen.cell(1.0)], tiny).state_dict()
    for cells, settings in (([screen.cell(2.0)], tiny), ([screen.cell(1.0)], settings_of(tiny, radius=0.5))):
        with pytest.raises(InputError, match="checkpoint: it belongs to a pack of other cells"):
            screen.pack(cells, settings).load_state_dict(state)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns_and_an_embedding_does_not_depend_on_its_batch(
    screen: Any, tiny: ImageAbraSettings, precision: str
) -> None:
    settings = settings_of(tiny, steps=16, precision=precision, learning_rate=3e-3)
    pack: Pack = screen.pack([screen.cell(0.5, 0.1)], settings)
    assert (pack.step, pack.total_steps) == (0, 16)
    pack.advance(100)
    assert pack.step == 16
    assert isinstance(pack, ImagePack)
    predicted = pack.predict(0, HELD_OUT)
    assert pack.accuracy(0, HELD_OUT) == np.mean([a == b for a, b in zip(predicted, screen.labels[96:], strict=True)])
    assert pack.accuracy(0, HELD_OUT) > 0.7
    whole = pack.embed(0, HELD_OUT)
    assert whole.shape == (48, 16)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, rtol=1e-5)
    tolerance = 1e-5 if precision == "fp32" else 2e-2  # bf16 keeps 8 bits, and kernels differ by batch size
    for rows in (HELD_OUT[:1], HELD_OUT[[5, 3, 40]]):
        np.testing.assert_allclose(pack.embed(0, rows), whole[rows - 96], atol=tolerance)
    record = pack.history(0)[-1]
    assert record.keys() == {"step", "loss", "arc", "margin", "strength", "batch", "perturbed", "align"}
    assert all(math.isfinite(value) for value in record.values())
    assert record["arc"] < pack.history(0)[0]["arc"]


@pytest.mark.slow
def test_classes_outside_training_are_never_predicted(screen: Any, tiny: ImageAbraSettings) -> None:
    known = np.flatnonzero(screen.labels[:96] != 2)
    pack = trained(screen.pack([screen.cell(0.0, 0.1, train=known)], settings_of(tiny, steps=2)))
    assert 2 not in pack.predict(0, np.arange(144))


@pytest.mark.slow
def test_a_diverged_cell_fails_alone(screen: Any, tiny: ImageAbraSettings) -> None:
    settings = settings_of(tiny, steps=4, curve_every=1, batch_weight=10.0, statistics="none")
    good = screen.cell(1.0, 0.1)
    pack = trained(screen.pack([screen.cell(3e38, 0.1), good], settings))
    assert pack.step == 8
    assert pack.diverged(0) == "loss or gradient not finite at step 1 of 4"
    assert pack.diverged(1) is None
    assert pack.history(0) == []
    assert equal(weights(pack, 1), weights(trained(screen.pack([good], settings))))
    with pytest.raises(InputError, match="no trained network to embed with"):
        pack.embed(0, HELD_OUT)


def test_out_of_device_memory_is_named_with_advice(
    screen: Any, tiny: ImageAbraSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = screen.pack([screen.cell()], tiny)

    def full(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("trainers.images.network.ImageNetwork.forward", full)
    with pytest.raises(OutOfMemoryError, match=r"too little memory for test_resnet at 3, 32, 32; lower `items`"):
        pack.advance(1)


def test_epochs_make_steps_of_whole_mini_batches(screen: Any, tiny: ImageAbraSettings) -> None:
    settings = settings_of(tiny, steps=None, epochs=3, accumulation=2)
    pack = screen.pack([screen.cell(), screen.cell(train=np.arange(60))], settings)
    assert pack.total_steps == 3 * (96 // 24) + 3 * (60 // 24)
    assert pack.checkpoint_steps == 4
    wilds = ImageAbraSettings()
    steps = wilds.epochs * (40612 // (wilds.groups * wilds.items))
    assert round(wilds.learning_rate_warmup * steps) == 5415


@pytest.mark.slow
def test_accumulated_mini_batches_are_one_step(screen: Any, tiny: ImageAbraSettings) -> None:
    once, twice = (settings_of(tiny, steps=2, accumulation=count, curve_every=1) for count in (1, 2))
    first, second = (trained(screen.pack([screen.cell()], settings)) for settings in (once, twice))
    assert len(first.history(0)) == len(second.history(0)) == 2
    assert not equal(weights(first), weights(second))


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_other_optimisers_train(screen: Any, tiny: ImageAbraSettings, optimiser: str) -> None:
    pack = trained(screen.pack([screen.cell()], settings_of(tiny, optimiser=optimiser, learning_rate=1e-2)))
    assert pack.history(0)[-1]["arc"] < pack.history(0)[0]["arc"]


@pytest.mark.slow
def test_transformers_that_train_on_crops_embed_the_centre(screen: Any, tiny: ImageAbraSettings) -> None:
    settings = settings_of(tiny, backbone="test_vit", augment={"crop": 16}, steps=1)
    pack = trained(screen.pack([screen.cell()], settings))
    rows = HELD_OUT[:4]
    rim = np.ones((32, 32), bool)
    rim[8:24, 8:24] = False
    other = screen.images.copy()
    other[..., rim] = other[..., rim][..., ::-1]  # the image's moments stay as they are
    np.testing.assert_allclose(pack.embed_images(0, other, rows), pack.embed(0, rows), atol=1e-5)
    other[..., ~rim] = other[..., ~rim][..., ::-1]
    assert not np.allclose(pack.embed_images(0, other, rows), pack.embed(0, rows), atol=1e-3)
    with pytest.raises(InputError, match="the encoder was trained on"):
        pack.embed_images(0, screen.images[:, :2], rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((144, 32, 32), np.uint8)}, r"images: shape \(144, 32, 32\); it must be \(n, channels"),
        ({"images": np.zeros((144, 3, 32, 32), np.float32)}, "images: float32 values; they must be uint8 or uint16"),
        ({"images": np.zeros((144, 3, 32, 30), np.uint8)}, "images: 32×30 pixels; they must be square"),
        ({"labels": np.zeros(3, np.int64)}, "labels: shape"),
        ({"batches": np.full(144, -1)}, "batches: -1 at row 0"),
        ({"augment": {"crop": 64}}, "augment.crop: 64 is more than the images' 32 pixels"),
        ({"head": "linear"}, "margin 0.2 with head = linear; only arcface has a margin"),
        ({"backbone": "resnet5O"}, "timm has no 'resnet5O'; did you mean"),
        ({"points": ("stage9",)}, "points: no 'stage9' in this backbone"),
        ({"weights": "absent.pth"}, "weights: no file absent.pth"),
    ],
)
def test_bad_input_is_named_before_any_training(
    screen: Any, tiny: ImageAbraSettings, change: dict[str, Any], message: str
) -> None:
    arrays = {"images": screen.images, "labels": screen.labels, "batches": screen.batches}
    arrays |= {key: value for key, value in change.items() if key in arrays}
    settings = settings_of(tiny, **{key: value for key, value in change.items() if key not in arrays})
    with pytest.raises(InputError, match=message):
        ImagePack(*arrays.values(), [screen.cell(1.0, 0.2)], settings)


def test_frozen_features_are_made_once_and_heads_train_on_them(
    screen: Any, tiny: ImageAbraSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = frozen_features(screen.images, tiny, fingerprint="sha256:a", folder=tmp_path, threads=1)
    assert features.shape == (144, 96)
    assert features.dtype == np.float32
    backbone = create_backbone("test_resnet", channels=3, image_size=32, weights=None, seed=0).eval()
    with torch.no_grad():
        expected = backbone(standardised(torch.from_numpy(screen.images[[3, 140]]))).numpy()
    np.testing.assert_allclose(features[[3, 140]], expected, atol=1e-5)

    heads = AbraSettings(steps=40, groups=3, items=4, hidden_widths=(), embedding_dim=8, critic="none")
    pack = AbraPack(features, screen.labels, screen.batches, [screen.cell(0.0, 0.1)], heads, threads=1)
    pack.advance(40)
    embedded = pack.embed(0, np.arange(144))
    centres = np.stack([embedded[:96][screen.labels[:96] == c].mean(0) for c in range(4)])
    assert np.mean((embedded[96:] @ centres.T).argmax(1) == screen.labels[96:]) > 0.7

    other = settings_of(tiny, precision="bf16")
    for settings, fingerprint, seed in ((tiny, "sha256:b", 0), (tiny, "sha256:a", 1), (other, "sha256:a", 0)):
        frozen_features(screen.images, settings, fingerprint=fingerprint, folder=tmp_path, seed=seed, threads=1)
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.setattr("trainers.images.frozen.create_backbone", lambda *_, **__: pytest.fail("made again"))
    again = frozen_features(screen.images, tiny, fingerprint="sha256:a", folder=tmp_path)
    np.testing.assert_array_equal(again, features)


def test_a_feature_file_that_was_not_finished_is_not_there(
    screen: Any, tiny: ImageAbraSettings, tmp_path: Path
) -> None:
    broken = np.broadcast_to(np.uint8(1), (4, 3, 32, 32))
    with pytest.raises(InputError, match="timm has no"):
        frozen_features(broken, settings_of(tiny, backbone="x"), fingerprint="sha256:a", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
