"""What the ridge critic costs."""

from __future__ import annotations

from tables.common import digits, load

CRITIC_LABELS = ("true", "permuted")


CRITIC_SCREENS = {"jump": "the real table, MLP", "demo": "the demo's screen, linear encoder"}


def table() -> list[str]:
    """Its lines."""
    result = load("critic")
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
            f"{true} / {permuted}, {digits(row['probe']) if row['probe'] else '–'}"
            for true, permuted, row in zip(kept["true"][1:], kept["permuted"][1:], of["true"][1:], strict=True)
        ]
        lines.append(f"| {CRITIC_SCREENS[screen]} | {penalty:g} | {items} | {' | '.join(cells)} |")
    return [*lines, ""]
