"""From the result file to the tables of tier C in benchmarks/README.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- tier C: written by benchmarks/tier_c/tables.py -->", "<!-- end of tier C -->"
COVERAGE, UNSAFE, FALSE = 0.85, 0.08, 0.05
"""Gates: least coverage, most unsafe bounds, most claims of over-correction where there is none."""
Figures = Mapping[str, Any]


def write_tables(result: Path) -> None:
    """Renew what stands between the markers."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    document = json.loads(result.read_text(encoding="utf-8"))
    README.write_text(before + "\n".join([BEGIN, *tables(document), END]) + rest.partition(END)[2], encoding="utf-8")


def tables(document: Figures) -> list[str]:
    """The references, the decision's two methods, the gates, the other methods."""
    parts = [_missing(document), _references(document), _decisions(document), _gates(document), _others(document)]
    return ["", *(line for part in parts for line in (*part, ""))]


def _missing(document: Figures) -> list[str]:
    """What the study still lacks."""
    size, lacking = document["reference"], list(document["not_run"])
    if size["seeds"] < size["planned_seeds"]:
        lacking.insert(0, f"seeds {size['seeds'] + 1} to {size['planned_seeds']} of the references")
    return [f"**Unfinished**: not run yet are {'; '.join(lacking)}."] if lacking else []


def _references(document: Figures) -> list[str]:
    size = document["reference"]
    lines = [
        f"**Dense references** ({size['strengths']} strengths × {size['seeds']} seeds each, λ = 0 and "
        f"{size['range'][0]:g} to {size['range'][1]:g}; B and T: composites of the deciding metrics, anchored; s.d. of",
        "a run of B about its strength, seed effect removed, and the correlation of what is left of a seed at two "
        "strengths a sub-sweep's step apart,",
        "which the decision estimates from each sweep; ± bootstrap over seeds).",
        "",
        "| case | B at 0 · best · largest λ | T at 0 · largest λ | s.d. · correlation | largest loss |"
        " true log10 λ_OC, δ 0.05 | δ 0.10 | runs lost | design d_JS | worker time |",
        "|" + "---|" * 10,
    ]
    for case in document["cases"].values():
        b, t = case["biological"], case["technical"]
        largest = case["deltas"]["0.1"]["truth"]
        lines.append(
            f"| {case['title']} | {b[0]:.3f} · {max(b):.3f} · {b[-1]:.3f} | {t[0]:.3f} · {t[-1]:.3f} | "
            f"{case['seed_sd']:.3f} · {case['neighbour_correlation']:.2f} | "
            f"{largest['largest']:.3f} ± {largest['largest_se']:.3f} | "
            f"{_truth(case, '0.05')} | {_truth(case, '0.1')} | {case['lost']} of {case['runs']} | "
            f"{case['design_djs']:.2f} | {case['seconds']} s |"
        )
    return lines


def _truth(case: Figures, key: str) -> str:
    true = case["deltas"][key]["truth"]
    reached = "" if true["reached"] in (0.0, 1.0) else f" (in {true['reached']:.0%} of bootstraps)"
    if true["log10_lambda_oc"] is None:
        return f"none{reached}"
    return f"{true['log10_lambda_oc']:.2f} ± {true['se']:.2f}{reached}"


def _decisions(document: Figures) -> list[str]:
    size = document["subsweeps"]
    lines = [
        f"**Sub-sweeps** ({size['repetitions']} of {size['strengths'] - 1} strengths × {size['seeds']} seeds a case; "
        "± jackknife over the reference's seeds, since sub-sweeps share",
        "runs). Claimed: a loss is called over-correction, without · with the sham arm. Coverage, and unsafe λ_L "
        "(above the truth): against the whole",
        "reference · against the seeds outside the sub-sweep. Conflicting: the metrics' points lie far apart and the "
        "earliest is followed;",
        "coverage, bias, RMSE and width are of the others (in brackets: coverage of the earliest metric's own point). "
        "Unsafe strength: a trained one",
        "at or above the truth is called safe.",
        "",
        "| case | δ | ψ | method | claimed · with sham | not reached | conflicting | coverage | unsafe λ_L |"
        " unsafe strength | bias | RMSE | width | states, with the sham arm |",
        "|" + "---|" * 14,
    ]
    for case in document["cases"].values():
        for key, at in case["deltas"].items():
            for method in ("posterior", "bracket"):
                found = at[method]
                claims = f"{_share(found['claimed'])} · {_error(found, 'claimed_with_sham')}"
                conflicting = _share(found.get("conflicting"))
                if "coverage_conflicting" in found:
                    conflicting += f" ({_share(found['coverage_conflicting'])})"
                states = ", ".join(f"{name} {count}" for name, count in list(found["states"].items())[:3])
                lines.append(
                    f"| {case['title']} | {key} | {found['psi']:.1f} | {method} | {claims} | "
                    f"{_share(found['not_reached'])} | {conflicting} | {_pair(found, 'coverage')} | "
                    f"{_pair(found, 'unsafe')} | "
                    f"{_error(found, 'unsafe_decided')} | {_plain(found.get('bias'))} | {_plain(found.get('rmse'))} | "
                    f"{_plain(found.get('width'))} | {states} |"
                )
    return lines


def _gates(document: Figures) -> list[str]:
    """What was promised, and where it is missed."""
    disjoint = document["reference"]["seeds"] // document["subsweeps"]["seeds"]
    lines = [
        "**Promises at δ 0.10.** Open: within two standard errors of the target, or nothing was seen to err; no more",
        f"than {disjoint} sub-sweeps have no seed in common, so a share of none says little of small ones.",
        "",
    ]
    cases = document["cases"].values()
    lost = [case for case in cases if case["deltas"]["0.1"]["truth"]["log10_lambda_oc"] is not None]
    real = [case for case in lost if case["overcorrects"]]
    checks = [
        (f"coverage of the posterior's interval ≥ {COVERAGE}", real, "posterior", "coverage", COVERAGE, True),
        (f"P(λ_L above the truth) ≤ {UNSAFE}", real, "posterior", "unsafe", UNSAFE, False),
        (f"P(a strength called safe is not), bracket, ≤ {UNSAFE}", lost, "bracket", "unsafe_decided", UNSAFE, False),
        (
            f"P(a strength called safe is not), posterior, ≤ {UNSAFE}",
            lost,
            "posterior",
            "unsafe_decided",
            UNSAFE,
            False,
        ),
    ]
    never = [case for case in cases if not case["overcorrects"]]
    for method in ("bracket", "posterior"):
        title = f"over-correction claimed where there is none, sham arm included, {method}, ≤ {FALSE}"
        checks.append((title, never, method, "claimed_with_sham", FALSE, False))
    for title, some, method, name, target, least in checks:
        entries = [
            f"{case['title']} {_error(found, name)} {_verdict(found, name, target, least=least)}"
            for case in some
            if (found := case["deltas"]["0.1"][method]).get(name) is not None
        ]
        lines.append(f"- {title}: {'; '.join(entries) or 'no case yet'}.")
    return [*lines, f"- {_order(document)}"]


def _verdict(found: Figures, name: str, target: float, *, least: bool) -> str:
    value, error = found[name], found.get(f"{name}_se", 0.0)
    if error == 0.0 or abs(value - target) < 2 * error:
        return "open"
    return "met" if (value > target) == least else "**missed**"


def _order(document: Figures) -> str:
    """Known direction: more overlap, earlier loss."""
    told = []
    for name in ("strong", "moderate", "none"):
        true = document["cases"].get(name, {}).get("deltas", {}).get("0.1", {}).get("truth")
        if true is not None:
            value = true["log10_lambda_oc"]
            told.append((float("inf") if value is None else value, document["cases"][name]["title"]))
    listed = "; ".join(f"{title}: {'none' if value == float('inf') else f'{value:.2f}'}" for value, title in told)
    right = all(first[0] <= second[0] for first, second in pairwise(told))
    return f"the more overlap, the earlier the true loss: {'yes' if right else '**no**'} ({listed})."


def _others(document: Figures) -> list[str]:
    lines = [
        "The five other methods on the same composites, δ 0.10: reported / coverage of the 90 % interval / unsafe /",
        "bias; – where there is no interval.",
        "",
    ]
    cases = document["cases"].values()
    names = next((list(case["deltas"]["0.1"]["others"]) for case in cases if case["deltas"]["0.1"]["others"]), [])
    lines += ["| case | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for case in cases:
        found = case["deltas"]["0.1"]["others"]
        entries = [
            " / ".join(
                (
                    *(_share(found[name].get(key)) for key in ("reported", "coverage", "unsafe")),
                    _plain(found[name].get("bias")),
                )
            )
            if name in found
            else "–"
            for name in names
        ]
        lines.append(f"| {case['title']} | {' | '.join(entries)} |")
    return lines


def _pair(found: Figures, key: str) -> str:
    first = _error(found, key)
    other = found.get(f"{key}_other_seeds")
    return first if other is None else f"{first} · {_share(other)}"


def _error(found: Figures, key: str) -> str:
    value = found.get(key)
    if value is None:
        return "–"
    error = found.get(f"{key}_se")
    return _share(value) + (f" ± {error:.3f}".replace("0.", ".") if error else "")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".lstrip("0") if value < 1 else "1"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
