"""How numbers and names are written for people."""

from __future__ import annotations

import html
import math

MISSING = "–"
_NAMES = {
    "raw": "raw features",
    "batch_standardised": "batch-standardised",
    "random": "random",
    "label_shuffled": "label-shuffled",
    "plate_control_centred": "centred on plate controls",
    "identities_permuted": "identities permuted",
    "one_hot_jitter": "labels leaked",
    "held_out_plates": "held-out plates",
    "held_out_batches": "held-out batches",
    "held_out_cell_types": "held-out cell types",
    "official": "official split",
}
_SPELLED = {"map": "mAP", "nmi": "NMI", "ami": "AMI", "bras": "BRAS", "nn": "NN", "asw": "ASW", "id": "ID"}
_QUESTIONS = {
    "held_out_plates": "Correct this screen: batches seen in training, scored on wells the encoder never saw.",
    "held_out_batches": "Generalise to a new batch: scored on batches the encoder never saw.",
    "held_out_cell_types": "Generalise to a new cell type: scored on batches of a cell type the encoder never saw.",
    "official": "The published split: scored on the part that its authors hold out.",
}


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits, no exponent from 0.0001 to 100 000; "–" when absent or not finite."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e5:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    written = f"{value:.{decimals}f}"
    return (written.rstrip("0").rstrip(".") if "." in written else written).replace("-", "−")


def fixed(value: float | None, decimals: int = 2) -> str:
    """`value` with a fixed number of decimals, so that a column of scores lines up; "–" when absent or not finite."""
    if value is None or not math.isfinite(value):
        return MISSING
    written = f"{value:.{decimals}f}"
    return written.replace("-", "−" if float(written) else "")  # what rounds to zero has no sign


def signed(value: float | None, decimals: int = 3) -> str:
    """A difference with its sign, +0.012 or −0.012; what rounds to zero has none."""
    written = fixed(value, decimals)
    return f"+{written}" if value is not None and value > 0 and float(f"{value:.{decimals}f}") > 0 else written


def percent(value: float | None) -> str:
    """A share in [0, 1] as whole per cent; never "100 %" or "0 %" for what is not exactly that."""
    if value is None or not math.isfinite(value):
        return MISSING
    if 0 < value < 0.01:
        return "<1 %"
    if 0.99 < value < 1:
        return ">99 %"
    return f"{100 * value:.0f} %"


def name(key: str) -> str:
    """The reader's word for a control, view or metric; an unknown key with its underscores opened."""
    bare = key.removeprefix("control:")
    return _NAMES.get(bare) or " ".join(_SPELLED.get(word, word) for word in bare.split("_"))


def question(view: str) -> str:
    """What an evaluation view answers, in one sentence; "" for a view with no known question."""
    return _QUESTIONS.get(view, "")


def drawn(text: str) -> str:
    """`text` made inert for Plotly, which reads tags in titles, labels and hover boxes."""
    return html.escape(text, quote=False)
