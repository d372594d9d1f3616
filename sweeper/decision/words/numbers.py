"""Numbers, views and chances as people write them."""

from __future__ import annotations

WORDS = (  # least probability, word
    (0.99, "virtually certain"),
    (0.90, "very likely"),
    (0.66, "likely"),
    (0.33, "about as likely as not"),
    (0.10, "unlikely"),
    (0.01, "very unlikely"),
    (0.0, "exceptionally unlikely"),
)
VIEWS = {
    "held_out_plates": "held-out plates",
    "held_out_batches": "held-out batches",
    "held_out_cell_types": "held-out cell types",
}


def strength_text(value: float | None) -> str:
    """λ as people write it: 3 significant digits; "–" where there is none."""
    return "λ = –" if value is None else f"λ = {value:.3g}"


def share_text(value: float) -> str:
    """A share as a percentage: 0.1 → "10 %"."""
    return f"{100 * value:.3g} %"


def view_text(view: str) -> str:
    """A view's name as people write it; of a name that is not one of ours, as it is."""
    return VIEWS.get(view, view)


def counted(count: int, noun: str) -> str:
    """A number of things: "1 seed", "3 seeds"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def were(count: int) -> str:
    """The verb that goes with a number of things in the past."""
    return "was" if count == 1 else "were"


def probability_text(probability: float | None) -> str:
    """A probability in the words of the IPCC (2010 guidance note) and as a number, never as certainty."""
    if probability is None:
        return "of unknown probability"
    word = next(word for least, word in WORDS if probability >= least)
    number = "> 0.99" if probability > 0.995 else "< 0.01" if probability < 0.005 else f"= {probability:.2f}"
    return f"{word}, P {number}"


__all__ = ["WORDS", "counted", "probability_text", "share_text", "strength_text", "view_text", "were"]
