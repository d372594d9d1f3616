"""The decision: a pure function of a sweep's records, to the strength that may be used or why none can be named.

Its names are imported when they are first used: a configuration declares a decision's settings, and does not pay for
the inference behind them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.decision.input.decision_settings import DecisionSettings
    from sweeper.decision.input.tidy import decide_table
    from sweeper.decision.verdict.decision import Decision, RuledCurve, ViewDecision
    from sweeper.decision.verdict.judge import judge_curve
    from sweeper.decision.verdict.rule import Rule
    from sweeper.decision.verdict.states import STATES, State
    from sweeper.decision.verdict.values import JudgedCurve
    from sweeper.decision.verdict.whole_sweep import decide_sweep
    from sweeper.decision.words.rule_text import sentence

_HOMES = {
    "STATES": "verdict.states",
    "Decision": "verdict.decision",
    "DecisionSettings": "input.decision_settings",
    "JudgedCurve": "verdict.values",
    "Rule": "verdict.rule",
    "RuledCurve": "verdict.decision",
    "State": "verdict.states",
    "ViewDecision": "verdict.decision",
    "decide_sweep": "verdict.whole_sweep",
    "decide_table": "input.tidy",
    "judge_curve": "verdict.judge",
    "sentence": "words.rule_text",
}

__all__ = [
    "STATES",
    "Decision",
    "DecisionSettings",
    "JudgedCurve",
    "Rule",
    "RuledCurve",
    "State",
    "ViewDecision",
    "decide_sweep",
    "decide_table",
    "judge_curve",
    "sentence",
]


def __getattr__(name: str) -> Any:
    """A public name, from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
