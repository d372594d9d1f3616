"""The image benchmarks run, and keep a result file a device; their figures are no matter here."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

HERE = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a benchmark as it is run, with its siblings at hand."""
    monkeypatch.syspath_prepend(str(HERE))

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_a_gpu_has_a_file_of_its_own(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = script("devices")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200 (SXM)")
    paths = [devices.result_path(str(HERE / "images_input.py"), device).name for device in ("cpu", "cuda", "cuda:1")]
    assert paths == ["images_input.json", "images_input_nvidia_h200_sxm.json", "images_input_nvidia_h200_sxm.json"]


@pytest.mark.slow
def test_training_is_measured_in_every_way(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    size = ["--backbone", "test_resnet", "--side", "32", "--images", "144", "--precision", "bf16"]
    path = tmp_path / "a.json"
    words = ["images_training.py", "--device", "cpu", "--turns", "1", "--json", str(path), *size]
    monkeypatch.setattr(sys, "argv", words)
    script("images_training").main()
    found = json.loads(path.read_text())
    assert found["command"].endswith("--device cpu --backbone test_resnet --side 32 --images 144 --precision bf16")
    assert found["setting"]["batch"] == 72
    assert set(found["images_a_second"]) == {
        "plain, PNG", "plain, resident", "ERM", "ERM, resident", "two passes, resident", "worst case",
        "free worst case",
    }  # fmt: skip
    assert min(found["images_a_second"].values()) > 0
    step = found["seconds_a_step"]
    inputs = step["ERM"] - step["ERM, resident"]
    assert found["share_not_forward_backward_optimiser"] == pytest.approx(inputs / step["ERM"], abs=2e-3)
    floor = step["two passes, resident"] + inputs
    assert found["worst_case_times_floor"] == pytest.approx(step["worst case"] / floor, abs=2e-2)


def test_the_setting_of_a_gpu_is_that_of_wilds(script: Any) -> None:
    module = script("images_training")
    cuda = module.SIZES["cuda"]
    assert (cuda["backbone"], cuda["side"], cuda["precision"], module.BATCH) == ("resnet50", 256, "bf16", 72)


@pytest.mark.slow
def test_a_gpu_round_writes_what_it_measured_and_what_it_could_not(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "gpu.json"
    round_on_a_gpu = script("gpu/__main__")
    monkeypatch.setitem(round_on_a_gpu.SECTIONS, "panel", 0.01)
    words = ["gpu", "--device", "cpu", "--small", "--sections", "packs", "panel", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", words)
    round_on_a_gpu.main()
    found = json.loads(path.read_text())
    assert set(found["packs"]["cells_a_minute"]["cpu"]) == {"1", "8"}
    assert found["panel"]["not_measured"] == "not finished in 0 s"
    assert "equality" not in found
