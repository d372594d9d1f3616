"""Targets: do perturbations that share a target, or mechanism of action, look alike?

A perturbation may have several ("A|B"): it shares one with every perturbation that has one of them, and counts towards
each of them where a metric is a mean over targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweeper.metrics.biological.target_sets import TargetSets, target_sets
from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric, Unit, unit_rows
from sweeper.metrics.layout import Absence, BoolArray, Layout, signed_groups
from sweeper.metrics.ranking import Nearest, Select, mean_by_group, nearest_shares, rank
from sweeper.metrics.resampling import weighted_mean
from sweeper.metrics.units import query_units
from trainers.base import IntArray

_TAIL = 0.05


@dataclass(frozen=True, eq=False)
class _Annotated:
    """The p non-negative test perturbations with a target.

    Attributes:
        target: the sets of targets of the p.
        scored: (p,) whether its phenotype is judged.
        names: the p perturbations, sorted.
        wells: (p,) number of rows behind each.
        code: (n_known,) which of the p each row with a target is of.
    """

    target: TargetSets
    scored: BoolArray
    names: tuple[str, ...]
    wells: IntArray
    code: IntArray

    def pairs(self) -> tuple[IntArray, IntArray]:
        """Places among the scored perturbations of all pairs of them."""
        first, second = np.triu_indices(int(self.scored.sum()), k=1)
        return first, second

    def known(self) -> BoolArray:
        """Which of the pairs share a target."""
        target = self.target.of(self.scored)
        first, second = self.pairs()
        shared: BoolArray = target.shared[target.code[first], target.code[second]]
        return shared


def target_consistency(evaluation: Evaluation) -> Measurement:
    """Phenotypic consistency: normalised mAP of perturbations that share a target, among all with one; 1 is best.

    A perturbation is its consensus, the median of its unit rows. Queries are the scored perturbations; candidates are
    all non-negative test perturbations with a target. Value is the mean over targets of the mean over perturbations.
    Consensus averages batches out, so a batch effect in a balanced design does not show here, and there is no value by
    batch.
    """
    if (absence := evaluation.once(without_sharing)) is not None:
        return Measurement.absent(absence)
    found = evaluation.once(_annotated)
    target = found.target

    def select(some: IntArray) -> tuple[BoolArray, BoolArray]:
        same = target.shared[target.code[some, None], target.code]
        return same & (some[:, None] != np.arange(len(target.code))), ~same

    ranking = rank(evaluation.once(_consensus), np.flatnonzero(found.scored), select, evaluation.arrays)
    units = (
        Unit("perturbation", found.names[query], float(value), int(found.wells[query]))
        for query, value in zip(ranking.queries, ranking.normalised, strict=True)
    )
    perturbations = np.unique(evaluation.test_wells["perturbation"].to_numpy(dtype=str))
    code = np.searchsorted(perturbations, np.array(found.names)[ranking.queries])
    place, group = target.by_target(ranking.queries)
    weighted = weighted_mean(ranking.normalised[place], code[place], len(perturbations), group)
    value, raw, chance = (
        mean_by_group(column[place], group) for column in (ranking.normalised, ranking.precision, ranking.expected)
    )
    return Measurement(value, raw=raw, chance=chance, reason=target.note, units=tuple(units), weighted=weighted)


def target_recall(evaluation: Evaluation) -> Measurement:
    """Chance-corrected share of known pairs among the most similar and most dissimilar 5 % of all pairs; 1 is best.

    Known pairs are scored perturbations that share a target; a pair counts when the cosine of its two consensus
    profiles is at or below the 5th or at or above the 95th percentile of all pairs of scored perturbations with a
    target (EFAAR: Celik et al., PLoS Comput Biol 2024, doi:10.1371/journal.pcbi.1012463). Raw is their share, chance
    the share of all pairs (0.10, more where pairs are few), value (raw - chance) / (1 - chance).
    """
    if (absence := evaluation.once(without_pairs)) is not None:
        return Measurement.absent(absence)
    found = evaluation.once(_annotated)
    unit, target = evaluation.once(_consensus)[found.scored], found.target
    (first, second), known = found.pairs(), found.known()
    cosine = (unit @ unit.T)[first, second]
    low, high = np.quantile(cosine, [_TAIL, 1.0 - _TAIL])
    extreme = (cosine <= low) | (cosine >= high)
    raw, chance = float(extreme[known].mean()), float(extreme.mean())
    if chance == 1.0:
        return Measurement(None, reason="every pair of perturbations is equally similar")
    return Measurement((raw - chance) / (1.0 - chance), raw=raw, chance=chance, reason=target.note)


def nsc_accuracy(evaluation: Evaluation) -> Measurement:
    """Chance-corrected accuracy of the target of the nearest well of another perturbation (NSC); 1 is best.

    Not-same-compound matching (Ljosa et al., J Biomol Screen 2013, doi:10.1177/1087057113503553), by cosine. Queries
    and candidates are the scored wells with a target; equally near wells share the vote. Raw is the mean over targets
    of the share of wells whose neighbour has their target, chance the mean share of such wells among the candidates.
    """
    return _matching(evaluation, across_batches=False)


def nscb_accuracy(evaluation: Evaluation) -> Measurement:
    """As `nsc_accuracy`, the neighbour also in another batch (NSCB; Ando et al., bioRxiv 2017, doi:10.1101/161422).

    What it loses against `nsc_accuracy` is how far phenotype depends on the batch.
    """
    return _matching(evaluation, across_batches=True)


def target_retrieval_map(evaluation: Evaluation) -> Measurement:
    """Normalised mAP of wells that share a target, among wells of other perturbations in other batches; 1 is best.

    Queries and candidates as in `nscb_accuracy`, but the whole ranking counts, not the nearest well alone. Value is the
    mean over targets of the mean over wells of (AP - E) / (1 - E), raw the mean AP, chance the mean E.
    """
    if (absence := evaluation.once(without_matches_across)) is not None:
        return Measurement.absent(absence)
    eligible, target = np.flatnonzero(evaluation.scored & _known(evaluation)), evaluation.once(_targets)
    ranking = rank(evaluation.unit, eligible, _selections(evaluation)[1], evaluation.arrays)
    own = np.searchsorted(eligible, ranking.queries)
    at, groups = target.by_target(own)
    value, raw, chance = (
        mean_by_group(column[at], groups) for column in (ranking.normalised, ranking.precision, ranking.expected)
    )
    axes = evaluation.options.units
    units = query_units(evaluation.test_wells, ranking.queries, ranking.normalised, groups=target.code[own], axes=axes)
    return Measurement(value, raw=raw, chance=chance, reason=target.note, units=units)


def nsc_gap(evaluation: Evaluation) -> Measurement:
    """-(NSC - NSCB), both chance-corrected: 0 when targets are matched as well in another batch; negative: the drop.

    Raw is the drop itself. The floor is the drop from NSC to chance.
    """
    if (absence := evaluation.once(without_matches_across)) is not None:
        return Measurement.absent(absence)
    anywhere, across = nsc_accuracy(evaluation), nscb_accuracy(evaluation)
    inside, outside = float(anywhere.value or 0.0), float(across.value or 0.0)
    if inside <= 0:
        return Measurement(None, reason="targets are matched no better than chance in any batch: nothing to lose")
    return Measurement(min(outside - inside, 0.0), floor=-inside, ceiling=0.0, raw=inside - outside, chance=0.0)


def _matching(evaluation: Evaluation, *, across_batches: bool) -> Measurement:
    if (absence := evaluation.once(without_matches_across if across_batches else without_matches)) is not None:
        return Measurement.absent(absence)
    eligible, target, matches = evaluation.once(_matches)
    found = matches[across_batches]
    at, groups = target.by_target(np.searchsorted(eligible, found.queries))
    raw, chance = mean_by_group(found.share[at], groups), mean_by_group(found.chance[at], groups)
    axes, sets = evaluation.options.units, target.code[np.searchsorted(eligible, found.queries)]
    units = query_units(evaluation.test_wells, found.queries, found.share, chance=chance, groups=sets, axes=axes)
    return Measurement((raw - chance) / (1.0 - chance), raw=raw, chance=chance, reason=target.note, units=units)


def _matches(evaluation: Evaluation) -> tuple[IntArray, TargetSets, list[Nearest]]:
    """The judged wells, their targets, and their nearest of another perturbation, and of another batch too."""
    queries, target = np.flatnonzero(evaluation.scored & _known(evaluation)), evaluation.once(_targets)
    return queries, target, nearest_shares(evaluation.unit, queries, _selections(evaluation), evaluation.arrays)


def _selections(evaluation: Evaluation) -> list[Select]:
    """Matches and other candidates of some rows: judged wells of other perturbations, and of other batches too."""
    eligible, target = evaluation.scored & _known(evaluation), evaluation.once(_targets)
    perturbation, batch = evaluation.code("perturbation"), evaluation.code("batch")
    shared = np.zeros((len(target.members), len(eligible)), dtype=bool)
    shared[:, eligible] = target.shared[:, target.code]
    code = np.zeros(len(eligible), dtype=np.int64)
    code[eligible] = target.code

    def select(rows: IntArray) -> tuple[BoolArray, BoolArray]:
        candidate = (perturbation[rows, None] != perturbation) & eligible
        same = shared[code[rows]]
        return candidate & same, candidate & ~same

    def select_across(rows: IntArray) -> tuple[BoolArray, BoolArray]:
        other = batch[rows, None] != batch
        positive, negative = select(rows)
        return positive & other, negative & other

    return [select, select_across]


NO_TARGETS = Absence("no targets among the test rows", "name the column of targets (screen.columns.target)")


def without_sharing(layout: Layout) -> Absence | None:
    """Why no perturbation can find one that shares its target."""
    if not _known(layout).any():
        return NO_TARGETS
    found = layout.once(_annotated)
    target = found.target
    sizes = np.bincount(target.code, minlength=len(target.shared))
    partners = (target.shared @ sizes)[target.code]
    if not (found.scored & (partners > 1) & (partners < len(target.code))).any():
        return Absence("no scored perturbation shares its target with another, or there is one target only")
    return None


def without_pairs(layout: Layout) -> Absence | None:
    """Why there are no known pairs to recall."""
    if not _known(layout).any():
        return NO_TARGETS
    known = layout.once(_annotated).known()
    if not known.any() or known.all():
        return Absence("no two scored perturbations share a target, or there is one target only")
    return None


def without_matches(layout: Layout) -> Absence | None:
    """Why no well can be matched with one of another perturbation."""
    return _unmatched(layout, across_batches=False)


def without_matches_across(layout: Layout) -> Absence | None:
    """Why no well can be matched with one of another perturbation in another batch."""
    return _unmatched(layout, across_batches=True)


def _unmatched(layout: Layout, *, across_batches: bool) -> Absence | None:
    from scipy.sparse import csr_array

    eligible = layout.scored & _known(layout)
    if not eligible.any():
        return NO_TARGETS
    apart = [layout.code("perturbation")[eligible], *([layout.code("batch")[eligible]] if across_batches else [])]
    target = layout.once(_targets)
    n = len(target.code)
    candidates, matches = np.zeros(n), np.zeros(n)
    for sign, code in signed_groups([], apart, n):
        by_set = csr_array((np.ones(n), (code, target.code)), shape=(int(code.max()) + 1, len(target.shared)))
        candidates += sign * by_set.sum(axis=1)[code]
        matches += sign * (by_set @ target.shared.astype(np.float64))[code, target.code]
    queries = np.flatnonzero((matches > 0) & (candidates > matches))
    if len(np.unique(target.by_target(queries)[1])) >= 2:
        return None
    place = " in another batch" if across_batches else ""
    remedy = "hold out more plates, or batches that share targets" if across_batches else ""
    return Absence(f"fewer than 2 targets have wells of a second perturbation{place}", remedy)


def _known(layout: Layout) -> BoolArray:
    wells = layout.test_wells
    if "target" not in wells.columns:
        return np.zeros(len(wells), dtype=bool)
    known: BoolArray = ~layout.negative & wells["target"].notna().to_numpy(dtype=bool)
    return known


def _targets(layout: Layout) -> TargetSets:
    """The sets of targets of the judged wells."""
    eligible = layout.scored & _known(layout)
    return target_sets(layout.test_wells["target"].to_numpy()[eligible].astype(str))


def _annotated(layout: Layout) -> _Annotated:
    wells, known = layout.test_wells, _known(layout)
    names, first, code = np.unique(
        wells.loc[known, "perturbation"].to_numpy(dtype=str), return_index=True, return_inverse=True
    )
    target = target_sets(wells.loc[known, "target"].to_numpy(dtype=str)[first])
    return _Annotated(target, layout.scored[known][first], tuple(names.tolist()), np.bincount(code), code)


def _consensus(evaluation: Evaluation) -> Float64Array:
    """(p, e) median of the unit rows of each perturbation with a target, scaled to length 1."""
    rows, code = evaluation.unit[_known(evaluation)], evaluation.once(_annotated).code
    return unit_rows(np.stack([np.median(rows[code == number], axis=0) for number in range(code.max() + 1)]))


TARGET = Metric(
    name="target_consistency",
    role="biological",
    standing="secondary",
    title="Phenotypic consistency (shared target)",
    direction="1: perturbations that share a target are found before all others; 0: chance",
    function=target_consistency,
    absent=without_sharing,
)
RECALL = Metric(
    name="target_recall",
    role="biological",
    standing="secondary",
    in_sweep=False,
    title="Recall of pairs that share a target (EFAAR)",
    direction="1: every pair is among the most similar or dissimilar 5 % of all pairs; 0: chance",
    function=target_recall,
    absent=without_pairs,
)
NSC = Metric(
    name="nsc_accuracy",
    role="biological",
    standing="secondary",
    in_sweep=False,
    title="Target of the nearest other perturbation (NSC)",
    direction="1: it always has the well's target; 0: chance",
    function=nsc_accuracy,
    absent=without_matches,
)
NSCB = Metric(
    name="nscb_accuracy",
    role="biological",
    standing="secondary",
    in_sweep=False,
    title="Target of the nearest other perturbation in another batch (NSCB)",
    direction="1: it always has the well's target; 0: chance",
    function=nscb_accuracy,
    absent=without_matches_across,
)
RETRIEVAL = Metric(
    name="target_retrieval_map",
    role="biological",
    standing="secondary",
    in_sweep=False,
    title="Target retrieval in another batch (mAP)",
    direction="1: other perturbations of the target in other batches are found before all others; 0: chance",
    function=target_retrieval_map,
    absent=without_matches_across,
)
NSC_GAP = Metric(
    name="nsc_gap",
    role="biological",
    standing="guard",
    in_sweep=False,
    title="Target matches kept in another batch (NSC - NSCB)",
    direction="0: targets are matched as well in another batch; negative: the drop",
    function=nsc_gap,
    absent=without_matches_across,
)
