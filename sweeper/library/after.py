"""After the verdict: models kept, the screen corrected, a new batch put through a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.kept.keeping import Kept, keep_cell, keep_strengths
from sweeper.library.stored_sweep import StoredSweep, open_store

if TYPE_CHECKING:
    from sweeper.kept.tables import Corrected


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
    from sweeper.kept.embedding import advised_or_refused

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
    from sweeper.kept.embedding import embed_screen
    from sweeper.kept.tables import check_output, write_corrected

    path = None if out is None else Path(out)
    if path is not None:
        check_output(path)
    found = embed_screen(
        _opened(sweep).store, strength=strength, seed=seed, model=None if model is None else Path(model)
    )
    if path is not None:
        write_corrected(found, path)
    return found


def _opened(sweep: StoredSweep | Path | str) -> StoredSweep:
    return sweep if isinstance(sweep, StoredSweep) else open_store(sweep)


__all__ = ["embed", "keep"]
