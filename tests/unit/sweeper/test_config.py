import math
from pathlib import Path

import pytest

from sweeper.config.given import apply_overrides
from sweeper.config.sections import SpacedRange, round_strength
from sweeper.config.sweep_config import build_config, documented_keys, load_config
from sweeper.errors import ConfigError

MINIMAL = """\
name: small
simulate: {seed: 1}
views: [{view: held_out_plates}]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(text)
    return path


def test_minimal_configuration_has_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.seeds == (0, 1, 2, 3, 4)
    assert config.decision.deciding_view == "held_out_plates"
    assert config.decision.delta == 0.10
    assert config.output == Path("runs/small").absolute()


def test_zero_is_always_in_the_grid_and_strengths_have_one_spelling() -> None:
    config = build_config({"name": "a", "simulate": {}, "views": [{"view": "held_out_plates"}]}, "x")
    grid = config.strengths.grid()
    assert (0.0, 0.0) in grid
    assert (0.0, 0.3) in grid
    assert len(grid) == 14 * 2
    assert all(weight == round_strength(weight) for weight, _ in grid)


def test_log_range_is_log_spaced_with_its_ends() -> None:
    values = SpacedRange(low=0.1, high=1000, count=5).values()
    assert values == (0.1, 1.0, 10.0, 100.0, 1000.0)


def test_a_number_of_seeds_means_that_many(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, MINIMAL), ["seeds=3"]).seeds == (0, 1, 2)


def test_screen_path_is_relative_to_the_file(tmp_path: Path) -> None:
    text = "name: a\nscreen: {path: data/table.csv}\nviews: [{view: held_out_plates}]\n"
    config = load_config(write(tmp_path, text))
    assert config.screen is not None
    assert config.screen.path == (tmp_path / "data/table.csv").resolve()


def test_overrides_reach_nested_keys() -> None:
    data = apply_overrides({"abra": {"steps": 5}}, ["abra.steps=7", "abra.radius=0.5", "strengths.margin=[0.1]"])
    assert data == {"abra": {"steps": 7, "radius": 0.5}, "strengths": {"margin": [0.1]}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("trainr: abra", ["trainr", "unknown key", "trainer"]),
        ("abra: {stepps: 3}", ["abra.stepps", "unknown key", "'steps'"]),
        (
            "strengths: {adversarial_weight: [-1.0]}",
            ["strengths.adversarial_weight", "-1.0", "expected a number of 0 or more"],
        ),
        (f"strengths: {{margin: [{math.pi / 2}]}}", ["strengths.margin", "less than 1.57"]),
        ("strengths: {adversarial_weight: {low: 3, high: 1, count: 4}}", ["high must be above low"]),
        ("seeds: []", ["seeds"]),
        ("seeds: [1, 1]", ["seeds", "repeated"]),
        ("decision: {deciding_view: held_out_batches}", ["deciding_view", "held_out_batches"]),
        ("decision: {delta: 2}", ["decision.delta"]),
        ("screen: {path: a.csv}", ["screen", "simulate"]),
        ("name: twice", ["line 4", "given twice"]),
        ("optuna: {low: 5, high: 1}", ["high must be above low"]),
        ("executor: {pack_size: 0}", ["executor.pack_size"]),
    ],
)
def test_bad_keys_are_named_in_one_line(tmp_path: Path, change: str, words: list[str]) -> None:
    path = write(tmp_path, MINIMAL + change + "\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sweep\.yaml, line 2: not valid YAML"):
        load_config(write(tmp_path, "name: a\n  b: c: d\n"))


def test_yaml_cannot_make_python_objects(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(write(tmp_path, "name: !!python/object/apply:os.getcwd []\n"))


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(tmp_path / "none.yaml")


def test_every_key_is_documented() -> None:
    undocumented = [key for key, _, meaning in documented_keys() if not meaning]
    assert undocumented == []


def test_what_is_not_given_is_as_the_trainers_dials_propose() -> None:
    base = {"name": "a", "simulate": {}, "views": [{"view": "held_out_plates"}]}
    found = build_config(base, "test")
    assert len(found.strengths.grid()) == 2 * 14
    assert (found.optuna.low, found.optuna.high) == (0.1, 1000.0)
    few = build_config({**base, "strengths": {"margin": [0.1]}, "optuna": {"high": 30}}, "test")
    assert len(few.strengths.grid()) == 14
    assert (few.optuna.low, few.optuna.high) == (0.1, 30.0)


def test_a_range_is_spaced_evenly_or_in_decades() -> None:
    assert SpacedRange(low=0.25, high=1, count=4, spacing="linear").values() == (0.25, 0.5, 0.75, 1.0)
    assert SpacedRange(low=0.01, high=1, count=3).values() == (0.01, 0.1, 1.0)


def test_a_stored_configuration_holds_the_swept_trainers_section_alone() -> None:
    base = {"name": "a", "simulate": {}, "views": [{"view": "held_out_plates"}], "abra": {"steps": 7}}
    found = build_config(base, "test")
    stored = found.model_dump(mode="json")
    assert stored["abra"]["steps"] == 7
    assert "abra_images" not in stored
    assert build_config(stored, "stored") == found
    earlier = {**stored, "abra_images": {"backbone": "resnet18"}}
    assert build_config(earlier, "stored").trainer_settings == found.trainer_settings
