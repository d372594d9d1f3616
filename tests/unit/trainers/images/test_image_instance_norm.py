"""Instance normalisation in the place of batch normalisation: where, with which weights, what it takes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainers.errors import InputError
from trainers.images.backbones import create_backbone
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.instance_norm import use_instance_norm

SIDE = 64


def backbone(name: str) -> nn.Module:
    return create_backbone(name, channels=3, image_size=SIDE, weights=None, seed=0).eval()


def paths(model: nn.Module, kind: type[nn.Module]) -> set[str]:
    return {path for path, module in model.named_modules() if isinstance(module, kind)}


@pytest.mark.parametrize(
    ("name", "stem", "stage1"),
    [
        ("test_resnet", {"conv1.1", "conv1.4", "bn1"}, "layer1."),
        ("densenet121", {"features.norm0"}, "features.denseblock1."),
    ],
)
def test_it_is_put_where_it_is_asked_for_with_the_weights_that_were_there(
    name: str, stem: set[str], stage1: str
) -> None:
    before, model = backbone(name), backbone(name)
    for norm in before.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight)
    model.load_state_dict(before.state_dict())
    use_instance_norm(model, ("stem", "stage1"), channels=3, image_size=SIDE)
    changed = paths(before, nn.BatchNorm2d) - paths(model, nn.BatchNorm2d)
    expected = {path for path in paths(before, nn.BatchNorm2d) if path in stem or path.startswith(stage1)}
    assert changed == expected
    assert 2 < len(changed) < len(paths(before, nn.BatchNorm2d))
    for path in changed:
        old, new = before.get_submodule(path), model.get_submodule(path)
        inner = new[0] if isinstance(new, nn.Sequential) else new
        assert isinstance(inner, nn.InstanceNorm2d)
        assert torch.equal(inner.weight, old.weight)
        kept = [type(module) for module in new] if isinstance(new, nn.Sequential) else []
        assert (nn.ReLU in kept) == (name == "densenet121"), "an activation inside a normalisation stays"
    assert sum(value.numel() for value in model.parameters()) == sum(value.numel() for value in before.parameters())


def test_contrast_and_illumination_of_an_image_are_taken_out() -> None:
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    for points, same in (((), False), (("stem",), True)):
        model = backbone("test_resnet")
        if points:
            use_instance_norm(model, points, channels=3, image_size=SIDE)
        with torch.no_grad():
            plain, stronger = model(images), model(2.5 * images)
        assert torch.allclose(plain, stronger, rtol=1e-2, atol=1e-2 * float(plain.abs().max())) == same, points


@pytest.mark.parametrize(
    ("name", "points", "size", "words"),
    [
        ("test_resnet", ("stem", "stage9"), SIDE, "instance_norm: no 'stage9' in this backbone; it has stem"),
        ("test_resnet", ("pool",), SIDE, "no batch normalisation leads to 'pool' in this backbone"),
        ("test_convnext", ("stage1",), SIDE, "no batch normalisation leads to 'stage1'"),
        ("test_resnet", ("stem", "stage4"), 32, "maps up to 'stage4' have one position at 32 px"),
    ],
)
def test_what_cannot_be_is_one_line(name: str, points: tuple[str, ...], size: int, words: str) -> None:
    model = create_backbone(name, channels=3, image_size=size, weights=None, seed=0)
    with pytest.raises(InputError, match=words) as caught:
        use_instance_norm(model, points, channels=3, image_size=size)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="instance_norm must not repeat"):
        ImageAbraSettings(instance_norm=("stem", "stem"))


def test_where_it_is_off_settings_are_stored_as_before() -> None:
    """Ids of cells are made from them."""
    assert "instance_norm" not in ImageAbraSettings().model_dump(mode="json")
    found = ImageAbraSettings(instance_norm=("stem",))
    assert found.model_dump(mode="json")["instance_norm"] == ["stem"]
    for settings in (found, ImageAbraSettings()):
        assert ImageAbraSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.slow
def test_a_rung_of_it_trains_and_is_resumed(screen: Any, tiny: ImageAbraSettings) -> None:
    off = {"statistics": "none", "critic": "none", "alignment": "none"}
    settings = ImageAbraSettings.model_validate(tiny.model_dump() | off | {"instance_norm": ("stem", "stage1")})
    cell = screen.cell(0.0, 0.2, 1)
    pack = screen.pack([cell], settings)
    pack.advance(3)
    again = screen.pack([cell], settings)
    again.load_state_dict(pack.state_dict())
    for each in (pack, again):
        each.advance(each.total_steps)
        assert each.diverged(0) is None
    held_out = np.arange(96, 144)
    np.testing.assert_array_equal(pack.embed(0, held_out), again.embed(0, held_out))
    np.testing.assert_allclose(pack.embed(0, held_out[:1])[0], pack.embed(0, held_out)[0], atol=1e-5)
    plain = screen.pack([cell], ImageAbraSettings.model_validate(tiny.model_dump() | off))
    plain.advance(plain.total_steps)
    assert not np.allclose(plain.embed(0, held_out), pack.embed(0, held_out), atol=1e-2)
