"""Score any embedding table (Parquet, CSV or h5ad with Metadata_* columns) with the whole metric panel.

All rows are test rows. A collapsed embedding is said to be collapsed and is not scored; where nothing could be scored
the exit code is 1. Options of the metrics are set with --set; `sweeper validate --keys` lists them under panel.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.cli.account import account_lines, add_reading, reading_keys
from sweeper.cli.common import warn

if TYPE_CHECKING:
    from sweeper.metrics.composites import Composites
    from sweeper.metrics.panel import Panel
    from sweeper.metrics.panel_options import PanelOptions
    from trainers.base import FloatArray
    from trainers.screens.readers import Reading
    from trainers.screens.table import Screen

EXAMPLE = """examples:
  sweeper metrics embeddings.parquet
  sweeper metrics embeddings.parquet --batch Metadata_Source --perturbation Metadata_JCP2022 --json panel.json
  sweeper metrics profiles.csv.gz --negative-controls DMSO --target Metadata_moa --set probe_groups=plate
  sweeper metrics corrected.h5ad --control-query "Metadata_Compound in ['DMSO', 'untreated']" --p-values
  sweeper metrics corrected.parquet --reference raw.parquet --pseudo-batch
  sweeper metrics joined_profiles.parquet --standardise
  sweeper metrics embeddings.parquet --device cuda"""

_COLUMNS = {
    "batch": "what is to be corrected for",
    "plate": "the plate",
    "well": "the well's position, e.g. B07",
    "perturbation": "the perturbation",
    "control-type": "trt, negcon or poscon*",
    "target": "target or mechanism of action",
}

_TITLES = {"T": "technical", "B": "biological", "√(T·B)": "geometric"}
_STANDINGS = ("primary", "secondary", "guard", "parity")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper metrics`."""
    parser.add_argument("table", type=Path, metavar="TABLE", help="one row a well (or site), e.g. embeddings.parquet")
    for name, meaning in _COLUMNS.items():
        parser.add_argument(f"--{name}", metavar="COL", help=f"column of {meaning}; found by convention when left out")
    parser.add_argument(
        "--negative-controls",
        metavar="NAME",
        nargs="+",
        default=[],
        help="perturbations that are negative controls, beside those the table marks",
    )
    parser.add_argument(
        "--control-query",
        metavar="QUERY",
        help="rows that are negative controls, too: comparisons of the table's columns as in pandas' query",
    )
    parser.add_argument(
        "--standardise",
        action="store_true",
        help="bring every column to mean 0 and standard deviation 1 over all rows first: for features in raw units",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="TABLE",
        help="uncorrected features of the same wells, same columns: how much phenotype inside a batch was kept?",
    )
    parser.add_argument(
        "--p-values", action="store_true", help="test every perturbation's activity, too (copairs; minutes)"
    )
    parser.add_argument(
        "--pseudo-batch",
        action="store_true",
        help="split the largest batch at random, correct for the split: whatever is lost is over-correction",
    )
    add_reading(parser)
    parser.add_argument("--metrics", metavar="METRIC", nargs="+", help="measure these only")
    parser.add_argument(
        "--device", metavar="NAME", help="PyTorch device of the large matrix products, e.g. cuda (default: NumPy, CPU)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of every random draw (default 0)")
    parser.add_argument(
        "--set", dest="overrides", metavar="KEY=VALUE", action="append", default=[], help="an option of the metrics"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the panel here, too")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.cli import EXIT_FAILED
    from sweeper.config.sweep_config import build_panel_options
    from sweeper.errors import InputError
    from sweeper.metrics.arrays import arrays
    from sweeper.metrics.panel import score_table
    from sweeper.store.store import write_atomically

    if options.seed < 0:
        raise InputError(f"--seed {options.seed}: expected a number from 0")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise InputError(f"--json {options.json}: its folder does not exist")
    choices = build_panel_options(options.overrides)
    if options.device is not None:
        choices = choices.model_copy(update={"device": options.device})
    arrays(choices.device)
    reading = _read(options, options.table)
    screen = _standardised(reading.screen) if options.standardise else reading.screen
    reference = None if options.reference is None else _same_wells(screen, options)
    for warning in reading.account.warnings:
        warn(warning)
    panel = score_table(
        screen.features,
        screen.wells,
        metrics=options.metrics,
        options=choices,
        seed=options.seed,
        reference=reference,
        names=screen.feature_names,
    )
    for note in panel.notes:
        warn(note)
    further: dict[str, Any] = {}
    if panel.status == "ok" and reference is not None:
        further["baselines"] = _baselines(panel, reference, screen, choices, options.seed)
    if panel.status == "ok" and options.p_values:
        further["activity"] = _activity(screen, choices, options.seed)
    if panel.status == "ok" and options.pseudo_batch:
        further["pseudo_batch"] = _pseudo_batch(screen, reference, options.seed)
    print(
        "\n".join(
            [*_heading(options.table, screen), *account_lines(reading.account), "", *_text(panel), *_further(further)]
        )
    )
    if options.json is not None:
        content = {
            "schema": "panel/1",
            "table": options.table.name,
            **_summary(screen),
            "account": reading.account.to_json(),
            "seed": options.seed,
            "standardised": options.standardise,
            "options": choices.model_dump(mode="json"),
            "status": panel.status,
            "reason": panel.reason,
            "notes": list(panel.notes),
            "metrics": list(panel.rows),
            "composites": panel.composites.to_json(),
            **further,
        }
        write_atomically(options.json, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return 0 if any(row["value"] is not None for row in panel.rows) else EXIT_FAILED


def _standardised(screen: Screen) -> Screen:
    """Every column with mean 0 and standard deviation 1; constant columns are 0."""
    import numpy as np

    from sweeper.metrics.controls import control_embedding
    from trainers.screens.table import make_screen

    every = np.arange(len(screen))
    features = control_embedding("raw", screen.features, screen.wells, train_rows=every, seed=0)
    return make_screen(features, screen.feature_names, screen.wells)


def _read(options: argparse.Namespace, path: Path) -> Reading:
    from sweeper.errors import InputError
    from trainers.screens.query import select_rows
    from trainers.screens.readers import read_screen
    from trainers.screens.screen_spec import ScreenSpec
    from trainers.screens.table import make_screen

    given = {name.replace("-", "_"): getattr(options, name.replace("-", "_")) for name in _COLUMNS}
    columns = {name: column for name, column in given.items() if column is not None}
    keys = reading_keys(options)
    if path != options.table:  # the patterns and the matrix are those of the embedding
        keys |= {"features": None, "matrix": None}
    spec = ScreenSpec(path=path, columns=columns, negative_controls=tuple(options.negative_controls), **keys)
    reading = read_screen(spec, Path())
    if options.control_query is None:
        return reading
    screen = reading.screen
    chosen = select_rows(reading.metadata, options.control_query)
    if not chosen.any():
        raise InputError(f"--control-query {options.control_query!r}: selects no row of {path}")
    wells = screen.wells.assign(control_type=screen.wells["control_type"].mask(chosen, "negative"))
    return replace(reading, screen=make_screen(screen.features, screen.feature_names, wells))


def _same_wells(screen: Screen, options: argparse.Namespace) -> FloatArray:
    """Features of the reference table, in the order of the embedding's rows."""
    from sweeper.errors import InputError

    other = _read(options, options.reference).screen
    keys = ["batch", "plate", "well", "site"]
    rows = other.wells[keys].astype("string").fillna("").assign(row=range(len(other)))
    found = screen.wells[keys].astype("string").fillna("").merge(rows, on=keys, how="left", validate="1:1")["row"]
    if found.isna().any():
        at = dict(screen.wells.loc[found.isna(), keys].iloc[0].dropna())
        where = " ".join(f"{name} {value}" for name, value in at.items())
        raise InputError(f"--reference {options.reference}: has no row for {where}")
    features: FloatArray = other.features[found.to_numpy(dtype=int)]
    return features


def _baselines(panel: Panel, reference: FloatArray, screen: Screen, choices: PanelOptions, seed: int) -> dict[str, Any]:
    """T and B less those of the uncorrected features."""
    from sweeper.metrics.bootstrap import differences_json
    from sweeper.metrics.panel import compared_with_baselines

    found = compared_with_baselines(panel, reference, screen.wells, options=choices, seed=seed)
    return {name: differences_json(of) for name, of in found.items()}


def _activity(screen: Screen, choices: PanelOptions, seed: int) -> dict[str, Any]:
    """The perturbations that are told from negative controls, and how many there are to test."""
    from sweeper.metrics.biological.fraction import activity_fraction
    from sweeper.metrics.panel import table_evaluation

    found = activity_fraction(table_evaluation(screen.features, screen.wells, options=choices, seed=seed))
    return {
        "tested": len(found),
        "active": int(found["active"].sum()),
        "fraction": float(found["active"].mean()) if len(found) else None,
        "reason": None if len(found) else "no perturbation has 3 wells with replicates and controls to test against",
        "perturbations": json.loads(found.to_json(orient="records")),
    }


def _pseudo_batch(screen: Screen, reference: FloatArray | None, seed: int) -> dict[str, Any]:
    """Loss of each plain correction for a batch that is none, on the reference or else on the embedding itself."""
    from dataclasses import asdict

    from sweeper.errors import InputError
    from sweeper.metrics.probes.pseudo_batch import pseudo_batch_loss, residualise, standardise

    features = screen.features if reference is None else reference
    try:
        return {
            name: asdict(pseudo_batch_loss(features, screen.wells, correct, seed=seed))
            for name, correct in (("standardise", standardise), ("residualise", residualise))
        }
    except InputError as absent:
        return {"reason": str(absent)}


def _further(found: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, of in found.get("baselines", {}).items():
        lines += ["", *_against(name, of)]
    if (activity := found.get("activity")) is not None:
        lines += [
            "",
            f"active at a false discovery rate of 5 %: {activity['active']} of {activity['tested']} perturbations",
        ]
        lines += [activity["reason"]] if activity["reason"] else []
    if (losses := found.get("pseudo_batch")) is not None:
        lines.append("")
        if "reason" in losses:
            return [*lines, losses["reason"]]
        for name, loss in losses.items():
            low, high = loss["interval"]
            lines.append(
                f"batch {loss['batch']} split in two and corrected ({name}): nAP {loss['before']:.3f} → "
                f"{loss['after']:.3f}, loss {loss['loss']:.3f} ({low:.3f} to {high:.3f})"
            )
    return lines


def _against(name: str, found: dict[str, Any]) -> list[str]:
    """The differences from one baseline."""
    from sweeper.metrics.bootstrap import BASELINES

    reasons = {of["reason"] for of in found.values() if "reason" in of}
    if len(reasons) == 1 and all("reason" in of for of in found.values()):
        return [f"against {BASELINES[name]}: {reasons.pop()}"]
    told = []
    for title, key in _TITLES.items():
        of = found[key]
        if "reason" in of:
            told.append(f"{title} {of['reason']}")
        else:
            told.append(f"{title} {of['value']:+.3f}" + _between(of["interval"], "+.3f"))
    return [f"against {BASELINES[name]}: {', '.join(told)}"]


def _between(interval: Sequence[float] | None, form: str = ".3f") -> str:
    return "" if interval is None else f" ({interval[0]:{form}} to {interval[1]:{form}})"


def _summary(screen: Screen) -> dict[str, Any]:
    from sweeper.metrics.biological.target_sets import count_targets

    wells = screen.wells
    return {
        "fingerprint": screen.fingerprint,
        "rows": len(screen),
        "dimensions": screen.features.shape[1],
        "batches": int(wells["batch"].nunique()),
        "plates": int(wells["plate"].nunique()),
        "perturbations": int(wells["perturbation"].nunique()),
        "targets": count_targets(wells["target"]),
        "negative_controls": int((wells["control_type"] == "negative").sum()),
    }


def _heading(path: Path, screen: Screen) -> list[str]:
    found = _summary(screen)
    return [
        f"{path}: {found['rows']} rows × {found['dimensions']} dimensions, {found['fingerprint'][:19]}…",
        f"{found['batches']} batches, {found['plates']} plates, {found['perturbations']} perturbations, "
        f"{found['targets']} targets, {found['negative_controls']} negative controls",
    ]


def _text(panel: Panel) -> list[str]:
    """The panel as aligned lines, technical metrics first, by standing; then the composites."""
    if panel.status == "collapsed":
        return [f"{panel.reason}: not scored"]
    order = sorted(panel.rows, key=lambda row: (row["role"] != "technical", _STANDINGS.index(row["standing"])))
    numbers = ("value", "floor", "ceiling", "raw", "chance")
    lines = [["metric", "role", "standing", *numbers, "reason"]]
    lines += [
        [
            *(row[name] for name in ("metric", "role", "standing")),
            *("–" if row["value"] is None or row[name] is None else f"{row[name]:.3f}" for name in numbers),
            f"[{row['flag']}] {row['reason']}" if row["flag"] else row["reason"] or "",
        ]
        for row in order
    ]
    note = "higher is better, chance is that of raw; primary: decides in a sweep, guard: raises the alarm"
    return [*_aligned(lines), "", note, "", *_composites(panel.composites)]


def _composites(found: Composites) -> list[str]:
    """T, B and their geometric mean, with what they are made of and what they lack."""
    technical = [part for part in found.parts if ": " in part]
    lines = []
    for title, total, parts in (
        ("T", found.technical, technical),
        ("B", found.biological, [part for part in found.parts if part not in technical]),
    ):
        made_of = ", ".join(f"{part} {found.parts[part]:.3f}" for part in parts)
        between = _between(found.intervals.get(_TITLES[title]))
        lines.append(f"{title} = {_share(total)}{between}" + (f" of {made_of}" if made_of else ""))
    lines.append(f"√(T·B) = {_share(found.geometric)}{_between(found.intervals.get('geometric'))}")
    lines += ["in brackets: 95 %, plates drawn anew for T, perturbations for B"] if found.intervals else []
    return [*lines, *(f"not in it: {part} ({reason})" for part, reason in found.absent.items())]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if 3 <= place < 8 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
