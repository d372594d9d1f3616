"""Does the decision keep its promises on real training? The dense sweep of each screen is the truth.

    make benchmark-tier-c       (about half an hour on one core; stop and start as you like)

Writes benchmarks/tier_c.json and the tables in benchmarks/README.md. A finished seed and a block of judged sub-sweeps
are files under `--work`: begin with an empty folder after the trainer has changed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tier_c import reference
from benchmarks.tier_c.measures import neighbour_correlation, residuals, summary
from benchmarks.tier_c.screens import CASES, HIGH, LEVELS, LOW, SEEDS, STRENGTHS, STRIDE, Study, study
from benchmarks.tier_c.subsweeps import SUB_SEEDS, judge
from benchmarks.tier_c.tables import write_tables
from benchmarks.tier_c.truth import reference_curve

RESULT = Path(__file__).parents[1] / "tier_c.json"


def main() -> None:
    """Train and judge what is missing; write the cases that are finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the dense reference")
    parser.add_argument("--repetitions", type=int, default=120, help="sub-sweeps of each case")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after this long")
    parser.add_argument(
        "--cases", nargs="+", choices=list(CASES), default=list(CASES), help="several at once: a process each"
    )
    parser.add_argument("--keep", action="store_true", help="write no result (for the processes that run at once)")
    parser.add_argument("--work", type=Path, default=Path("runs/tier_c"))
    parser.add_argument("--tables", action="store_true", help="run nothing, write the tables again")
    given = parser.parse_args()
    if not given.tables:
        until = time.monotonic() + 60 * given.minutes
        found = {name: _case(study(name), given, until) for name in given.cases}
        finished = {name: case for name, case in found.items() if case is not None}
        if len(finished) < len(found):
            print("not finished: the same command goes on")
        if not finished or given.keep:
            return
        RESULT.write_text(json.dumps(_document(finished, given), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_tables(RESULT)


def _case(one: Study, given: argparse.Namespace, until: float) -> dict[str, Any] | None:
    """Everything about one case; None where the time ran out."""
    if not reference.train(given.work, one, given.seeds, until):
        return None
    table = reference.table(given.work, one, given.seeds)
    rows = judge(given.work, one, table, repetitions=given.repetitions, seeds=given.seeds, until=until)
    if len(rows) < given.repetitions:
        return None
    settings = one.config.decision
    curve = reference_curve(table, one.case.margin, settings)
    seconds = [
        sum(record["seconds"].values()) for part in reference.finished(given.work, one, given.seeds) for record in part
    ]
    shown = slice(None, None, 6)
    rest = residuals(curve.biological)
    return {
        "title": one.case.title,
        "overcorrects": one.case.overcorrects,
        "design_djs": round(one.design_djs, 4),
        "runs": int(curve.status.size),
        "lost": int((curve.status != "ok").sum()),
        "seconds": round(sum(seconds)),
        "strengths": [STRENGTHS[0], *STRENGTHS[1:][shown]],
        "biological": _means(curve.biological, shown),
        "technical": _means(curve.technical, shown),
        "seed_sd": round(float(np.nanmean(np.nanstd(rest, axis=1, ddof=1))), 4),
        "neighbour_correlation": round(neighbour_correlation(rest[1:], STRIDE), 3),
        "deltas": summary(rows, curve, settings.all_deltas),
    }


def _means(values: np.ndarray, shown: slice) -> list[float]:
    means = np.nanmean(values, axis=1)
    return [round(float(mean), 4) for mean in (means[0], *means[1:][shown])]


def _document(found: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    return {
        "command": "python -m benchmarks.tier_c",
        "reference": {
            "strengths": LEVELS + 1,
            "seeds": given.seeds,
            "planned_seeds": SEEDS,
            "range": [LOW, HIGH],
        },
        "subsweeps": {"strengths": LEVELS // STRIDE + 1, "seeds": SUB_SEEDS, "repetitions": given.repetitions},
        "cases": found,
        "not_run": [case.title for name, case in CASES.items() if name not in found],
    }


if __name__ == "__main__":
    main()
