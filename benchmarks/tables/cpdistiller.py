"""cpDistiller beside the public code."""

from __future__ import annotations

from tables.common import STUDIES, load


def table() -> list[str]:
    """Its lines."""
    if not (STUDIES / "cpdistiller_parity.json").exists():
        return []  # not run yet
    result = load("cpdistiller_parity")
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
