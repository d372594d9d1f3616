"""Texts about λ in the words of another trainer's dial; values beside them stay what they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import pytest

from sweeper.decision.verdict.remarks import Remark, Remarks
from sweeper.decision.words.advice import ADVICE
from sweeper.decision.words.remark_text import further_texts
from sweeper.decision.words.rule_text import ELSEWHERE
from sweeper.spoken import dial_of, dials_of, spoken, spoken_values, strength_text
from trainers.trainer import Dial

ALPHA = (Dial(name="shrinkage", symbol="α", high=1.0, scale="linear", grid=(0.5, 1.0)),)
BOTH = (*ALPHA, Dial(name="diversity", symbol="θ", high=4.0, scale="linear", none=None, grid=(1.0, 2.0)))


class Word(StrEnum):
    LAMBDA = "λ"


@dataclass(frozen=True)
class Said:
    text: str
    word: Word
    parts: tuple[str, ...]
    numbers: dict[str, float | None]


def test_a_text_is_of_the_dial() -> None:
    assert spoken("Safe up to λ = 0.5; the adversarial weight λ", ALPHA) == "Safe up to α = 0.5; the shrinkage α"


def test_the_second_dial_is_named_too() -> None:
    text = "Margin 2 was chosen: at margin 2 λ is larger; the margins, and the angular margin, differ; marginal"
    said = "Diversity 2 was chosen: at diversity 2 α is larger; the diversitys, and the diversity, differ; marginal"
    assert spoken(text, BOTH) == said
    assert spoken(text, dials_of("abra")) == text


@pytest.mark.parametrize(
    ("first", "without", "own"),
    [
        ("or try another critic or method.", "or try another method.", "or try another reader or method."),
        ("Try another critic, and add plates.", "Try another method, and add plates.", "Try another reader, and add"),
        ("try a critic that sees more, another method, or", "try another method, or", "try a reader that sees more, "),
        ("a critical value", "a critical value", "a critical value"),
    ],
)
def test_advice_names_what_a_trainer_can_set(first: str, without: str, own: str) -> None:
    assert spoken(first, ALPHA) == without
    assert spoken(first, (replace(ALPHA[0], by="reader"),)).startswith(own)
    assert spoken(first, dials_of("abra")) == first


@pytest.mark.parametrize("name", ["center", "cpdistiller"])
def test_no_advice_of_another_trainer_speaks_of_a_critic(name: str) -> None:
    remarks = Remarks(codes=(Remark.NO_SAFE_GAIN, Remark.BATCH_STILL_READABLE), best=0.5)
    texts = [ELSEWHERE, *ADVICE.values(), *further_texts(remarks)]
    assert not [said for text in texts if "critic" in (said := spoken(text, dials_of(name)))]
    assert [text for text in texts if "critic" in text]


def test_every_text_inside_a_value_and_nothing_else() -> None:
    said = Said("λ = 1", Word.LAMBDA, ("from λ = 0", "none"), {"λ": None, "b": 0.5})
    assert spoken_values(said, ALPHA) == Said("α = 1", Word.LAMBDA, ("from α = 0", "none"), {"λ": None, "b": 0.5})
    assert spoken_values(("λ", "λ =", 2), ALPHA) == ("λ", "α =", 2), "the symbol alone is the code of a unit"
    assert spoken_values([{"a": said.text}], ALPHA) == [{"a": "α = 1"}]
    assert spoken_values(said, dials_of("abra")) is said, "what is about λ already is left alone"


def test_a_trainer_that_is_not_installed_is_spoken_of_as_the_first() -> None:
    assert dial_of("no_such_trainer") == dial_of(None) == dial_of("abra")
    assert dial_of("sphering").symbol == "1/ε"


def test_one_strength_in_words() -> None:
    assert strength_text("abra", 3.0, 0.3) == "λ=3 m=0.3"
    assert strength_text("center", 0.5, 0.0) == "α=0.5"
    assert strength_text("erm@0123abcd", 3.0, 0.3) == "λ=3 m=0.3"


def test_what_a_condition_is_about_is_no_text() -> None:
    assert spoken_values(("margin", "at this margin 2"), BOTH) == ("margin", "at this diversity 2")
