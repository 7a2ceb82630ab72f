"""What deleted rows leave behind in SQLite's files, and how that is removed too.

Three things hold bytes of rows that are gone: the full-text indexes, unused bytes in pages of other rows, and the log
of what was written last. PostgreSQL's files are not ours: its own vacuum decides when room is used again.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from recado.core.database.engine import Database, on_postgresql
from recado.core.database.sqlite.compacting import compact
from recado.core.database.sqlite.connections import LOCK_SECONDS
from recado.operations.storage.full_text import begin_merge, full_text_indexes, go_on_merging

log = structlog.get_logger(__name__)


class Remains:
    """Removes what deleted rows have left. It may be repeated, and does no harm where nothing was deleted."""

    def __init__(self, database: Database, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self._database = database
        self._lock_seconds = lock_seconds

    async def remove(self, may_go_on: Callable[[], bool]) -> bool:
        """Remove them; return False when it was stopped before the end. Raises `Busy` and `StorageUnavailable`."""
        if on_postgresql(self._database.url):
            return True
        for index in await self._database.read(full_text_indexes, owner=None):
            await self._database.write(partial(begin_merge, index=index), owner=None)
            while await self._database.write(partial(go_on_merging, index=index), owner=None):
                if not may_go_on():
                    return False
        left = await asyncio.to_thread(compact, self._database.url, lock_seconds=self._lock_seconds)
        if not left.rewritten:
            log.warning("owner.remains_left", bytes=left.bytes, mend="stop Recado, and: sqlite3 recado.db VACUUM")
        return True
