"""The registry of trainers, and what each says of itself."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

from trainers import registry
from trainers.base import Inputs
from trainers.errors import InputError
from trainers.registry import trainer, trainer_names, usable_trainers
from trainers.screens.table import codes
from trainers.trainer import Dial, Spaced, Trainer

WEIGHT = Dial(name="weight", symbol="w", grid=(1.0,))


class Named(Trainer):
    """A trainer that is registered wrongly in turn."""

    name = "named"
    summary = "a test's"
    settings = BaseModel
    dials = (WEIGHT,)

    def pack(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def register(monkeypatch: pytest.MonkeyPatch, name: str, found: object) -> None:
    monkeypatch.setattr(registry, "_points", lambda: {name: EntryPoint(name, f"{__name__}:FOUND", registry.GROUP)})
    monkeypatch.setattr(registry, "import_module", lambda _: type("Module", (), {"FOUND": staticmethod(found)}))
    trainer.cache_clear()


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    yield
    trainer.cache_clear()


def test_every_trainer_says_what_a_sweep_needs() -> None:
    assert set(trainer_names()) >= {"abra", "abra_images"}
    for found in usable_trainers():
        assert trainer(found.name) is found
        assert found.dials[0].allows(0.0)
        assert all(dial.allows(setting) for dial in found.dials for setting in dial.span)
        settings = found.settings()
        assert found.settings.model_config["extra"] == "forbid"
        assert found.located(settings, None) == settings  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (type("Other", (Named,), {"name": "other"}), "calls itself 'other'"),
        (type("Three", (Named,), {"dials": (WEIGHT,) * 3}), "has 3 dials"),
        (type("Not", (Named,), {"dials": (Dial(name="w", symbol="w", none=1.0, grid=(1.0,)),)}), "must be no"),
        (dict, "which is no trainers.trainer.Trainer"),
    ],
)
def test_what_cannot_be_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, found: object, words: str) -> None:
    register(monkeypatch, "named", found)
    with pytest.raises(InputError, match="trainer: named") as caught:
        trainer("named")
    assert words in str(caught.value)


def test_a_class_and_an_instance_are_both_a_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    for found in (Named, lambda: Named()):
        register(monkeypatch, "named", found)
        assert trainer("named").name == "named"


def test_the_ends_of_a_dial() -> None:
    closed, opened = (Dial(name="a", symbol="α", high=1.0, closed=ends, grid=(0.5,)) for ends in (True, False))
    assert (closed.allows(1.0), opened.allows(1.0), closed.allows(-0.1), closed.allows(1.1)) == (True, *[False] * 3)
    assert closed.range_text == "0 or more and at most 1"
    assert opened.range_text == "0 or more and less than 1"
    assert WEIGHT.range_text == "0 or more"
    assert Dial(name="a", symbol="α", grid=Spaced(low=0.1, high=2.0, count=3)).span == (0.1, 2.0)
    assert Dial(name="a", symbol="α", grid=(0.0, 0.3, 0.7)).span == (0.3, 0.7)


def test_inputs_number_names_as_the_screen_does() -> None:
    wells = pd.DataFrame({"batch": ["b10", "b2", "b2", "a"], "perturbation": ["é", "z", "DMSO", "Z"]})
    inputs = Inputs(wells=wells)
    assert inputs.batches.tolist() == codes(wells["batch"]).tolist() == [1, 2, 2, 0]
    assert inputs.labels.tolist() == codes(wells["perturbation"]).tolist() == [3, 2, 0, 1]
