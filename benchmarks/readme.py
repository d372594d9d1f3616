"""The figures of the documentation, written from the committed result files.

python benchmarks/readme.py        rewrites what stands between the two markers
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- figures: written by benchmarks/readme.py -->", "<!-- end of figures -->"
VIEWS = {"held_out_plates": "correct this screen", "held_out_batches": "generalise to new batches"}


def _load(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return data


def _number(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def _at(at: dict[str, Any]) -> str:
    """Accuracy / mAP / batch probe at one strength."""
    return " / ".join(_number(at[m]["mean"]) for m in ("perturbation_accuracy", "retrieval_map", "batch_probe_linear"))


def _jump() -> list[str]:
    head = [
        "**Real image features** (JUMP-CP source_3, 9 batches × 8 compounds, 65 features; `make jump`, 5 seeds).",
        "Each entry: held-out accuracy of the compound / retrieval mAP across batches and different wells / balanced",
        "accuracy of a fresh batch probe. The encoder has learnt these compounds: with 8 of them none can be spared.",
    ]
    return _real_table("jump", head, second="margin")


def _jump_cpdistiller() -> list[str]:
    if not (HERE / "jump_cpdistiller.json").exists():
        return []  # not run yet
    head = [
        "**cpDistiller on the same table** (batch, row and column as published, λ = 1 the published strength;",
        "`make jump-cpdistiller`, 3 seeds). Entries as above; it learns without the compounds' names. Every compound",
        "keeps its wells, so that row and column tell the compound.",
    ]
    return _real_table("jump_cpdistiller", head, second="triplet weight")


def _real_table(name: str, head: list[str], *, second: str) -> list[str]:
    result = _load(name)
    lines = [
        *head,
        "",
        f"| view | {second} | λ = 0 | best λ for biology | largest λ | state | safe up to · unsafe from |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(result["rows"], key=lambda r: (r["view"] != "held_out_plates", r["margin"])):
        curve = next(c for c in result["decision"]["curves"][row["view"]] if c["margin"] == row["margin"])
        ends = [f"{curve[key]:.3g}" if curve[key] is not None else "–" for key in ("safe_up_to", "unsafe_from")]
        lines.append(
            f"| {VIEWS[row['view']]} | {row['margin']:g} | {_at(row['zero'])} | "
            f"λ = {row['best']['adversarial_weight']:.3g}: {_at(row['best'])} | "
            f"λ = {row['largest']['adversarial_weight']:.3g}: {_at(row['largest'])} | "
            f"`{row['state']}` | {' · '.join(ends)} |"
        )
    controls, chances = [], []
    for view, title in VIEWS.items():
        row = next((r for r in result["rows"] if r["view"] == view), None)
        if row is None:
            continue
        for control, label in (("control:raw", "raw"), ("control:batch_standardised", "standardised per batch")):
            found = row["controls"][control]
            numbers = [found[m] for m in ("perturbation_accuracy", "retrieval_map", "batch_probe_linear")]
            controls.append(f"{label} {' / '.join(_number(n) for n in numbers)} ({title})")
        chances.append(f"{_number(row['chance']['batch_probe_linear'])} ({title})")
    lines += ["", f"Untrained: {'; '.join(controls)}. Chance of the probe: {' and '.join(chances)}.", ""]
    lines += [f"> {result['decision']['sentence']}", ""]
    return lines


def _bound(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _followed() -> list[str]:
    if not (HERE / "jump_followed.json").exists():
        return []  # not run yet
    result = _load("jump_followed")
    sides = result["before"], result["after"]

    def row(title: str, entries: list[str]) -> str:
        return f"| {title} | {' | '.join(entries)} |"

    def bounds(curve: dict[str, Any]) -> str:
        return f"{_bound(curve['safe_up_to'])} · {_bound(curve['unsafe_from'])}"

    def posterior(curve: dict[str, Any]) -> str:
        at = curve["interval"]
        told = f"`{curve['state']}`"
        if at is not None and at["median"] is not None:
            told += f" {at['median']:.3g} ({_bound(at['lower'])} to {_bound(at['upper'])})"
        return told + (f", falls back: {curve['fallback'].replace('_', ' ')}" if curve["fallback"] else "")

    def mechanism(curve: dict[str, Any]) -> str:
        found = curve["mechanism"]
        if found is None or found["loss_at"] is None:
            return "–" if found is None else str(found["verdict"]).replace("_", " ")
        at = next(point for point in found["points"] if point["strength"] == found["loss_at"])
        lost = "" if at["drawdown"] is None else f", sham loses {at['drawdown']:.1%} at λ = {at['strength']:.3g}"
        return f"{found['verdict'].replace('_', ' ')}{lost}"

    declared = [side["declared"] for side in sides]
    lines = [
        "**The same table before and after following the tool's next points** (margin "
        f"{declared[0]['margin']:g}, correct this screen; `make jump-followed`).",
        "",
        "| | grid sweep | after its next points |",
        "|---|---|---|",
        row("strengths × seeds, trainings", [f"{c['strengths']} × {c['seeds']}, {c['runs']}" for c in declared]),
        row("state", [f"`{c['state']}`" for c in declared]),
        row("safe up to · unsafe from λ", [bounds(c) for c in declared]),
        row("by the posterior (not what decides)", [posterior(side["posterior"]) for side in sides]),
        row("mechanism", [mechanism(c) for c in declared]),
        row("fresh seeds", ["–" if not side["confirmation"] else side["confirmation"] for side in sides]),
        row("next points, with what they cost by estimate", [side["next_points"]["text"] or "none" for side in sides]),
        "",
    ]
    for number, made in enumerate(result["rounds"], start=1):
        strengths = ", ".join(f"{strength:.3g}" for strength in made["strengths"])
        why = f" ({made['why']})" if made["why"] else ""
        lines.append(
            f"{number}. {made['what']}{why}: λ = {strengths}, "
            f"{len(made['seeds'])} seeds, {made['cells']} cells, {made['worker_seconds']:.0f} s of one worker."
        )
    return [*lines, ""]


def _adversaries() -> list[str]:
    result = _load("adversaries")
    lines = [
        "**Which adversary** (JUMP-CP source_3, margin 0.3, 5 seeds; `make benchmark-adversaries`). Each entry:",
        "held-out accuracy / retrieval mAP / balanced accuracy of a fresh linear batch probe, at λ = 0, at",
        "the λ that is best for biology, and at the λ with the lowest batch probe of those that keep 95 % of the",
        "retrieval above chance.",
        "",
        "| view | input | adversary | λ = 0 | best λ for biology | lowest batch probe that keeps retrieval |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(result["rows"], key=lambda r: (r["view"] != "held_out_plates", r["input"] != "none")):
        best, most = row["best"], row["most_removed"]
        lines.append(
            f"| {VIEWS[row['view']]} | {row['input']} | {row['adversary']} | {_at(row['zero'])} | "
            f"λ = {best['adversarial_weight']:g}: {_at(best)} | λ = {most['adversarial_weight']:g}: {_at(most)} |"
        )
    return [*lines, ""]


CRITIC_LABELS = ("true", "permuted")
CRITIC_SCREENS = {"jump": "the real table, MLP", "demo": "the demo's screen, linear encoder"}


def _critic() -> list[str]:
    result = _load("critic")
    strengths = sorted({row["adversarial_weight"] for row in result["rows"]} - {0.0})
    lines = [
        f"**What the ridge critic costs by itself** (held-out plates, margin 0, {result['seeds']} seeds; "
        "`make benchmark-critic`). Each entry:",
        "biology in % of λ = 0 with the true batch labels / with permuted ones, and the balanced accuracy of a fresh",
        "probe (true labels). What permuted labels cost is damage to the training.",
        "",
        f"| screen | penalty | items a batch | {' | '.join(f'λ = {strength:g}' for strength in strengths)} |",
        f"|---|---|---|{'---|' * len(strengths)}",
    ]
    rows = {(r["screen"], r["penalty"], r["items"], r["labels"], r["adversarial_weight"]): r for r in result["rows"]}
    for screen, penalty, items in dict.fromkeys(key[:3] for key in rows):
        of = {labels: [rows[screen, penalty, items, labels, s] for s in (0.0, *strengths)] for labels in CRITIC_LABELS}
        kept = {
            labels: [f"{100 * row['biology'] / found[0]['biology']:.0f}" if row["biology"] else "lost" for row in found]
            for labels, found in of.items()
        }
        cells = [
            f"{true} / {permuted}, {_number(row['probe']) if row['probe'] else '–'}"
            for true, permuted, row in zip(kept["true"][1:], kept["permuted"][1:], of["true"][1:], strict=True)
        ]
        lines.append(f"| {CRITIC_SCREENS[screen]} | {penalty:g} | {items} | {' | '.join(cells)} |")
    return [*lines, ""]


def _packs() -> list[str]:
    result = _load("packs")
    lines = [
        f"**Packs** ({result['measured']['packs']['cells']} cells of 500 steps, {result['machine']['cpus']} cores; "
        "`make benchmark-packs`). Overhead: share of worker time that is neither training nor scoring.",
        "",
        "| | wall time | cells a minute | overhead | times packs |",
        "|---|---|---|---|---|",
    ]
    for name, found in result["measured"].items():
        lines.append(
            f"| {name} | {found['wall_seconds']:.0f} s | {found['cells_per_minute']:.0f} | "
            f"{100 * found['overhead_share']:.0f} % | {result['times_packs'][name]:.1f} |"
        )
    return [*lines, ""]


def _images_demo() -> list[str]:
    result = _load("images_demo")
    first = result["runs"]["confounded"]
    lines = [
        "**The image demo** (`sweeper demo --images`; `make benchmark-images-demo`). Each entry: biology B / raw",
        f"accuracy of a fresh batch probe (chance {_number(first['chance_of_the_probe'])}), margin 0, in the view that",
        "decides. Loss: share of the best B. Time: processor seconds of the whole run where it was not interrupted.",
        "",
        "| simulated design, encoder | λ = 0 | λ = 3 | λ = 300 | loss at λ = 3 · 300 | state | cells | time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, run in result["runs"].items():
        at = {row["adversarial_weight"]: row for row in run["strengths"]}
        shown = [at[0.0], at[3.0], at[300.0]]
        entries = [f"{_number(row['biology'])} / {_number(row['batch_probe_linear']['mean'])}" for row in shown]
        design, _, road = name.partition(", ")
        cells = ", ".join(f"{count} {status}" for status, count in run["cells"].items())
        used = run.get("processor_seconds")
        time = "–" if used is None else f"{used:.0f} s"
        lines.append(
            f"| {design}, {road or 'frozen'} | {' | '.join(entries)} | "
            f"{shown[1]['loss']:.0%} · {shown[2]['loss']:.0%} | `{run['state']}` | {cells} | {time} |"
        )
    return [*lines, ""]


ROADS = {"grid": "plain grid", "random": "random", "tpe": "TPE (Optuna)", "locate": "locate"}


def _locate() -> list[str]:
    result = _load("locate")
    low, high = result["range"]
    repetitions = " and ".join(dict.fromkeys(str(found["repetitions"]) for found in result["shapes"].values()))
    lines = [
        f"**Trainings until the point is known as well** ({repetitions} repetitions a curve, "
        f"{result['seeds']} seeds, σ {result['sigma']:g}, δ {result['delta']:g}, λ from {low:g} to {high:g};",
        "`make benchmark-locate`). Width: median of the 90 % interval of λ_OC, in decades; unsafe: bound above the",
        "truth. Last column: trainings at which a road reaches the median width at which locate ended.",
        "",
        "| curve | road | trainings | width | coverage (± SE) | unsafe | trainings for locate's width |",
        "|---|---|---|---|---|---|---|",
    ]
    for shape, found in result["shapes"].items():
        for road, sizes in found["roads"].items():
            need = sizes[-1]["trainings"] if road == "locate" else found["trainings_for_locates_width"][road]
            for place, size in enumerate(sizes):
                last = ("not reached" if need is None else f"{need:.0f}") if place == len(sizes) - 1 else ""
                lines.append(
                    f"| {shape} | {ROADS[road]} | {size['trainings']:.0f} | {size['width']:.2f} | "
                    f"{size['coverage']:.2f} (± {size['coverage_se']:.2f}) | {size['unsafe']:.3f} | {last} |"
                )
    return [*lines, "", *_of_the_grid(result["shapes"]), ""]


AIM_OF_THE_GRID = 0.5


def _of_the_grid(shapes: dict[str, Any]) -> list[str]:
    """How locate stands against its aim."""
    said = []
    for shape, found in shapes.items():
        share = found["share_of_the_grid"]
        low, high = ("less" if end is None else f"{end:.2f}" for end in found["share_of_the_grid_95"])
        if share is None:
            said.append(f"{shape}: no grid tried reaches its width")
        else:
            verdict = "met" if share <= AIM_OF_THE_GRID else "missed"
            said.append(f"{shape} {share:.2f} (95 % of bootstraps over repetitions: {low} to {high}), {verdict}")
    return [f"Locate's trainings as a share of the grid's, aim at most {AIM_OF_THE_GRID:g}: {'; '.join(said)}."]


AIM_OVER_PEERS, AIM_OVER_PEERS_WELLS = 20, 10_000


def _cpdistiller() -> list[str]:
    if not (HERE / "cpdistiller_parity.json").exists():
        return []  # not run yet
    result = _load("cpdistiller_parity")
    lines = [
        f"**cpDistiller beside the public code** ({result['public']};",
        "`make benchmark-cpdistiller`). Losses at the same weights, rows and noise, ours · public; last, the largest",
        "relative difference of a loss and of a parameter's gradient.",
        "",
        "| table | rows × features | autoencoder | triplets | adversary | losses | gradients |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in result["tables"].items():
        losses = found["losses"]
        told = [
            " · ".join(f"{sum(losses[term][side] for term in terms):.4f}" for side in ("ours", "public"))
            for terms in (("vae",), ("triplets",), ("batch", "row", "column"))
        ]
        worst = max(each["relative_difference"] for each in losses.values())
        lines.append(
            f"| {name} | {found['training_rows']} × {found['features']} | {' | '.join(told)} | {worst:.0e} | "
            f"{found['gradients']['largest_relative_difference']:.0e} |"
        )
    trained = {name: found for name, found in result["tables"].items() if "panel" in found}
    lines += [
        "",
        "The panel of both embeddings on held-out plates at λ = 1, mean ± s.d. over seeds (0: floor, 1: ceiling).",
        *(f"{name}: {len(each['seeds'])} seeds of {each['epochs']} epochs." for name, each in trained.items()),
        *(f"{name}: not measured yet." for name in result["tables"] if name not in trained),
        "",
        "| table | metric | raw | ours | public |",
        "|---|---|---|---|---|",
    ]
    for name, found in trained.items():
        for metric, raw in found["panel"]["raw"].items():
            sides = [found["panel"][side][metric] for side in ("ours", "public")]
            told = [f"{side['mean']:.3f} ± {side['sd']:.3f}" for side in sides]
            lines.append(f"| {name} | `{metric}` | {raw:.3f} | {' | '.join(told)} |")
    lines += [
        "",
        "Pairs of neighbours, between · within levels, and how many of the public code's, which are approximate, are",
        "among the exact ones here. Noise at test time, root mean square over the spread of wells: how far a draw of",
        "the public code, the softmax in its place here, and one at the last temperature are from the mean of draws.",
        "",
        "| table | pairs, ours | pairs, public | of these here | a draw | softmax | cooled |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in result["tables"].items():
        pairs, noise = found["neighbours"], found.get("test_time_noise_of_public", {})
        told = [" · ".join(str(pairs[kind][side]) for kind in ("mutual", "within")) for side in ("ours", "public")]
        shares = [pairs[kind]["of_public_in_ours"] for kind in ("mutual", "within")]
        told.append(" · ".join("–" if share is None else f"{100 * share:.1f} %" for share in shares))
        told += [f"{100 * noise[kind]:.1f} %" if noise else "–" for kind in ("between_draws", "softmax", "cooled")]
        lines.append(f"| {name} | {' | '.join(told)} |")
    return [*lines, ""]


def _panel_speed() -> list[str]:
    result = _load("panel_speed")
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


AIM_OVER_PNGS = 10


def _by_device(name: str) -> list[dict[str, Any]]:
    """The result files of a script, the CPU's first, then a GPU's each."""
    paths = sorted(HERE.glob(f"{name}*.json"), key=lambda path: (path.stem != name, path.stem))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _images_input() -> list[str]:
    return [line for result in _by_device("images_input") for line in _images_input_of(result)]


def _images_input_of(result: Mapping[str, Any]) -> list[str]:
    machine = result["machine"]
    own = machine["device"] == "cpu"
    clock = [
        f"at the start; `{result['command']}`): images a processor second, which other work on the machine",
        "hardly changes; in brackets a second as it was. Reading alone is reading alone, no training input: what is",
        "left to the host where a GPU augments.",
    ]
    if not own:
        clock = [
            f"at the start; `{result['command']}`): images a processor second, in brackets a second; times PNGs",
            "by the clock. Reading alone is reading alone, no training input.",
        ]
    lines = [
        f"**Images into the training step** (mini-batches of {result['batch']}, {machine['cpus']} cores, device "
        f"{machine['device']}, load average {machine['load_average']:g}",
        *clock,
        "",
        "| files | PNGs in a DataLoader | packed and augmented | times PNGs | packed, reading alone | times PNGs |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in result["measured"].items():
        cells = [
            f"{way['images_per_processor_second']:,.0f} ({way['images_per_second']:,.0f})"
            for way in (found["ways"][key] for key in ("png", "packed", "reading"))
        ]
        times = found["times_png"]
        lines.append(
            f"| {name} | {cells[0]} | {cells[1]} | {times['packed']:.1f} | {cells[2]} | {times['reading']:.0f} |"
        )
    augmented = [found["times_png"]["packed"] for found in result["measured"].values()]
    if min(augmented) >= AIM_OVER_PNGS:
        verdict = f"The aim of {AIM_OVER_PNGS}× is met with augmentation on {machine['device']}."
    else:
        verdict = (
            f"The aim of {AIM_OVER_PNGS}× is missed where the {machine['device']} augments (from {min(augmented):.1f}× "
            f"to {max(augmented):.1f}×): there augmentation takes most of the time, not reading."
        )
    full = result["full_size"]
    before, opened = (sum(full[key].values()) for key in ("mb_before", "mb_opened"))
    after = {int(count): sum(at.values()) for count, at in full["mb_after_images"].items()}
    told = ", ".join(f"{resident:,.0f} MB after {count:,} images" for count, resident in sorted(after.items()))
    return [
        *lines,
        "",
        verdict,
        f"Resident memory of a process on a packed screen of {full['bytes'] / 1e9:.1f} GB "
        f"({' × '.join(f'{n:,}' for n in full['shape'])}): {before:,.0f} MB before it is opened,",
        f"{opened:,.0f} MB when opened, {told} read at random.",
        "",
    ]


AIM_OVER_PLAIN, AIM_SHARE = 3, 0.10


def _images_training() -> list[str]:
    lines = [
        "**Training on images** (batch 72; seconds are of the process on a CPU, of the clock on a GPU): this trainer's",
        "ERM against a plain fp32 loop that decodes PNGs as WILDS' example does; the part of its step that is not",
        "forward, backward or optimiser; the worst case against ERM, and against its floor of one more forward and",
        "backward.",
        "",
        "| device | setting | plain, images/s | ERM, images/s | times plain | beside passes | worst case | × floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    verdicts = []
    for result in _by_device("images_training"):
        setting, rates = result["setting"], result["images_a_second"]
        step = result["seconds_a_step"]
        floor = step["two passes, resident"] + step["ERM"] - step["ERM, resident"]
        times, share = result["erm_times_plain_png"], result["share_not_forward_backward_optimiser"]
        lines.append(
            f"| {result['device']} | {setting['backbone']}, {setting['side']} px, {setting['precision']} | "
            f"{rates['plain, PNG']:,.0f} | {rates['ERM']:,.0f} | {times:.2f} | {100 * share:.1f} % | "
            f"{result['worst_case_times_erm']:.2f} | {step['worst case'] / floor:.2f} |"
        )
        met = [
            f"{AIM_OVER_PLAIN}× a plain loop {'met' if times >= AIM_OVER_PLAIN else 'missed'}",
            f"at most {100 * AIM_SHARE:.0f} % beside the passes {'met' if share <= AIM_SHARE else 'missed'}",
        ]
        if not result["device"].startswith("CPU"):
            verdicts.append(f"Aims on {result['device']}: {'; '.join(met)}.")
    none = "The aims (3× a plain loop, at most 10 % beside the passes) are about a GPU; none has been measured."
    return [*lines, "", *(verdicts or [none]), ""]


def _causes() -> list[str]:
    result = _load("causes")
    lines = [
        "**Screens whose cause is known, with real training** (`make benchmark-causes`; two simulated screens a case,",
        "4 seeds, held-out perturbations, sham arm). Removal: mean over the screens at λ = 0 / at the advice / at the",
        'largest λ; 1 is chance. "Counts": on how many screens removal is shown to improve by the amount that counts.',
        "The reader beside T: the same decisions with the strongest reader of the batch alone.",
        "",
        "| case | judged by | removal | counts | state | advised λ | attributed to |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["summary"]:
        removal = " / ".join("–" if row["removal"][at] is None else _number(row["removal"][at]) for at in PLACES)
        states = ", ".join(f"`{state}`" for state in dict.fromkeys(row["states"]))
        advised = ", ".join("none" if weight is None else f"{weight:g}" for weight in row["advised"])
        attributed = ", ".join(dict.fromkeys(str(verdict or "–") for verdict in row["attributed"]))
        lines.append(
            f"| {row['case']} | {row['reading']} | {removal} | {row['removal_counts']} of {row['screens']} | "
            f"{states} | {advised} | {attributed} |"
        )
    cases = [f"- {name}: {case['truth']}." for name, case in result["cases"].items()]
    return [*lines, "", *cases, ""]


PLACES = ("0", "advised", "largest")


def _verdicts() -> list[str]:
    result = _load("verdicts")
    lines = [
        "**Three screens side by side** (held-out plates; `make verdicts`). Each entry: T / how far the strongest",
        "reader is from reading the batch (1: chance), and the balanced accuracy it reads it with.",
        "",
        "| screen | state | λ = 0 | at the advice | at the largest λ |",
        "|---|---|---|---|---|",
    ]
    for title, row in result["screens"].items():
        entries = []
        for place in ("zero", "advised", "largest"):
            at = row[place]
            if at is None:
                entries.append("no advice")
                continue
            removed = f"{_number(at['technical'])} / {_number(at['reader'])}" if at["technical"] is not None else "–"
            where = "" if place == "zero" else f"λ = {at['strength']:.3g}: "
            entries.append(f"{where}{removed}, read at {_number(at['accuracy'])}")
        size = f"{row['strengths']} λ × {row['seeds']} seeds, {row['steps']} steps"
        lines.append(f"| {title} ({size}) | `{row['state']}` | {' | '.join(entries)} |")
    (compounds,) = result["BBBC021, compounds"].values()
    lines.append(f"| BBBC021, compounds | {compounds['outlook']}: `run` stops before training | – | – | – |")
    quoted = [f"> {title}: {row['sentence']}\n>" for title, row in result["screens"].items()]
    return [*lines, "", *"\n".join(quoted).removesuffix("\n>").splitlines(), ""]


def _compared() -> list[str]:
    """Corrections side by side, a table a screen."""
    titles = {
        "demo": "The demo's simulated screen",
        "jump": "JUMP-CP source_3, as the quick answer reads it",
        "bbbc021": "BBBC021 (biology: mechanisms)",
    }
    heads = {
        "method": "method",
        "state": "state",
        "safe": "safe range",
        "advised": "advised",
        "technical": "T there",
        "biological": "B there",
        "published": "published setting",
        "worse": "against the best",
    }
    lines = [
        "**Corrections side by side** (`make benchmark-methods-compared`; 3 seeds, no sham arm). T is batch removal, B",
        "biology, 0 at chance and 1 the best there can be, with 90 % intervals.",
        "",
    ]
    result = _load("methods_compared")
    for name, title in titles.items():
        if name not in result:
            continue
        found = result[name]
        lines += [f"*{title}*: {found['headline']}", ""]
        lines += ["| " + " | ".join(heads.values()) + " |", "|" + "---|" * len(heads)]
        lines += ["| " + " | ".join(row[key] for key in heads) + " |" for row in found["rows"]]
        lines.append("")
    return lines


def _coverage() -> list[str]:
    """Whether what is called safe is safe, for curves without seed noise."""
    result = _load("methods_coverage")
    lines = [
        f"**Error bars without seeds** (`make benchmark-methods-coverage`; {result['perturbations']} perturbations,",
        "6 batches × 3 plates, δ = 10 %). Counts of simulated screens: a strength above the truth called safe; a loss",
        "established below the truth, or where there is none of δ; the point located; its 90 % interval covers the",
        "truth; the interval lies above it whole.",
        "",
        "| loss | bounds about | seeds | called safe above truth | loss too early | located | covered | above |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = ("called_safe_above_truth", "loss_established_too_early", "located", "covered", "interval_above_truth")
    for row in result["rows"]:
        counts = [f"{row[key]['count']} of {row[key]['of']}" for key in keys]
        about = row["target"].replace("_", " ")
        lines.append(f"| {row['scenario']} | {about} | {row['seeds']} | " + " | ".join(counts) + " |")
    return [*lines, ""]


def _chaos() -> list[str]:
    """What came of sweeps that were disturbed at random moments."""
    if not (HERE / "chaos.json").exists():
        return []  # not run yet
    return [*_load("chaos")["table"], ""]


PAGES = {
    HERE.parent / "docs/how-to/faults.md": (_chaos,),
    HERE.parent / "docs/benchmarks/measured.md": (
        _jump,
        _jump_cpdistiller,
        _compared,
        _followed,
        _packs,
        _images_demo,
    ),
    HERE / "README.md": (
        _verdicts,
        _causes,
        _adversaries,
        _critic,
        _cpdistiller,
        _coverage,
        _locate,
        _panel_speed,
        _images_input,
        _images_training,
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
