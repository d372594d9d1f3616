"""The panel's speed."""

from __future__ import annotations

from tables.common import load

AIM_OVER_PEERS, AIM_OVER_PEERS_WELLS = 20, 10_000


def table() -> list[str]:
    """Its lines."""
    result = load("panel_speed")
    lines = [
        f"**The panel's speed** (simulated screens, {result['machine']['cpus']} cores, OMP_NUM_THREADS="
        f"{result['threads']}; `make benchmark-panel-speed`). Processor",
        "seconds, which other work on the machine changes less than the clock. The panel measures floors and ceilings",
        "as well, the peers (scib-metrics and copairs) the raw numbers alone, compilation by JAX and numba included,",
        "which every run pays and which weighs most at the smallest size.",
        "",
        "| wells × dimensions | whole panel | peak memory | what the peers measure, too | peers | ratio |",
        "|---|---|---|---|---|---|",
    ]
    notes = []
    for whole in result["summary"]["panel"]:
        wells, dimensions = whole["wells"], whole["dimensions"]
        ratio = result["summary"]["ratio"].get(str(wells)) if (whole["who"], dimensions) == ("panel", 256) else None
        least = "≥ " if ratio and ratio["unfinished"] else ""
        cells = [f"{wells:,} × {dimensions}{whole['who'].removeprefix('panel')}"]
        cells += [f"{whole['processor_seconds']:.1f} s", f"{whole['peak_gb']:.1f} GB"]
        cells.append(f"{whole['shared_processor_seconds']:.1f} s")
        cells.append(f"{least}{ratio['peers_processor_seconds']:.0f} s" if ratio else "not run")
        cells.append(f"{least}{ratio['over_same_metrics']:.1f}" if ratio else "–")
        lines.append(f"| {' | '.join(cells)} |")
        if ratio and ratio["unfinished"]:
            told = "; ".join(f"`{name}` {why}" for name, why in ratio["unfinished"].items())
            notes.append(f"Peers at {wells:,} wells, counted with what was used until they were stopped: {told}.")
    ratio = result["summary"]["ratio"][str(AIM_OVER_PEERS_WELLS)]
    met = "met" if ratio["over_same_metrics"] >= AIM_OVER_PEERS else "not met"
    least = "at least " if ratio["unfinished"] else ""
    notes.append(
        f"The aim of {AIM_OVER_PEERS}× on the same metrics at {AIM_OVER_PEERS_WELLS:,} wells is {met} "
        f"({least}{ratio['over_same_metrics']:.1f}; over the whole panel with its floors and ceilings: "
        f"{least}{ratio['over_whole_panel']:.1f})."
    )
    growth = result["summary"]["growth_exponent"]
    for part, title in (("shared", "what the peers measure, too"), ("whole", "the whole panel")):
        told = ", ".join(f"{exponent:.2f} from {span} wells" for span, exponent in growth.get(part, {}).items())
        notes += [f"Growth exponent of {title}: {told}."] if told else []
    for run in result["runs"]:
        if run["who"] == "peers" and run["wells"] == AIM_OVER_PEERS_WELLS:
            notes.append(
                f"Every metric of the peers at {run['wells']:,} wells had {run['limit_seconds']:.0f} processor "
                f"seconds and {run['limit_gb']:.0f} GB."
            )
        if run["who"] != "peers" and run.get("parts", 1) > 1:
            notes.append(
                f"The panel at {run['wells']:,} wells × {run['dimensions']} ran in {run['parts']} parts, and "
                "counts twice what metrics of two of them share."
            )
        key, steps = [run["who"], run["wells"], run["dimensions"]], run["steps"]
        if run["who"] != "peers" and key in result["not_run_to_the_end"]:
            spent = sum(step["processor_seconds"] for step in steps.values())
            peak = f", {max(step['peak_gb'] for step in steps.values()):.1f} GB" if steps else ""
            notes.append(
                f"The panel at {run['wells']:,} wells × {run['dimensions']} was not run to the end: {len(steps)} of "
                f"its {result['steps_of_the_panel']} steps, {spent:.0f} s{peak}."
            )
    return [*lines, "", *notes, ""]
