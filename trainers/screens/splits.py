"""The evaluation views as row splits of one screen.

"Correct this screen" holds out plates (or well positions) of batches that training sees; "generalise to a new batch"
holds out whole batches in rotation, or all batches of a cell type, or the part of a published split. The seed draws
which; nothing else does, so every strength gets the same splits. Sites of one well never lie on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import IntArray
from trainers.errors import InputError
from trainers.screens.names import first_few, nearest
from trainers.screens.view_spec import View, ViewSpec

_TRAIN_PART, _VALIDATION_PART, _TEST_PART = "train", "id_test", "test"
# One random stream a draw: asking for held-out perturbations leaves the plates and folds as they were.
_TEST_STREAM, _VALIDATION_STREAM, _PERTURBATION_STREAM = range(3)

_WHOLE = ("held_out_plates", "official")  # views of one fold

DRAWS = 100
"""Further draws of a split, see `make_split`."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Row numbers of a screen: sorted, disjoint.

    Attributes:
        view: one of VIEWS.
        fold: 0-based.
        name: "<view>/<fold>".
        train: rows that are learnt from.
        validation: rows of training batches on plates (view official: sites) kept out of training; may be empty.
        test: every row of the held-out units, controls and held-out perturbations included.
        held_out_perturbations: sorted; none of their rows is in train or validation.
    """

    view: View
    fold: int
    name: str
    train: IntArray
    validation: IntArray
    test: IntArray
    held_out_perturbations: tuple[str, ...]


def fold_count(spec: ViewSpec, wells: pd.DataFrame) -> int:
    """Number of folds of a view on these wells.

    Raises:
        InputError: as `make_split`, for the units held out.
    """
    return 1 if spec.view in _WHOLE else len(_unit_folds(wells, spec, (0, _TEST_STREAM)))


def make_split(
    wells: pd.DataFrame,
    spec: ViewSpec,
    *,
    fold: int,
    seed: int,
    held_out_perturbations: float = 0.0,
    draw: int = 0,
) -> Split:
    """Draw one split; the same arguments give the same split.

    held_out_plates: in every batch `fraction` of the plates are test rows. With column "well" the same well positions
    are held out on every plate, so that no test position was ever learnt from; a position is kept when it is the
    last one of a perturbation.
    held_out_batches: the units of fold `fold` are test rows. A batch that lies partly in a test unit is not learnt
    from at all, so that no test batch is ever seen. held_out_cell_types is the same with one cell type a fold.
    official: the parts of a published split, as its column names them; the seed draws nothing.

    Args:
        wells: `Screen.wells`.
        spec: the view.
        fold: 0 ≤ fold < fold_count(spec, wells).
        seed: ≥ 0; draws plates, positions, the partition into folds, and perturbations, each from its own stream.
        held_out_perturbations: share in [0, 1) of the perturbations (negative controls are never among them) that are
            kept out of train and validation, the same ones in every fold. Where targets are known, a target with
            several perturbations keeps one in training if possible.
        draw: 0 is the split of the seed; the others, up to `DRAWS`, are further ones of it, for when that one leaves
            something unmeasurable. The first half of them keeps the perturbations of draw 0.

    Raises:
        InputError: an unknown column, unit, part or fold; fewer units than folds; a batch with a single plate; a share
            out of range or that leaves fewer than 2 perturbations; nothing left to learn from; a published split with
            sites of one well on both sides.
    """
    again = () if draw == 0 else (draw,)
    hidden_again = () if draw <= DRAWS // 2 else (draw,)
    parts = [[]] if spec.view in _WHOLE else _unit_folds(wells, spec, (seed, _TEST_STREAM, *again))
    folds = len(parts)
    if not 0 <= fold < folds:
        raise InputError(f"split: fold {fold} does not exist, view {spec.view} has folds 0..{folds - 1}")
    if not 0.0 <= held_out_perturbations < 1.0:
        raise InputError(f"split: held_out_perturbations is {held_out_perturbations}, expected a share in [0, 1)")
    validation = np.zeros(len(wells), dtype=bool)
    if spec.view == "official":
        learnable, validation, test = _published(wells, spec)
    elif spec.view == "held_out_plates":
        everything = np.ones(len(wells), dtype=bool)
        test = _inside(wells, spec.column, everything, spec.fraction, (seed, _TEST_STREAM, *again), "fraction")
        learnable = ~test
    else:
        units = wells[spec.column]
        test = units.isin(parts[fold]).to_numpy(dtype=bool)
        learnable = ~wells["batch"].isin(wells.loc[test, "batch"]).to_numpy(dtype=bool)
        if not learnable.any():
            raise InputError(f"split: every batch holds rows of the held-out {spec.column}; nothing is left to learn")
    if spec.validation_fraction > 0.0:
        unit = spec.column if spec.view == "held_out_plates" else "plate"
        stream = (seed, _VALIDATION_STREAM, fold, *again)
        validation = _inside(wells, unit, learnable, spec.validation_fraction, stream, "validation_fraction")
    hidden = _held_out_perturbations(wells, held_out_perturbations, (seed, _PERTURBATION_STREAM, *hidden_again))
    seen = learnable & ~wells["perturbation"].isin(hidden).to_numpy(dtype=bool)
    train = seen & ~validation
    learnt = wells.loc[train & (wells["control_type"] != "negative").to_numpy(), "perturbation"].nunique()
    if learnt < 2:
        raise InputError(f"split: {spec.view}/{fold} leaves {learnt} perturbations to learn, at least 2 are needed")
    return Split(
        view=spec.view,
        fold=fold,
        name=f"{spec.view}/{fold}",
        train=np.flatnonzero(train),
        validation=np.flatnonzero(seen & validation),
        test=np.flatnonzero(test),
        held_out_perturbations=hidden,
    )


def _published(wells: pd.DataFrame, spec: ViewSpec) -> tuple[Mask, Mask, Mask]:
    """Rows that may be learnt from (validation among them), validation rows and test rows of a published split."""
    _refuse_absent(wells, spec.column)
    parts = sorted(wells[spec.column].dropna().unique())
    scored = spec.held_out or (_TEST_PART,)
    for name in (_TRAIN_PART, *scored):
        if name not in parts:
            raise InputError(f"split: part {name!r} is not in column {spec.column!r}; {nearest(name, parts)}")
    if _TRAIN_PART in scored:
        raise InputError(f"split: part {_TRAIN_PART!r} of column {spec.column!r} is learnt from and cannot be scored")
    train = (wells[spec.column] == _TRAIN_PART).fillna(False).to_numpy(dtype=bool)
    test = wells[spec.column].isin(scored).to_numpy(dtype=bool)
    validation: Mask = (wells[spec.column] == _VALIDATION_PART).fillna(False).to_numpy(dtype=bool) & ~test
    places = pd.MultiIndex.from_frame(wells[["plate", "well"]])
    shared = places[test].unique().isin(places[train])
    if shared.any() and not spec.shared_wells:
        plate, well = places[test].unique()[int(shared.argmax())]
        raise InputError(
            f"split: column {spec.column!r} puts sites of {int(shared.sum())} wells into both train and "
            f"{'/'.join(scored)} (first: plate {plate}, well {well}); score another part, or set shared_wells"
        )
    return train | validation, validation, test


def _inside(
    wells: pd.DataFrame, column: str, allowed: Mask, fraction: float, stream: tuple[int, ...], option: str
) -> Mask:
    """Rows of the plates, or positions, drawn out of every batch's `allowed` rows."""
    rng = np.random.default_rng(stream)
    if column == "well":
        return _positions(wells, allowed, fraction, rng, option)
    drawn: list[str] = []
    for batch, plates in wells[allowed].groupby("batch", sort=True)["plate"]:
        names = sorted(plates.unique())
        if len(names) < 2:
            raise InputError(
                f"split: batch {batch!r} has a single plate to draw from, {option} {fraction} needs 2; "
                + ("set it to 0" if option == "validation_fraction" else "hold out wells (column: well) or batches")
            )
        count = min(max(round(fraction * len(names)), 1), len(names) - 1)
        drawn.extend(rng.permutation(np.array(names, dtype=object))[:count])
    return allowed & wells["plate"].isin(drawn).to_numpy(dtype=bool)


def _positions(wells: pd.DataFrame, allowed: Mask, fraction: float, rng: np.random.Generator, option: str) -> Mask:
    """Rows at the drawn well positions, the same positions in every batch."""
    rows = wells[allowed]
    names = sorted(rows["well"].unique())
    wanted = max(round(fraction * len(names)), 1)
    pairs = rows.loc[rows["control_type"] != "negative", ["well", "perturbation"]].drop_duplicates()
    at = pairs.groupby("well")["perturbation"].agg(list).to_dict()
    left = pairs["perturbation"].value_counts().to_dict()  # positions that still teach a perturbation
    drawn: list[str] = []
    for name in rng.permutation(np.array(names, dtype=object)):
        if len(drawn) == wanted:
            break
        present = at.get(name, [])
        if all(left[perturbation] > 1 for perturbation in present):
            drawn.append(name)
            for perturbation in present:
                left[perturbation] -= 1
    if len(drawn) < wanted:
        raise InputError(
            f"split: {option} {fraction} asks for {wanted} of {len(names)} well positions, but without losing a "
            f"perturbation only {len(drawn)} can be held out; lower it or hold out plates"
        )
    chosen: Mask = allowed & wells["well"].isin(drawn).to_numpy(dtype=bool)
    shares = pd.Series(chosen[allowed]).groupby(rows["batch"].to_numpy(), sort=True).mean()
    for batch, share in shares.items():
        if share in (0.0, 1.0):
            raise InputError(f"split: {option} {fraction} takes all or none of batch {batch!r}; hold out plates")
    return chosen


def _unit_folds(wells: pd.DataFrame, spec: ViewSpec, stream: tuple[int, ...]) -> list[list[str]]:
    """The units of each fold of views held_out_batches and held_out_cell_types."""
    _refuse_absent(wells, spec.column)
    values = wells[spec.column]
    if values.isna().any():
        raise InputError(
            f"split: column {spec.column!r} is empty in {int(values.isna().sum())} rows "
            f"(first: row {int(values.isna().to_numpy().argmax())}); every row needs a value to be held out by"
        )
    units = sorted(values.unique())
    if len(units) < 2:
        raise InputError(f"split: column {spec.column!r} has a single value {units[0]!r}; nothing is left to learn")
    for name in spec.held_out:
        if name not in units:
            raise InputError(f"split: held_out {name!r} is not in column {spec.column!r}; {nearest(name, units)}")
    if spec.held_out:
        if set(units) == set(spec.held_out):
            raise InputError(f"split: held_out names every value of column {spec.column!r}; nothing is left to learn")
        return [list(spec.held_out)]
    folds = len(units) if spec.view == "held_out_cell_types" else spec.folds
    if folds > len(units):
        raise InputError(f"split: {folds} folds of {len(units)} values of column {spec.column!r}; lower folds")
    shuffled = np.random.default_rng(stream).permutation(np.array(units, dtype=object))
    return [list(part) for part in np.array_split(shuffled, folds)]


def _refuse_absent(wells: pd.DataFrame, column: str) -> None:
    """A column that is not there holds nothing out."""
    if column not in wells.columns:
        raise InputError(f"split: column {column!r} does not exist; {nearest(column, list(wells.columns))}")


def _held_out_perturbations(wells: pd.DataFrame, share: float, stream: tuple[int, ...]) -> tuple[str, ...]:
    """Draw the perturbations kept out of training, those first whose target stays represented."""
    if share == 0.0:
        return ()
    negative = set(wells.loc[wells["control_type"] == "negative", "perturbation"])
    candidates = wells.loc[~wells["perturbation"].isin(negative), ["perturbation", "target"]]
    targets = candidates.groupby("perturbation", sort=True)["target"].first()
    count = max(round(share * len(targets)), 1)
    if len(targets) - count < 2:
        raise InputError(
            f"split: held_out_perturbations {share} takes {count} of {len(targets)} perturbations "
            f"({first_few(targets.index)}); at least 2 must be left to learn from"
        )
    members = targets.value_counts().to_dict()
    left = dict(members)
    drawn: list[str] = []
    deferred: list[str] = []
    for name in np.random.default_rng(stream).permutation(targets.index.to_numpy(dtype=object)):
        target = targets[name]
        if not pd.isna(target):
            if members[target] > 1 and left[target] == 1:
                deferred.append(name)
                continue
            left[target] -= 1
        drawn.append(name)
    return tuple(sorted((drawn + deferred)[:count]))


__all__ = ["DRAWS", "Split", "fold_count", "make_split"]
