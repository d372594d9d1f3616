"""The decision: a pure function of a sweep's records, to the strength that may be used or why none can be named."""

from sweeper.decision.decision import decide
from sweeper.decision.settings import DecisionSettings
from sweeper.decision.states import STATES
from sweeper.decision.sweep import decide_sweep
from sweeper.decision.text import sentence
from sweeper.decision.tidy import decide_table
from sweeper.decision.values import Decision

__all__ = ["STATES", "Decision", "DecisionSettings", "decide", "decide_sweep", "decide_table", "sentence"]
