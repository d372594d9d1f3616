"""One round on a GPU: a block for every card that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tables.common import by_device

AIM_OVER_PLAIN, AIM_OF_PEAK = 3, 0.40


def table() -> list[str]:
    """Its lines."""
    lines = []
    for found in by_device("gpu"):
        device, beside = found["machine"]["device"], found["machine"]["cpus"]
        lines += [f"**One round on a GPU** ({device}, {beside} processors beside it; `make benchmark-gpu`).", ""]
        lines += [*_equality(found["equality"]), *_images(found["images"]), *_rest(found)]
        lines += ["", *_packs(found["packs"])]
    return lines


def _equality(equal: Mapping[str, Any]) -> list[str]:
    names = {
        "embeddings_after_20_steps": "coordinates of unit embeddings after 20 steps",
        "metrics_after_training": f"a metric's mean over {equal['cells']} cells after {equal['steps']} steps",
        "metrics_of_one_embedding": "metrics of one embedding",
        "image_losses_erm": f"losses of {equal['image_steps']} steps on images in fp32, relative",
        "image_losses_adversarial": "the same with an adversary",
    }
    asked = equal["tolerances"]
    told = [f"{title} {equal[name]:.0e} ({asked[name]:.0e})" for name, title in names.items()]
    missed = [name for name in asked if not equal["within"].get(name)]
    outcome = f"missed: {', '.join(missed)}" if missed else "all within"
    return [f"- Largest differences from the CPU (tolerance; {outcome}): {'; '.join(told)}."]


def _images(images: Mapping[str, Any]) -> list[str]:
    setting, rate, peak = images["setting"], images["images_a_second"]["ERM"], images["bf16_peak_tflops"]
    png, fp32, tf32 = (images[f"erm_times_plain_{way}"] for way in ("png", "resident_no_tf32", "resident"))
    met = "met" if min(png, fp32) >= AIM_OVER_PLAIN else "missed"
    share = images["erm_share_of_peak"]
    of_peak = "met" if share >= AIM_OF_PEAK else "missed"
    worst, free = images["worst_case_times_erm"], images["free_worst_case_times_erm"]
    return [
        f"- Images a second ({setting['backbone']}, {setting['side']} px, batch {setting['batch']}): {rate:,.0f} in "
        f"{setting['precision']}, {png:.1f} × a plain fp32 loop that reads PNGs and {fp32:.1f} × one on a resident "
        f"mini-batch (aim of {AIM_OVER_PLAIN} × {met}); {tf32:.1f} × that with TF32, PyTorch's default. The worst case "
        f"costs {worst:.1f} × ERM, without its ascent step {free:.1f} ×.",
        f"- That is {100 * share:.0f} % of the bf16 peak measured beside it ({peak:.0f} TFLOP/s); the aim of "
        f"{100 * AIM_OF_PEAK:.0f} % is {of_peak}.",
    ]


def _rest(found: Mapping[str, Any]) -> list[str]:
    shares = {key: one for key, one in found["shares"].items() if key != "seconds"}
    told = [f"{one['cells_a_minute']:,.0f} with {key}" for key, one in shares.items()]
    panel = found["panel"]
    return [
        f"- Cells a minute through Ray, trained and scored: {', '.join(told)}.",
        f"- Panel of {panel['wells']:,} × {panel['dimensions']}: {panel['metrics']} of {panel['of']} metrics in "
        f"{panel['wall_seconds']:.0f} s, then its time was over; slowest: {', '.join(panel['slowest'])}.",
    ]


def _packs(packs: Mapping[str, Any]) -> list[str]:
    setting, rates = packs["setting"], packs["cells_a_minute"]
    sizes = list(rates["cuda"])
    size = f"{setting['wells']:,} × {setting['features']}, {setting['steps']} steps"
    lines = [
        f"| cells a minute of training alone ({size}); cells in a pack: | {' | '.join(sizes)} |",
        f"|---|{'---|' * len(sizes)}",
    ]
    for where, title in (("cuda", "on the GPU"), ("cpu", f"on {setting['cpu_threads']} threads")):
        of_sizes = [f"{rates[where][each]:,.0f}" if each in rates[where] else "–" for each in sizes]
        lines.append(f"| {title} | {' | '.join(of_sizes)} |")
    return [*lines, ""]
