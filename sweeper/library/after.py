"""After the verdict: models kept, the screen corrected, a new batch put through a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sweeper.kept.keeping import Kept, keep_cell, keep_strengths
from sweeper.library.stored_sweep import StoredSweep, open_store
from trainers.screens.place import is_url

if TYPE_CHECKING:
    from sweeper.findings.compared import Comparison
    from sweeper.kept.applying import Applied
    from sweeper.kept.corrected import Corrected

MIN_SWEEPS = 2


def keep(
    sweep: StoredSweep | Path | str,
    *,
    strength: tuple[float, float] | None = None,
    cell: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Kept:
    """Fit a strength again on every well that the sweep's declared use allows, and keep it in the sweep's `models/`.

    >>> kept = sweeper.keep("runs/tiny", strength=(10, 0.2))
    >>> kept.folder.name, len(kept.facts.features)
    ('strength-10-margin-0.2', 16)

    Args:
        sweep: a sweep, or its folder.
        strength: settings of the trainer's two dials (the second 0 where there is none); None: the advised strength.
        cell: id of a finished cell whose very model is kept instead: trained again on its own training wells.
        tell: told what is being fitted.

    Raises:
        InputError: nothing is advised, a strength or cell that there is not, a trainer whose cells cannot be kept, or
            another process runs the sweep.
        SweepFailedError: the training diverged.
    """
    from sweeper.kept.screen_embedding import advised_or_refused

    store = _opened(sweep).store
    with store.owned(store.description()["sweep_id"]) as lease:
        if cell is not None:
            return keep_cell(store, cell, tick=lease.check)
        chosen = advised_or_refused(store) if strength is None else strength
        return keep_strengths(store, [chosen], tell=tell, tick=lease.check)[0]


def embed(
    sweep: StoredSweep | Path | str,
    *,
    strength: tuple[float, float] | None = None,
    seed: int | None = None,
    model: Path | str | None = None,
    out: Path | str | None = None,
) -> Corrected:
    """Corrected profiles of the whole screen: all metadata in their order, one row in, one row out.

    >>> corrected = sweeper.embed("runs/tiny", strength=(10, 0.2), out="corrected.parquet")
    >>> corrected.embedding.shape, corrected.columns[0]
    ((576, 8), 'emb_00')

    Args:
        sweep: a sweep, or its folder.
        strength: a trained strength; None: the advised one.
        seed: one seed's embedding, as it was trained; None: the mean of all seeds, each turned onto the first.
        model: the folder of a kept model, in place of a strength.
        out: .parquet, .csv, .csv.gz or .h5ad to write; None: nothing is written.

    Raises:
        InputError: nothing is advised, no kept weights (the message says how to get them), or a file that cannot be
            written.
    """
    from sweeper.kept.corrected import check_output, write_corrected
    from sweeper.kept.screen_embedding import embed_screen

    path = None if out is None else Path(out)
    if path is not None:
        check_output(path)
    found = embed_screen(
        _opened(sweep).store, strength=strength, seed=seed, model=None if model is None else Path(model)
    )
    if path is not None:
        write_corrected(found, path)
    return found


def apply(
    model: Path | str,
    table: Path | str,
    *,
    seed: int | None = None,
    missing: Literal["refuse", "drop_rows", "median"] | None = None,
    out: Path | str | None = None,
) -> Applied:
    """Put a new batch through a kept model, without a refit, and say whether it lies inside what was tested.

    >>> applied = sweeper.apply("runs/tiny/models/strength-10-margin-0.2", "july.parquet")
    >>> applied.corrected.embedding.shape, applied.outside
    ((384, 8), True)
    >>> applied.units[0].outside[0]
    'the sweep measured no new-batch view: no new batch was tested (views: held_out_batches)'

    Args:
        model: the folder of a kept model, or of a sweep, whose advised model is taken.
        table: the new batch, read as the sweep's screen was.
        seed: one seed's embedding, as it was trained; None: the mean of all.
        missing: what to do with features that lack values; None: as the sweep's screen did.
        out: .parquet, .csv, .csv.gz or .h5ad to write, with the drift report beside it (`.drift.json`); None: nothing
            is written.

    Raises:
        InputError: no model or a damaged one, a table that cannot be read, or one of another feature set.
    """
    from sweeper.kept.applying import apply_model
    from sweeper.kept.corrected import check_output, write_corrected
    from sweeper.store.store import dump_json, write_atomically

    path = None if out is None else Path(out)
    if path is not None:
        check_output(path)
    found = apply_model(_model(model), Path(table), seed=seed, missing=missing)
    if path is not None:
        write_corrected(found.corrected, path)
        write_atomically(drift_path(path), dump_json(found.to_json()))
    return found


def drift_path(out: Path) -> Path:
    """Where the drift report of an output is written."""
    name = out.name.lower()
    suffix = next(each for each in (".csv.gz", out.suffix) if name.endswith(each.lower()))
    return out.with_name(f"{out.name[: -len(suffix)]}.drift.json")


def compare(*sweeps: StoredSweep | Path | str) -> Comparison:
    """Sweeps beside each other: what each advises, and the first against every other, paired by seed.

    >>> comparison = sweeper.compare("runs/tiny", "runs/tiny")
    >>> [sweep.label for sweep in comparison.sweeps], comparison.pairs[0].reasons[0]
    (['tiny (1)', 'tiny (2)'], 'tiny (1) advises no strength (INSUFFICIENT_DATA)')

    Args:
        sweeps: two or more, or their folders.

    Raises:
        InputError: fewer than two, a store that cannot be read, or one without a decision.
    """
    from sweeper.errors import InputError
    from sweeper.findings.compared import compare_stores

    if len(sweeps) < MIN_SWEEPS:
        raise InputError(f"compare: give {MIN_SWEEPS} sweeps or more, got {len(sweeps)}")
    return compare_stores([_opened(sweep).store for sweep in sweeps])


def _model(folder: Path | str) -> Path:
    """The folder of a model: the one given, or the advised one of the sweep that is given."""
    from sweeper.kept.screen_embedding import advised_or_refused, kept_model

    if not is_url(folder) and not Path(folder, "sweep.json").exists():
        return Path(folder)
    store = open_store(folder).store
    return kept_model(store, advised_or_refused(store)).folder


def _opened(sweep: StoredSweep | Path | str) -> StoredSweep:
    return sweep if isinstance(sweep, StoredSweep) else open_store(sweep)


__all__ = ["apply", "compare", "embed", "keep"]
