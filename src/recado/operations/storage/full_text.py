"""SQLite's full-text indexes, which keep the words of deleted rows.

FTS5 stores a deletion as an entry of its own, in a newer segment, and both stay until their segments are merged: also
the words that a document had before it was changed. So all segments of an index are merged into one, some pages at a
time, while others go on writing.
"""

from collections.abc import Sequence
from typing import Final

from recado.core.database.unit_of_work import UnitOfWork

STEP_PAGES: Final = 100
"""So many pages one write merges: some milliseconds of the writer."""
_INDEXES: Final = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%fts5%' ORDER BY name"
)
_CHANGES: Final = "SELECT total_changes()"


def full_text_indexes(uow: UnitOfWork) -> Sequence[str]:
    """Return the names of the indexes, also of those that a later release adds."""
    return [] if uow.dialect != "sqlite" else [str(name) for (name,) in uow.execute_raw(_INDEXES)]


def begin_merge(uow: UnitOfWork, index: str) -> None:
    """Let all segments of an index become one: begin with the first pages."""
    _merge(uow, index, -STEP_PAGES)


def go_on_merging(uow: UnitOfWork, index: str) -> bool:
    """Merge some more pages. Return whether there were any."""
    [(before,)] = uow.execute_raw(_CHANGES)
    _merge(uow, index, STEP_PAGES)
    [(after,)] = uow.execute_raw(_CHANGES)
    # The command itself counts as one change.
    return int(after) - int(before) >= 2


def _merge(uow: UnitOfWork, index: str, pages: int) -> None:
    uow.execute_raw(f"INSERT INTO {index}({index}, rank) VALUES ('merge', {pages})")
