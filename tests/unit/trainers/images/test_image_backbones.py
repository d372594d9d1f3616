"""Backbones, weight files, and the points where their maps are perturbed."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainers.abra.statistics import StyleDraw, WorstCaseDirections, random_hook
from trainers.errors import InputError
from trainers.images.backbones import create_backbone, pooled
from trainers.images.map_draws import MapDraws
from trainers.images.points import Point, PointHooks, find_points, point_modules, restyled
from trainers.images.weights import file_hash, read_weights, weights_file

FAMILIES = {
    "resnet10t": (("stem", "pool", "stage1", "stage2", "stage3", "stage4"), "nchw", 0),
    "densenet121": (("stem", "pool", "stage1", "stage2", "stage3", "stage4"), "nchw", 0),
    "test_convnext": (("stem", "stage1", "stage2", "stage3", "stage4"), "nchw", 0),
    "vit_tiny_patch16_224": (("stem", "stage1", "stage2", "stage3", "stage4"), "tokens", 1),
    "swin_tiny_patch4_window7_224": (("stem", "stage1", "stage2", "stage3", "stage4"), "nhwc", 0),
}
SIDE, IMAGES = 64, 3
LAYOUTS = (
    Point("a", "a", "nchw", 5, 0),
    Point("a", "a", "nhwc", 5, 0),
    Point("a", "a", "tokens", 5, 0),
    Point("a", "a", "tokens", 5, 2),
)


def backbone(name: str, channels: int = 3, weights: str | None = None, seed: int = 0) -> nn.Module:
    return create_backbone(name, channels=channels, image_size=SIDE, weights=weights, seed=seed).eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def draw_of(widths: dict[int, int], images: int = IMAGES, scale: float = 1.0) -> StyleDraw:
    epsilon = {index: scale * noise(1, 2, images, width, seed=index) for index, width in widths.items()}
    return StyleDraw(epsilon, dict.fromkeys(epsilon, torch.ones(1, dtype=torch.bool)))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_points_of_every_family_perturb_the_map_and_nothing_else(name: str) -> None:
    names, layout, prefix = FAMILIES[name]
    model = backbone(name, channels=4)
    points = find_points(model, names[::-1], channels=4, image_size=SIDE)
    assert tuple(point.name for point in points) == names  # forward order, whatever order they are asked in
    assert all(point.layout == layout for point in points)
    assert points[-1].prefix == prefix
    x = noise(IMAGES, 4, SIDE, SIDE)
    seen: dict[str, Tensor] = {}
    with torch.no_grad():
        before = model(x)
        hooks = PointHooks(model, points)
        for point in points:
            model.get_submodule(point.module).register_forward_hook(
                lambda _m, _i, out, name=point.name: seen.update({name: out})
            )
        assert torch.equal(model(x), before)
        clean = dict(seen)
        widths = {index: point.channels for index, point in enumerate(points)}
        with hooks.perturbed(random_hook(draw_of(widths, scale=0.0), groups=IMAGES, radius=1.0), widths):
            torch.testing.assert_close(model(x), before, rtol=1e-3, atol=1e-4)
        for index, point in enumerate(points):
            with hooks.perturbed(random_hook(draw_of({index: point.channels}), groups=IMAGES, radius=1.0), {index}):
                changed = model(x)
            moved = (seen[point.name] - clean[point.name]).abs()
            positions = clean[point.name].numel() // (IMAGES * point.channels)
            assert (moved.max() > 1e-3) == (positions > 1), point
            assert torch.equal(changed, before) == (positions == 1), point
            if point.prefix:
                assert moved[:, : point.prefix].max() == 0.0
            for earlier in points[:index]:
                assert torch.equal(seen[earlier.name], clean[earlier.name])
        assert torch.equal(model(x), before)


def items_first(z: Tensor, point: Point) -> np.ndarray:
    """(B, N, C) of a map."""
    body = z[:, point.prefix :] if point.layout == "tokens" else z
    last = body.permute(0, 2, 3, 1) if point.layout == "nchw" else body
    return last.reshape(len(z), -1, point.channels).double().numpy()


def a_map(point: Point, side: int = 4, images: int = 6, seed: int = 0) -> Tensor:
    shape = {"nchw": (5, side, side), "nhwc": (side, side, 5), "tokens": (point.prefix + side * side, 5)}[point.layout]
    return 2.0 * noise(images, *shape, seed=seed) + 1.0


@pytest.mark.parametrize("point", LAYOUTS, ids=lambda point: f"{point.layout}-{point.prefix}")
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_restyled_map_has_mean_beta_and_deviation_gamma(point: Point, memory: torch.memory_format) -> None:
    z = a_map(point)
    if z.ndim == 4:
        z = z.contiguous(memory_format=memory)
    once = draw_of({0: 5}, images=6)
    new = restyled(z, point, random_hook(once, groups=6, radius=0.7), 0)
    assert new.shape == z.shape
    old, found = items_first(z, point), items_first(new, point)
    mean, sigma = old.mean(1), np.sqrt(old.var(1) + 1e-6)
    epsilon = once.epsilon[0][0].double().numpy()
    beta = mean + epsilon[0] * 0.7 * np.sqrt(mean.var(0) + 1e-6)
    gamma = np.maximum(sigma + epsilon[1] * 0.7 * np.sqrt(sigma.var(0) + 1e-6), 1e-6)
    np.testing.assert_allclose(found.mean(1), beta, atol=1e-4)
    np.testing.assert_allclose(found.std(1), gamma, rtol=1e-3, atol=1e-4)
    assert torch.equal(new[:, : point.prefix], z[:, : point.prefix])


@pytest.mark.parametrize("point", LAYOUTS, ids=lambda point: f"{point.layout}-{point.prefix}")
def test_epsilon_zero_returns_the_map(point: Point) -> None:
    z, none = a_map(point), draw_of({0: 5}, images=6, scale=0.0)
    worst = WorstCaseDirections(1, {0: 5}, groups=6, radius=1.0, ascent_size=0.2, device=torch.device("cpu"))
    for hook in (random_hook(none, groups=6, radius=3.0), worst.hook(none)):
        torch.testing.assert_close(restyled(z, point, hook, 0), z, rtol=0.0, atol=2e-6)


@pytest.mark.parametrize("point", LAYOUTS, ids=lambda point: f"{point.layout}-{point.prefix}")
def test_one_image_or_one_position_has_no_statistics(point: Point) -> None:
    hook = random_hook(draw_of({0: 5}, images=6), groups=6, radius=1.0)
    for z in (a_map(point, images=1), a_map(point, side=1)):
        assert restyled(z, point, hook, 0) is z


def test_statistics_are_fp32_inside_autocast_and_the_map_keeps_its_type() -> None:
    seen = []
    z = a_map(LAYOUTS[0]).bfloat16()

    def hook(_index: int, items: Tensor) -> Tensor:
        seen.append((items.dtype, (items @ items.transpose(1, 2)).dtype))
        return items

    with torch.autocast("cpu", torch.bfloat16):
        new = restyled(z, LAYOUTS[0], hook, 0)
    assert seen == [(torch.float32, torch.float32)]
    assert torch.equal(new, z)
    assert new.dtype == torch.bfloat16


def test_map_draws_are_a_function_of_seed_and_number_with_independent_coins() -> None:
    def draws(seed: int) -> MapDraws:
        return MapDraws(seed, (4, 6, 3), images=5, probability=0.5, device=torch.device("cpu"))

    walked = draws(1)
    coins = np.zeros((300, 3), bool)
    for number in range(300):
        once = walked.at(number)
        coins[number, list(once.epsilon)] = True
        if number == 7:
            again = draws(1).at(7)
            assert again.epsilon.keys() == once.epsilon.keys()
            assert all(torch.equal(again.epsilon[index], value) for index, value in once.epsilon.items())
            assert all(value.shape == (1, 2, 5, (4, 6, 3)[index]) for index, value in once.epsilon.items())
    np.testing.assert_allclose(coins.mean(0), 0.5, atol=0.1)
    assert np.abs(np.corrcoef(coins.T) - np.eye(3)).max() < 0.2
    first, other = (draws(seed).at(number).epsilon for seed, number in ((1, 7), (2, 7)))
    assert not any(torch.equal(first[index], other[index]) for index in first.keys() & other.keys())


def test_points_that_a_backbone_lacks_are_named_with_those_it_has() -> None:
    model = backbone("test_convnext")
    with pytest.raises(InputError, match="no 'pool' in this backbone; it has stem, stage1, stage2, stage3, stage4"):
        find_points(model, ("pool",), channels=3, image_size=SIDE)
    assert list(point_modules(backbone("test_efficientnet"))) == ["stem", "stage1", "stage2", "stage3", "stage4"]


def test_the_patch_embedding_of_a_transformer_of_any_size_is_read_as_nhwc() -> None:
    stem, *stages = find_points(backbone("test_vit"), ("stem", "stage4"), channels=3, image_size=SIDE)
    assert (stem.layout, stem.channels, stem.prefix) == ("nhwc", 64, 0)
    assert [(stage.layout, stage.prefix) for stage in stages] == [("tokens", 1)]


def test_random_initialisation_is_the_seeds_and_leaves_torchs_stream() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (backbone("test_resnet", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    pairs = itertools.pairwise(parameters.state_dict().items() for parameters in (first, again))
    for old, new in pairs:
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(old, new, strict=True))
    assert not torch.equal(first.conv1[0].weight, other.conv1[0].weight)  # type: ignore[index, union-attr]


def test_unknown_backbones_are_offered_the_nearest_names() -> None:
    with pytest.raises(InputError, match="timm has no 'resnet5O'; did you mean resnet50,"):
        backbone("resnet5O")
    with pytest.raises(InputError, match=r"timm has no 'resnet50\.a1_in1'; did you mean resnet50\.a1_in1k"):
        backbone("resnet50.a1_in1")


def test_a_size_the_model_cannot_take_is_named() -> None:
    with pytest.raises(InputError, match="'vit_tiny_patch16_224' with 3 channels of 8 px and weights null cannot"):
        create_backbone("vit_tiny_patch16_224", channels=3, image_size=8, weights=None, seed=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_three_channels_are_adapted_to_six_by_mean_preserving_repetition(
    tmp_path: Path, suffix: str
) -> None:
    from safetensors.torch import save_file

    source = backbone("test_convnext", seed=3)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{name}": value for name, value in source.state_dict().items()}}, path)
    else:
        save_file(source.state_dict(), path)
    six = backbone("test_convnext", channels=6, weights=str(path), seed=9)
    old, new = source.state_dict(), six.state_dict()
    assert torch.allclose(new["stem.0.weight"], old["stem.0.weight"].repeat(1, 2, 1, 1) / 2)
    assert all(torch.equal(new[name], old[name]) for name in old if name != "stem.0.weight")
    x = noise(2, 3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(six(x.repeat(1, 2, 1, 1)), source(x), rtol=1e-4, atol=1e-5)
    assert len(file_hash(path)) == 64


def test_pretrained_weights_are_taken_from_the_disk_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants
    from safetensors.torch import save_file

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"'test_resnet' are not on this disk; fetch them once \(`hf download timm/"):
        backbone("test_resnet", weights="pretrained")
    import timm

    repository = tmp_path / f"models--{timm.get_pretrained_cfg('test_resnet').hf_hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    with_classes = timm.create_model("test_resnet")
    save_file(with_classes.state_dict(), repository / "snapshots" / "abc" / "model.safetensors")
    loaded = backbone("test_resnet", weights="pretrained", seed=4)
    assert torch.equal(loaded.layer1[0].conv1.weight, with_classes.layer1[0].conv1.weight)  # type: ignore[index, union-attr]
    with pytest.raises(InputError, match="not on this disk"):
        weights_file("resnet10t", "pretrained")


def test_weight_files_that_are_none_are_refused_in_one_line(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("ran",))

    files = {"text.pth": b"hello", "text.safetensors": b"hello", "code.pth": pickle.dumps(Evil(), protocol=2)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is no") as failure:
            read_weights(tmp_path / name)
        assert "\n" not in str(failure.value)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no table of tensors"):
        read_weights(tmp_path / "list.pth")
    with pytest.raises(InputError, match="no file"):
        weights_file("resnet50", str(tmp_path / "absent.pth"))
    torch.save(backbone("test_convnext").state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth has no conv1\.0\.weight, .* … for 'test_resnet'"):
        backbone("test_resnet", weights=str(tmp_path / "other.pth"))


def test_the_pooled_vector_leaves_the_mode_of_the_model() -> None:
    model = backbone("test_resnet").train()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    assert pooled(model, channels=3, image_size=SIDE).shape == (1, 96)
    assert model.training
    assert all(torch.equal(buffers[name], value) for name, value in model.named_buffers())
