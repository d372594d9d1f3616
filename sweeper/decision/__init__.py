"""The decision: a pure function of a sweep's records, to the strength that may be used or why none can be named."""

from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.tidy import decide_table
from sweeper.decision.verdict.judge import decide
from sweeper.decision.verdict.states import STATES
from sweeper.decision.verdict.values import Decision
from sweeper.decision.verdict.whole_sweep import decide_sweep
from sweeper.decision.words.rule_text import sentence

__all__ = ["STATES", "Decision", "DecisionSettings", "decide", "decide_sweep", "decide_table", "sentence"]
