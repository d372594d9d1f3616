"""Training on images."""

from __future__ import annotations

from tables.common import by_device

AIM_OVER_PLAIN, AIM_SHARE = 3, 0.10


def table() -> list[str]:
    """Its lines."""
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
    for result in by_device("images_training"):
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
    none = "The aims (3× a plain loop, at most 10 % beside the passes) are about a GPU: see the round on one."
    return [*lines, "", *(verdicts or [none]), ""]
