"""The real table in both views: what the documentation quotes.

make jump                    runs configs/jump_source3.yaml, then this; writes benchmarks/jump.json
make jump-cpdistiller        the same of configs/jump_source3_cpdistiller.yaml; writes benchmarks/jump_cpdistiller.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
from summaries import line, summarise

import sweeper
from sweeper.decision.verdict.json_codec import plain

HERE = Path(__file__).parent


def main() -> None:
    """Summarise the finished sweep and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", choices=("abra", "cpdistiller"), default="abra")
    trainer = parser.parse_args().trainer
    suffix = "" if trainer == "abra" else f"_{trainer}"
    folder = Path(f"runs/jump_source3{suffix}")
    results = pd.read_parquet(folder / "results.parquet")
    decision = sweeper.open_store(folder).decision
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
        "command": f"sweeper run configs/jump_source3{suffix}.yaml && python benchmarks/jump.py"
        + (f" --trainer {trainer}" if suffix else ""),
        "rows": rows,
        "decision": {"sentence": decision.sentence, "deciding_view": decision.deciding_view, "curves": curves},
    }
    path = HERE / f"jump{suffix}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{decision.sentence}\n\n{path}")


if __name__ == "__main__":
    main()
