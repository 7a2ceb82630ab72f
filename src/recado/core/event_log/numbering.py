"""Number committed events until none is left without a number."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from recado.core.database.engine import Database, on_postgresql
from recado.core.database.unit_of_work import STEP
from recado.core.event_log import repository


class Numbering:
    """Numbers what other processes have left, too: the next one that numbers does it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_needed: Final = on_postgresql(database.url)

    async def run(self) -> Collection[UUID]:
        """Number all events that are committed by now. Return their owners. On SQLite nothing is read."""
        owners: set[UUID] = set()
        while self.is_needed:
            numbered = await self._database.write(repository.number_new, owner=None)
            owners.update(numbered)
            if len(numbered) < STEP:
                break
        return owners

    async def has_work(self) -> bool:
        """Return whether events wait for their number."""
        return self.is_needed and await self._database.read(repository.has_unnumbered, owner=None)
