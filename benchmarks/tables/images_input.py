"""Images into the training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tables.common import by_device

AIM_OVER_PNGS = 10


def table() -> list[str]:
    """Its lines."""
    return [line for result in by_device("images_input") for line in _images_input_of(result)]


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
