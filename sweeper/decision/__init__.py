"""The decision: a pure function of a sweep's records, to the strength that may be used or why none can be named."""

from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.tidy import decide_table
from sweeper.decision.verdict.decision import Decision, RuledCurve, ViewDecision
from sweeper.decision.verdict.judge import judge_curve
from sweeper.decision.verdict.rule import Rule
from sweeper.decision.verdict.states import STATES, State
from sweeper.decision.verdict.values import JudgedCurve
from sweeper.decision.verdict.whole_sweep import decide_sweep
from sweeper.decision.words.rule_text import sentence

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
