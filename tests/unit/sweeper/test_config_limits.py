"""What no sweep can mean is refused when it is read, whatever the key; what is meant is taken as it is written."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from sweeper.config.given import apply_overrides, parse_yaml
from sweeper.config.sweep_config import SweepConfig, build_config, build_simulation, load_config
from sweeper.errors import ConfigError

MINIMAL: dict[str, Any] = {"name": "small", "simulate": {}, "views": [{"view": "held_out_plates"}]}
PIECES: dict[str, Any] = {
    "ladder": {"select_on": ["b"], "rungs": [{"name": "a"}]},
}


def numeric_keys(model: type[BaseModel] = SweepConfig, prefix: str = "") -> list[tuple[str, bool]]:
    """(dotted key, whether it is a list) of everything that takes a number."""
    found: list[tuple[str, bool]] = []
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if nested:
            found += numeric_keys(nested[0], f"{prefix}{name}.")
        elif "float" in str(field.annotation) or "int" in str(field.annotation):
            found.append((f"{prefix}{name}", "tuple" in str(field.annotation)))
    return found


def with_value(key: str, value: Any) -> dict[str, Any]:
    head = key.split(".")[0]
    if head == "frozen":
        return {**MINIMAL, "simulate": None, "images": {"packed": "x"}, "frozen": {key.split(".")[1]: value}}
    data = {**MINIMAL, **({head: PIECES[head]} if head in PIECES else {})}
    if key.startswith("views."):
        return {**data, "views": [{**data["views"][0], key.split(".")[1]: value}]}
    if key.startswith("ladder.rungs."):
        rung = {"name": "a", key.split(".")[2]: value}
        return {**data, "ladder": {"select_on": ["b"], "rungs": [rung]}}
    if key.startswith("strengths.adversarial_weight."):
        whole = {"low": 1, "high": 10, "count": 3, key.split(".")[2]: value}
        return {**data, "strengths": {"adversarial_weight": whole}}
    if key.startswith(("screen.", "images.")):
        pytest.skip("no number of its own")
    *path, last = key.split(".")
    node = data
    for part in path:
        node[part] = dict(node.get(part, {}))
        node = node[part]
    node[last] = value
    return data


@pytest.mark.parametrize("key", [key for key, _ in numeric_keys()])
def test_no_key_takes_what_is_no_number_or_beyond_any_sweep(tmp_path: Path, key: str) -> None:
    path = tmp_path / "sweep.yaml"
    for value in (math.inf, -math.inf, math.nan, 1e300, 10**12, 10**40):
        path.write_text(yaml.safe_dump(with_value(key, value)))
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        told = str(caught.value)
        assert str(path) in told
        assert any(part in told for part in key.split("."))
        assert len(told) < 400


def test_there_are_numeric_keys_to_try() -> None:
    assert len(numeric_keys()) > 80


@pytest.mark.parametrize(
    "name", ["../../x", "a/b", "a\\b", ".hidden", "..", " a", "a ", "tab\there", "null\0", "long" * 60, "/etc/x"]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, "name": name}))
    with pytest.raises(ConfigError, match=r"sweep\.yaml: name: "):
        load_config(path)


@pytest.mark.parametrize("name", ["a", "jump source3 (2nd)", "BR00117010@x", "λ sweep", "v1.2", "a..b"])
def test_ordinary_names_are_taken(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, "name": name}))
    assert load_config(path).output.parent == Path("runs").absolute()


@pytest.mark.parametrize("key", ["seeds", "sham.seeds", "pseudo.seeds"])
@pytest.mark.parametrize("count", [0, -1, 10_001, 10**8, 10**30])
def test_numbers_of_seeds_are_counted_before_they_are_made(key: str, count: int) -> None:
    with pytest.raises(ConfigError, match=rf"x: {key}: expected 1 to 10,000 seeds"):
        build_config(with_value(key, count), "x")


def test_a_stored_configuration_is_read_whatever_a_new_one_may_hold() -> None:
    assert build_config({**MINIMAL, "name": "jump/source3"}, "sweep.json").name == "jump/source3"


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("strengths.margin=0.3", ("strengths", "margin"), (0.3,)),
        ("strengths.margin=[0.3, 0.1]", ("strengths", "margin"), (0.3, 0.1)),
        ("strengths.adversarial_weight=5", ("strengths", "adversarial_weight"), (5.0,)),
        ("optuna.margin=0.2", ("optuna", "margin"), (0.2,)),
        ("abra.hidden_widths=64", ("abra", "hidden_widths"), (64,)),
        ("decision.deltas=0.1", ("decision", "deltas"), (0.1,)),
        ("decision.primary_biological=retrieval_map", ("decision", "primary_biological"), ("retrieval_map",)),
        ("panel.units=batch", ("panel", "units"), ("batch",)),
        ("metrics=retrieval_map", ("metrics",), ("retrieval_map",)),
        ("views={view: held_out_batches}", ("views", 0, "view"), "held_out_batches"),
        ("views.0={view: held_out_batches, held_out: P1}", ("views", 0, "held_out"), ("P1",)),
        ("views.0.fraction=0.5", ("views", 0, "fraction"), 0.5),
        ("seeds=3", ("seeds",), (0, 1, 2)),
    ],
)
def test_one_value_is_a_list_of_one_and_items_of_lists_have_numbers(
    override: str, path: tuple[Any, ...], expected: Any
) -> None:
    found: Any = build_config(apply_overrides(MINIMAL, [override]), "x")
    for part in path:
        found = found[part] if isinstance(part, int) else getattr(found, part)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{batch}/{plate}/{well}-{site}_{name}.tif", None),
        ("{batch}", None),
        ("{batch}/{plate}", None),
        ("@mention", None),
        ("`tick", None),
        ("%percent", None),
        ("[DMSO", None),
        ("a: b: c", None),
        ("*star", None),
        ("&anchor", None),
        ("!tag", None),
        ("!!python/object/apply:os.getcwd []", None),
        ("'open", None),
        ("2021-13-45", None),
        ("1" * 5000, None),
        ("[" * 5000, None),
        ("plain text", None),
        ("[a, b]", ["a", "b"]),
        ("{low: 1, high: 2}", {"low": 1, "high": 2}),
        ("{cell_type: null}", {"cell_type": None}),
        ("{cell_type: }", {"cell_type": None}),
        ("3", 3),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ("1e-3", "1e-3"),
        ("a=b", None),
    ],
)
def test_what_is_no_yaml_is_text(text: str, value: Any) -> None:
    expected = text if value is None and text != "null" else value
    assert apply_overrides({}, [f"key={text}"]) == {"key": expected}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("novalue", "expected key=value"),
        ("=3", "expected key=value"),
        ("a..b=3", "expected key=value"),
        ("name.x=3", "name is 'small', which has no keys"),
        ("views.view=x", "views is a list; name one of its items, views.0"),
        ("views.1.view=x", "views is a list; name one of its items, views.0"),
        ("views.-1.view=x", "views is a list"),
        (f"views.{'9' * 400}=x", "views is a list"),
    ],
)
def test_keys_that_lead_nowhere(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_overrides(MINIMAL, [override])
    assert words in str(caught.value)
    assert str(caught.value).startswith("--set ")


BILLION = "a: &a [1, 2, 3]\n" + "".join(
    f"{name}: &{name} [{', '.join(9 * [f'*{before}'])}]\n" for before, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: [", "line"),
        ("a: 2021-13-45", "not valid YAML"),
        ("a: " + "1" * 5000, "not valid YAML"),
        ("a: " + "[" * 5000 + "]" * 5000, "not valid YAML"),
        ("? [a]\n: b", "a key must be a plain text"),
        ("a: &x [*x]", "not valid YAML"),
        (BILLION, "values, or nested"),
        ("a: \x01", "not valid YAML"),
        ("- a", "expected keys and values at the top level, got list"),
        ("", "got nothing"),
        ("a: 1\na: 2", "line 2: not valid YAML: key 'a' is given twice"),
    ],
)  # fmt: skip
def test_yaml_of_every_kind_is_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "x.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("x.yaml")
    assert len(str(caught.value).splitlines()) == 1


def test_a_simulation_larger_than_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="batches × plates_per_batch × wells_per_plate × features is"):
        build_simulation(["batches=5000", "features=5000"])


FILE = yaml.safe_dump({**MINIMAL, "decision": {"deciding_view": "held_out_plates", "delta": 0.1}})


@pytest.mark.parametrize(
    ("given", "overrides", "said"),
    [
        (FILE, ["seeds=3", "decision.delta=2", "abra.steps=9"], "--set decision.delta=2: decision.delta: expected"),
        (FILE, ["abra.steps=9", "abra.stepps=9"], "--set abra.stepps=9: unknown key 'abra.stepps'"),
        (FILE, ["seeds=three"], "--set seeds=three: seeds: expected a number of seeds, or a list of them, got 'three'"),
        (FILE, ["seeds=[1, 1]"], "--set seeds=[1, 1]: seeds: "),
        (FILE, ["name=../x", "seeds=2"], "--set name=../x: name: "),
        (FILE, ["decision.deciding_view=held_out_batches"], "--set decision.deciding_view=held_out_batches: "),
        (FILE, ["abra.steps=" + "9" * 300], f"--set abra.steps={'9' * 69}…: abra.steps: "),
        (FILE.replace("0.1", "7"), ["seeds=2"], "sweep.yaml: decision.delta: "),
        (FILE.replace("0.1", "7"), ["decision.delta=8"], "--set decision.delta=8: decision.delta: "),
        (FILE.replace("name", "nam"), ["name=x", "seeds=-1"], "sweep.yaml: unknown key 'nam'"),
    ],
)
def test_the_one_at_fault_is_named(given: str, overrides: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(given)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "sweep.yaml", overrides)
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(said)
