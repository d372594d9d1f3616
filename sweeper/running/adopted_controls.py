"""Controls of one sweep in the store of another: embeddings without training are the same for every method."""

from __future__ import annotations

from collections.abc import Iterable

from sweeper.planning.cells import Cell
from sweeper.store.store import Store


def adopt_controls(source: Store, source_cells: Iterable[Cell], store: Store, cells: Iterable[Cell]) -> None:
    """Copy the finished controls of a sweep of the same screen, splits and panel; what is there stays as it is.

    Args:
        source, source_cells: where they were scored, and the cells known there.
        store, cells: where they are wanted under ids of their own.
    """
    scored = {_what(cell): cell.cell_id for cell in source_cells if cell.is_control}
    there, done = source.finished(), store.finished()
    for cell in cells:
        known = scored.get(_what(cell)) if cell.is_control and cell.cell_id not in done else None
        if known is None or known not in there:
            continue
        record = {**source.record(known), "cell_id": cell.cell_id}
        has_rows = (source.cells_folder / known / "embeddings.npz").exists()
        rows, embeddings = source.embeddings(known) if has_rows else (None, None)
        store.write_cell(record, curve=source.curve(known), rows=rows, embeddings=embeddings, units=source.units(known))


def _what(cell: Cell) -> tuple[str, int, str, int]:
    return cell.trainer, cell.seed, cell.view, cell.fold


__all__ = ["adopt_controls"]
