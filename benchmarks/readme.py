"""The figures of the documentation, written from the committed result files.

python benchmarks/readme.py        rewrites what stands between the two markers
"""

from __future__ import annotations

from pathlib import Path

from tables import (
    adversaries,
    causes,
    chaos,
    compared,
    coverage,
    cpdistiller,
    critic,
    doors,
    followed,
    fuzz,
    gpu,
    images_demo,
    images_input,
    images_training,
    jump,
    locate,
    packs,
    panel_speed,
    verdicts,
)

HERE = Path(__file__).parent
BEGIN, END = "<!-- figures: written by benchmarks/readme.py -->", "<!-- end of figures -->"

PAGES = {
    HERE.parent / "docs/how-to/faults.md": (chaos.table,),
    HERE.parent / "docs/benchmarks/measured.md": (
        jump.table,
        jump.table_of_cpdistiller,
        compared.table,
        followed.table,
        packs.table,
        images_demo.table,
    ),
    HERE / "README.md": (
        verdicts.table,
        causes.table,
        adversaries.table,
        critic.table,
        cpdistiller.table,
        coverage.table,
        locate.table,
        panel_speed.table,
        images_input.table,
        images_training.table,
        gpu.table,
        doors.table,
        fuzz.table,
    ),
}


def written(page: Path) -> str:
    """The page's text with its figures renewed."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    lines = [line for part in PAGES[page] for line in part()]
    return before + "\n".join([BEGIN, "", *lines, END]) + rest.partition(END)[2]


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(written(each), encoding="utf-8")
