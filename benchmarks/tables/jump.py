"""The real table, with ABRA and with cpDistiller."""

from __future__ import annotations

from tables.common import STUDIES, VIEWS, digits, load, scores


def table() -> list[str]:
    """Its lines."""
    head = [
        "**Real image features** (JUMP-CP source_3, 9 batches × 8 compounds, 65 features; `make jump`, 5 seeds).",
        "Each entry: held-out accuracy of the compound / retrieval mAP across batches and different wells / balanced",
        "accuracy of a fresh batch probe. The encoder has learnt these compounds: with 8 of them none can be spared.",
    ]
    return _real_table("jump", head, second="margin")


def table_of_cpdistiller() -> list[str]:
    """Its lines."""
    if not (STUDIES / "jump_cpdistiller.json").exists():
        return []  # not run yet
    head = [
        "**cpDistiller on the same table** (batch, row and column as published, λ = 1 the published strength;",
        "`make jump-cpdistiller`, 3 seeds). Entries as above; it learns without the compounds' names. Every compound",
        "keeps its wells, so that row and column tell the compound.",
    ]
    return _real_table("jump_cpdistiller", head, second="triplet weight")


def _real_table(name: str, head: list[str], *, second: str) -> list[str]:
    result = load(name)
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
            f"| {VIEWS[row['view']]} | {row['margin']:g} | {scores(row['zero'])} | "
            f"λ = {row['best']['adversarial_weight']:.3g}: {scores(row['best'])} | "
            f"λ = {row['largest']['adversarial_weight']:.3g}: {scores(row['largest'])} | "
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
            controls.append(f"{label} {' / '.join(digits(n) for n in numbers)} ({title})")
        chances.append(f"{digits(row['chance']['batch_probe_linear'])} ({title})")
    lines += ["", f"Untrained: {'; '.join(controls)}. Chance of the probe: {' and '.join(chances)}.", ""]
    lines += [f"> {result['decision']['sentence']}", ""]
    return lines
