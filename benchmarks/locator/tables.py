"""From repetitions to the result file, and from the result file to the tables in benchmarks/README.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.locator.methods import METHODS
from benchmarks.locator.study import GATES, SMALL, THREE, Cell, Setting, cells, results

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- locator: written by benchmarks/locator/tables.py -->", "<!-- end of locator -->"
EDGE = 1e-9
Figures = dict[str, Any]

FAST = ("plateau-drop", "umbrella", "big gain", "abrupt", "late", "heavy tail t3")
SLOW = ("slow", "linear")
INSIDE = ("plateau-drop", "umbrella", "big gain", "slow", "abrupt", "late", "linear")
SPECTRA = ("A2 π 0.6, μ 1, τ 0.45", "A2 π 0.8, μ 0.5, τ 0.9", "A2 π 0.3, μ 0, τ 0.3", "A2 rotated")
FORMULAE = ("A2 formula π 0.8, μ 0.5, τ 0.9", "A2 formula π 0.3, μ 0, τ 0.3")
OUTSIDE = ("heavy tail t3", "two-step with gain")
NONE = ("flat", "improving")
MUST_LOSE = (*FAST, *SLOW, "two-step with gain")
LOSING = ("plateau-drop", "umbrella", "slow", "late", "two-step with gain")


def summary(folder: Path, some: Sequence[Cell] | None = None) -> list[Figures]:
    """Every cell (None: of the study) × method that has repetitions."""
    found = []
    for cell in cells() if some is None else some:
        for method in METHODS:
            rows = results(folder, cell, method)
            if rows:
                named = {"shape": cell.shape, "setting": cell.setting.name, "design": cell.design, "method": method}
                found.append(named | measure(rows, cell.truth))
    return found


def measure(rows: Sequence[Figures], true: float) -> Figures:
    """ADEMP performance measures of one cell and method; those of the interval over repetitions that report a point.

    `unsafe`: share of all repetitions whose lower end lies above the truth, whether or not the posterior decides (of
    methods without an interval: whose estimate does). `unsafe_decided`: share whose largest trained strength called
    safe does; `unsafe_default`, the same of the default method, which also stays below the bracket, `bounded_default`
    the share that has such a strength, and `contradicts` the share in which fit and tests exclude each other.
    """
    count = len(rows)
    reported = [row for row in rows if row.get("reported", False)]
    figures: Figures = {
        "repetitions": count,
        "true": None if np.isinf(true) else round(true, 4),
        "reported": len(reported) / count,
        "not_reached": float(np.mean([row.get("not_reached", False) for row in rows])),
    }
    if any("lof_p" in row for row in rows):
        figures["poor_fit"] = float(np.mean([row.get("lof_p", np.inf) < 0.05 for row in rows]))
        figures["fallback"] = float(np.mean([not row.get("trusted", True) for row in rows]))
        bounds = np.array([row.get("bound", -np.inf) for row in rows])
        figures["unsafe_decided"] = float((bounds >= true - EDGE).mean()) if np.isfinite(true) else None
        advised = np.array([row.get("default_bound", -np.inf) for row in rows])
        figures["unsafe_default"] = float((advised >= true - EDGE).mean()) if np.isfinite(true) else None
        figures["bounded_default"] = float(np.isfinite(advised).mean())
        figures["contradicts"] = float(np.mean([row.get("contradicts", False) for row in rows]))
        safe = np.array([row.get("bracket_safe", -np.inf) for row in rows])
        unsafe = np.array([row.get("bracket_unsafe", np.inf) for row in rows])
        figures["bracket_valid"] = float(((safe < true) & (unsafe >= true - EDGE)).mean())
    if np.isinf(true):
        return figures
    judged = [row for row in rows if not row.get("undecided", False)]
    ends = [row.get("lower", row.get("middle")) if _interval(row) else row.get("middle") for row in judged]
    figures["unsafe"] = sum(end is None or end > true + EDGE for end in ends) / count
    if not reported:
        return figures
    middle = np.array([row.get("middle", np.inf) for row in reported])
    inside = np.isfinite(middle)
    error = middle[inside] - true
    figures |= {
        "bias": float(error.mean()),
        "bias_se": float(error.std() / np.sqrt(len(error))),
        "rmse": float(np.sqrt((error**2).mean())),
        "rmse_se": float((error**2).std() / np.sqrt(len(error)) / 2 / max(np.sqrt((error**2).mean()), EDGE)),
    }
    with_interval = [row for row in reported if _interval(row)]
    if with_interval:
        low, high = (np.array([row.get(end, np.inf) for row in with_interval]) for end in ("lower", "upper"))
        figures["coverage"] = float(((low <= true + EDGE) & (high >= true - EDGE)).mean())
        figures["coverage_se"] = _se(figures["coverage"], len(with_interval))
        figures["width"] = float(np.median(high - low)) if np.isfinite(np.median(high)) else None
    return figures


def _interval(row: Figures) -> bool:
    return "lower" in row or "upper" in row or "lof_p" in row or not row.get("reported", False)


def _se(share: float, count: int) -> float:
    return float(np.sqrt(max(share * (1 - share), 0.0) / count))


def write_tables(result: Path) -> None:
    """Renew what stands between the markers."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    document = json.loads(result.read_text(encoding="utf-8"))
    README.write_text(before + "\n".join([BEGIN, *tables(document), END]) + rest.partition(END)[2], encoding="utf-8")


def tables(document: Figures) -> list[str]:
    """Gates, then the locator's cells, then the methods side by side."""
    rows = document["cells"]
    parts = [_gates(rows), _confounded(document["confounded"]), _wells(document["wells"]), _methods(rows), _cells(rows)]
    return ["", *(line for part in parts for line in (*part, ""))]


def _pick(rows: list[Figures], setting: str, shapes: Sequence[str], design: str = "grid") -> list[Figures]:
    wanted = [
        row for row in rows if row["method"] == "locator" and row["setting"] == setting and row["design"] == design
    ]
    return [row for shape in shapes for row in wanted if row["shape"] == shape]


def _gates(rows: list[Figures]) -> list[str]:
    """The release gates; an entry is the worst of its cells, with that cell's Monte Carlo standard error."""
    titles = [f"{s.name}, ψ {s.psi:.1f}" for s in (GATES, SMALL, THREE)]
    lines = [f"| gate | target | {titles[0]} | {titles[1]} | {titles[2]}: no gate |", "|---|---|---|---|---|"]

    def gate(
        title: str,
        shapes: Sequence[str],
        key: str,
        target: float,
        *,
        least: bool = False,
        design: str = "grid",
        gated: Sequence[Setting] = (GATES, SMALL),
    ) -> None:
        entries = []
        for setting in (GATES, SMALL, THREE):
            values = [row for row in _pick(rows, setting.name, shapes, design) if row.get(key) is not None]
            if not values:
                entries.append("–")
                continue
            size: Callable[[Figures], float] = lambda row: abs(row[key])  # noqa: E731
            worst = min(values, key=size) if least else max(values, key=size)
            where = f" ({worst['shape']})" if len(shapes) > 1 else ""
            verdict = _verdict(worst[key], _error(worst, key), target, least=least, gated=setting in gated)
            entries.append(verdict + where)
        _row(lines, title, target, entries, least=least)

    def mean_coverage(title: str, shapes: Sequence[str], target: float) -> None:
        entries = []
        for setting in (GATES, SMALL, THREE):
            values = [row for row in _pick(rows, setting.name, shapes) if "coverage" in row]
            mean = float(np.mean([row["coverage"] for row in values])) if values else 0.0
            error = float(np.sqrt(np.sum([row["coverage_se"] ** 2 for row in values]))) / max(len(values), 1)
            verdict = _verdict(mean, error, target, least=True, gated=setting is not THREE)
            entries.append(verdict if values else "–")
        _row(lines, title, target, entries, least=True)

    def lost_to_the_grid(title: str, shapes: Sequence[str], design: str, target: float) -> None:
        pairs = [
            (here, there)
            for here in _pick(rows, GATES.name, shapes)
            for there in _pick(rows, GATES.name, shapes, design)
            if here["shape"] == there["shape"] and "coverage" in here and "coverage" in there
        ]
        entry = "–"
        if pairs:
            here, there = max(pairs, key=lambda pair: pair[0]["coverage"] - pair[1]["coverage"])
            error = float(np.hypot(here["coverage_se"], there["coverage_se"]))
            entry = _verdict(here["coverage"] - there["coverage"], error, target) + f" ({here['shape']})"
        _row(lines, title, target, [entry, "–", "–"])

    gate("false report, no decline", NONE, "reported", 0.02)
    gate("false report, decline of 0.8 δ", ("drop 0.8 δ",), "reported", 0.05)
    gate("false report, decline of δ", ("drop δ",), "reported", 0.10)
    gate("coverage, each shape inside the families", INSIDE, "coverage", 0.85, least=True)
    mean_coverage("coverage, mean of the shapes inside", INSIDE, 0.89)
    gate("coverage, each shape outside", OUTSIDE, "coverage", 0.85, least=True)
    gate("coverage, A2 by its formula", FORMULAE, "coverage", 0.85, least=True)
    gate("coverage, A2, each finite spectrum", SPECTRA, "coverage", 0.85, least=True)
    gate("P(λ_L > true λ_OC)", (*MUST_LOSE, *FORMULAE), "unsafe", 0.08)
    gate("P(λ_L > true λ_OC), A2, finite spectra", SPECTRA, "unsafe", 0.08)
    gate("P(trained strength called safe ≥ true λ_OC)", (*MUST_LOSE, *FORMULAE, *SPECTRA), "unsafe_decided", 0.08)
    gate("RMSE, fast transition", FAST, "rmse", 0.15)
    gate("RMSE, slow or linear", SLOW, "rmse", 0.30)
    gate("bias, fast", FAST, "bias", 0.05)
    gate("bias, slow or linear", SLOW, "bias", 0.20)
    gate("power, drop of 2 δ where the noise has doubled", ("drop 2 δ",), "reported", 0.80, least=True)
    gate("power, drop of 2 δ before it doubles", ("drop 2 δ, early",), "reported", 0.80, least=True)
    gate("power, drop of 3 δ", ("drop 3 δ",), "reported", 0.95, least=True)
    gate("`NOT_REACHED` where nothing declines, δ 0.10", NONE, "not_reached", 0.90, least=True, gated=(GATES,))
    gate("median width, fast", FAST, "width", 0.5)
    gate("brackets valid", (*MUST_LOSE, *NONE), "bracket_valid", 0.95, least=True)
    lost_to_the_grid("adaptive points: coverage lost to the grid", LOSING, "adaptive", 0.08)
    gate("8 % collapses: coverage", LOSING, "coverage", 0.85, least=True, design="8 % collapses")
    for design in ("adaptive", "8 % collapses"):
        gate(f"{design}: P(λ_L > true λ_OC)", LOSING, "unsafe", 0.08, design=design)
    gate("8 % collapses: P(default calls safe ≥ true λ_OC)", LOSING, "unsafe_default", 0.08, design="8 % collapses")
    smooth = "smooth noise"
    gate("smooth noise: coverage", LOSING, "coverage", 0.85, least=True, design=smooth)
    gate("smooth noise: P(λ_L > true λ_OC)", LOSING, "unsafe", 0.08, design=smooth)
    gate("smooth noise: P(trained strength called safe ≥ true λ_OC)", LOSING, "unsafe_decided", 0.08, design=smooth)
    gate("smooth noise: brackets valid", (*LOSING, "flat"), "bracket_valid", 0.95, least=True, design=smooth)
    return lines


def _row(lines: list[str], title: str, target: float, entries: Sequence[str], *, least: bool = False) -> None:
    lines.append(f"| {title} | {'≥' if least else '≤'} {target:g} | " + " | ".join(entries) + " |")


def _verdict(value: float, error: float, target: float, *, least: bool = False, gated: bool = True) -> str:
    """A figure with its Monte Carlo standard error and, where there is a gate, whether it meets its target."""
    passed = abs(value) >= target if least else abs(value) <= target
    return f"{value:.3f} ± {error:.3f}" + (f" {'met' if passed else '**missed**'}" if gated else "")


def _error(row: Figures, key: str) -> float:
    """Monte Carlo standard error of a cell's figure: as measured, else that of a share of its repetitions."""
    return float(row[f"{key}_se"]) if f"{key}_se" in row else _se(min(abs(row[key]), 1.0), row["repetitions"])


def _confounded(rows: list[Figures]) -> list[str]:
    """Tier A3."""
    lines = [
        "**Confounded designs** (κ: how unevenly two batches share the classes). No joint error at the largest",
        "strength may lie below its floor, and κ = 0 may lose nothing.",
        "",
        "| κ | floor ½·d_JS² | joint error, mean (least) | accuracy kept | reported | not reached | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        joint = f"{row['joint_error']:.3f} ({row['least_joint_error']:.3f})"
        shares = " | ".join(_share(row[key]) for key in ("accuracy_kept", "reported", "not_reached"))
        lines += [f"| {row['confounding']:g} | {row['floor']:.3f} | {joint} | {shares} | {row['repetitions']} |"]
    return lines


def _wells(found: Figures) -> list[str]:
    """Tier B."""
    curves = (found["strengths"], found["retrieval_map_above_chance"], found["batch_probe_linear"])
    lines = [
        f"**Over-correction without a network** (real metrics on {found['data_sets']} simulated screens, analytic",
        f"filter; chance of the probe {found['chance_of_the_probe']:g}).",
        "",
        "| λ | " + " | ".join(f"{value:.3g}" for value in curves[0]) + " |",
        "|---|" + "---|" * len(curves[0]),
        "| retrieval mAP above chance | " + " | ".join(f"{value:.3f}" for value in curves[1]) + " |",
        "| batch probe | " + " | ".join(f"{value:.3f}" for value in curves[2]) + " |",
        "",
        "| δ | true log10 λ_OC | reported | coverage | unsafe λ_L | unsafe decided | poor fit | bias | RMSE | width |"
        " sweeps (disjoint) |",
        "|" + "---|" * 11,
    ]
    for delta, row in found["located"].items():
        keys = ("reported", "coverage", "unsafe", "unsafe_decided", "poor_fit")
        numbers = [_share(row.get(key)) for key in keys] + [_plain(row.get(key)) for key in ("bias", "rmse", "width")]
        lines.append(
            f"| {delta} | {row['true']:.2f} | {' | '.join(numbers)} | {row['repetitions']} ({row['disjoint_sweeps']}) |"
        )
    return lines


def _cells(rows: list[Figures]) -> list[str]:
    lines = [
        "| locator: setting, design | shape | true | n | reported | not reached | poor fit | coverage | unsafe λ_L |"
        " unsafe decided | bias | RMSE | width | bracket valid |",
        "|" + "---|" * 14,
    ]
    for row in rows:
        if row["method"] != "locator":
            continue
        design = "" if row["design"] == "grid" else f", {row['design']}"
        keys = ("reported", "not_reached", "poor_fit", "coverage", "unsafe", "unsafe_decided")
        numbers = [_with_error(row, key) for key in keys]
        numbers += [_with_error(row, key, 2) for key in ("bias", "rmse", "width")] + [_with_error(row, "bracket_valid")]
        true = "–" if row["true"] is None else f"{row['true']:.2f}"
        lines.append(
            f"| {row['setting']}{design} | {row['shape']} | {true} | {row['repetitions']} | {' | '.join(numbers)} |"
        )
    return lines


def _methods(rows: list[Figures]) -> list[str]:
    """The rejected methods on the same draws."""
    lines = []
    for setting in (GATES, THREE):
        lines += [
            f"{setting.name}: reported / coverage of the 90 % interval / unsafe / bias; – where there is no interval.",
            "",
            "| shape | " + " | ".join(METHODS) + " |",
            "|---|" + "---|" * len(METHODS),
        ]
        here = [row for row in rows if row["setting"] == setting.name and row["design"] == "grid"]
        for shape in dict.fromkeys(row["shape"] for row in here):
            found = {row["method"]: row for row in here if row["shape"] == shape}
            entries = [
                " / ".join(
                    [_share(found[m].get(key)) for key in ("reported", "coverage", "unsafe")]
                    + [_plain(found[m].get("bias"))]
                )
                if m in found
                else "–"
                for m in METHODS
            ]
            lines.append(f"| {shape} | " + " | ".join(entries) + " |")
        counts = {m: [row["repetitions"] for row in here if row["method"] == m] for m in METHODS}
        shown = ", ".join(f"{m} {min(own)}–{max(own)}" for m, own in counts.items() if own)
        lines += ["", f"Repetitions a cell: {shown}.", ""]
    return lines


def _with_error(row: Figures, key: str, digits: int = 3) -> str:
    """A cell's figure ± its Monte Carlo standard error."""
    if row.get(key) is None:
        return "–"
    return f"{row[key]:.{digits}f} ± {_error(row, key):.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".lstrip("0") if value < 1 else "1"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
