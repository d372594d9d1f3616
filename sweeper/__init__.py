"""Strength sweeps of batch-correcting encoders: plan, run, measure, decide.

    import sweeper
    config = sweeper.load_config("sweep.yaml")
    sweep = sweeper.run(config, progress=True)
    sweep.results, sweep.decision, sweep.figure("tradeoff")

Names are imported when they are first used: `import sweeper` alone loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "load_config": "sweeper.config.sweep_config",
    "plan": "sweeper.library.planned",
    "run": "sweeper.library.launch",
    "run_methods": "sweeper.library.comparing",
    "open_methods": "sweeper.library.comparing",
    "open_store": "sweeper.library.stored_sweep",
    "decide": "sweeper.library.deciding",
    "keep": "sweeper.library.after",
    "embed": "sweeper.library.after",
    "apply": "sweeper.library.after",
    "compare": "sweeper.library.after",
    "decide_table": "sweeper.decision.input.tidy",
    "score_table": "sweeper.metrics.panel",
    "write_report": "sweeper.library.deciding",
    # what they take and return
    "Applied": "sweeper.kept.applying",
    "Comparison": "sweeper.findings.compared",
    "Corrected": "sweeper.kept.corrected",
    "Decision": "sweeper.decision",
    "Event": "sweeper.running.sweep",
    "InputError": "sweeper.errors",
    "Kept": "sweeper.kept.keeping",
    "Outputs": "sweeper.library.outputs",
    "Panel": "sweeper.metrics.panel",
    "Plan": "sweeper.library.planned",
    "StoredMethods": "sweeper.library.comparing",
    "StoredSweep": "sweeper.library.stored_sweep",
    "SweepConfig": "sweeper.config.sweep_config",
    "SweepFailedError": "sweeper.errors",
}

if TYPE_CHECKING:
    from sweeper.config.sweep_config import SweepConfig, load_config
    from sweeper.decision import Decision
    from sweeper.decision.input.tidy import decide_table
    from sweeper.errors import InputError, SweepFailedError
    from sweeper.findings.compared import Comparison
    from sweeper.kept.applying import Applied
    from sweeper.kept.corrected import Corrected
    from sweeper.kept.keeping import Kept
    from sweeper.library.after import apply, compare, embed, keep
    from sweeper.library.comparing import StoredMethods, open_methods, run_methods
    from sweeper.library.deciding import decide, write_report
    from sweeper.library.launch import run
    from sweeper.library.outputs import Outputs
    from sweeper.library.planned import Plan, plan
    from sweeper.library.stored_sweep import StoredSweep, open_store
    from sweeper.metrics.panel import Panel, score_table
    from sweeper.running.sweep import Event

__all__ = [
    "Applied",
    "Comparison",
    "Corrected",
    "Decision",
    "Event",
    "InputError",
    "Kept",
    "Outputs",
    "Panel",
    "Plan",
    "StoredMethods",
    "StoredSweep",
    "SweepConfig",
    "SweepFailedError",
    "__version__",
    "apply",
    "compare",
    "decide",
    "decide_table",
    "embed",
    "keep",
    "load_config",
    "open_methods",
    "open_store",
    "plan",
    "run",
    "run_methods",
    "score_table",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module 'sweeper' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
