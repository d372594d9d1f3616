"""Which adversary, on which input: every combination on the real table, 5 seeds, both views. The defaults rest on this.

make benchmark-adversaries        (about 20 minutes on 2 cores; writes benchmarks/adversaries.json)
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import product
from pathlib import Path

from summaries import line, summarise

import sweeper
from sweeper.installed import versions

CONFIG = Path(__file__).parent.parent / "configs/jump_source3.yaml"
ADVERSARIES = {
    "worst case": "abra.statistics=worst_case abra.critic=none",
    "worst case, radius 0.3": "abra.statistics=worst_case abra.critic=none abra.radius=0.3",
    "random (DSU)": "abra.statistics=random abra.critic=none",
    "ridge critic": "abra.statistics=none abra.critic=ridge",
    "MLP critic, 3 steps": "abra.statistics=none abra.critic=mlp abra.critic_steps=3",
    "worst case + ridge": "abra.statistics=worst_case abra.critic=ridge",
    "worst case + MLP": "abra.statistics=worst_case abra.critic=mlp abra.critic_steps=3",
    "random + ridge": "abra.statistics=random abra.critic=ridge",
}
INPUTS = ("none", "batch")
SHARED = (
    "views=[{view: held_out_plates, fraction: 0.33}, {view: held_out_batches, folds: 3}]",
    "strengths.adversarial_weight=[0.3,1,3,10,30,100]",
    "strengths.margin=[0.3]",
    "abra.items=8",  # as measured; benchmarks/critic.py has since shown what more do
    "metrics=[batch_probe_linear,batch_mixing_bras,retrieval_map,perturbation_accuracy]",
    "tracking.enabled=false",
    "sham.enabled=false",
)


def main() -> None:
    """Run what is missing of every sweep (each resumes by itself), then write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/adversaries"))
    options = parser.parse_args()
    found = []
    for normalise, (name, settings) in product(INPUTS, ADVERSARIES.items()):
        folder = options.folder / f"{name}-{normalise}".replace(" ", "_").replace(",", "")
        overrides = [*SHARED, *settings.split(), f"normalise={normalise}", f"folder={folder}"]
        print(f"{name}, input {normalise}", file=sys.stderr)
        sweep = sweeper.run(sweeper.load_config(CONFIG, overrides), progress=True)
        failed = sweep.results.loc[sweep.results["status"] != "ok", "cell_id"].nunique()
        for row in summarise(sweep.results, sweep.decision):
            found.append({"adversary": name, "input": normalise, "settings": settings, "failed": failed, **row})
            print(f"{name:<24} {normalise:<6} {line(row)}", flush=True)
    result = {
        "command": "python benchmarks/adversaries.py",
        "seeds": 5,
        "versions": versions(),
        "rows": found,
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(path)


if __name__ == "__main__":
    main()
