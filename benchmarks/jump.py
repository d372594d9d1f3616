"""The real table in both views: what the documentation quotes.

make jump        runs configs/jump_source3.yaml, then this; writes benchmarks/jump.json
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from summaries import line, summarise

import sweeper
from sweeper.decision.verdict.json_codec import plain

FOLDER = Path("runs/jump_source3")


def main() -> None:
    """Summarise the finished sweep and write the result file."""
    results = pd.read_parquet(FOLDER / "results.parquet")
    decision = sweeper.open_store(FOLDER).decision
    rows = summarise(results, decision)
    for row in rows:
        print(line(row))
    told = ("safe_up_to", "unsafe_from", "lambda_ni", "recommended", "sigma", "psi", "detectable_drop")
    curves = {
        view: [
            {
                "margin": curve.margin,
                "state": curve.state,
                "reasons": curve.reasons,
                **{key: plain(getattr(curve.estimate, key)) if curve.estimate else None for key in told},
            }
            for curve in found.margins
        ]
        for view, found in decision.views.items()
    }
    result = {
        "command": "sweeper run configs/jump_source3.yaml && python benchmarks/jump.py",
        "rows": rows,
        "decision": {"sentence": decision.sentence, "deciding_view": decision.deciding_view, "curves": curves},
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{decision.sentence}\n\n{path}")


if __name__ == "__main__":
    main()
