"""The walk through all tables in which an owner's rows are deleted, in as many runs as it takes.

A table is walked in windows of the rows of all owners, so in a large installation to go through all tables once may
take longer than one run. Where it stopped is kept; to be cut short is not to have found nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Self
from uuid import UUID

from recado.channels.repository import Orphans
from recado.core.database.engine import Database
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.event_log.repository import keep_last_number
from recado.core.event_log.tables import events
from recado.core.queue.job import StoredJob
from recado.identity.repository import Owners
from recado.operations.storage.owner_rows import OwnerRows, Position, overwriting

_OWN_STEPS: Final = frozenset({"owners", "orphans", "orphan_signers"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk is, as the payload of the purge's job keeps it."""

    owner_id: UUID
    table: str | None = None
    """The next table of this pass; None is the first."""
    has_found: bool = False
    """Whether this pass has found a row so far: then there is another pass."""
    is_again: bool = False
    """Whether the owner's own row is deleted, and the walk looks for what was stored meanwhile."""

    @classmethod
    def of(cls, job: StoredJob) -> Self | None:
        """Return the place of a job; None when its walk is over."""
        stored = job.payload
        if "owner_id" not in stored:
            return None
        table, found, again = stored.get("table"), stored.get("has_found"), stored.get("is_again")
        return cls(UUID(str(stored["owner_id"])), None if table is None else str(table), found is True, again is True)

    def as_payload(self) -> Mapping[str, JsonValue]:
        """Return it as it is stored."""
        owner_id = str(self.owner_id)
        return {"owner_id": owner_id, "table": self.table, "has_found": self.has_found, "is_again": self.is_again}


class Walk:
    """Goes on from a place until nothing of the owner is left, or until it may not go on."""

    def __init__(
        self, database: Database, tables: Sequence[OwnerRows], place: Place, may_go_on: Callable[[], bool]
    ) -> None:
        self._database = database
        # The ones that refer to others first.
        self._tables = [table for table in reversed(tables) if table.table.name not in _OWN_STEPS]
        self.place = place
        self._may_go_on = may_go_on
        self.deleted = 0

    async def go(self) -> bool:
        """Delete rows. Return whether none is left; otherwise `place` says where to go on."""
        while await self._ends_pass():
            if not self.place.has_found:
                if self.place.is_again:
                    return True
                await self._database.write(self._delete_owner, owner=None)
                self.place = replace(self.place, is_again=True)
            self.place = replace(self.place, table=None, has_found=False)
        return False

    async def _ends_pass(self) -> bool:
        if not await self._empties_orphans():
            return False
        for table in self._rest():
            self.place = replace(self.place, table=table.table.name)
            if not await self._empties(table):
                return False
        return True

    def _rest(self) -> Sequence[OwnerRows]:
        """Return the tables that this pass has still before it: all of them, should a release have renamed one."""
        names = [table.table.name for table in self._tables]
        return self._tables[names.index(self.place.table) if self.place.table in names else 0 :]

    async def _empties_orphans(self) -> bool:
        while self._may_go_on():
            if not await self._deletes(lambda uow: Orphans(uow).purge(self.place.owner_id, STEP)):
                return True
        return False

    async def _empties(self, table: OwnerRows) -> bool:
        after: Position | None = None
        while self._may_go_on():
            read = partial(_keys, table=table, owner_id=self.place.owner_id, after=after)
            keys, after = await self._database.read(read, owner=None)
            for n in range(0, len(keys), STEP):
                if not self._may_go_on():
                    return False
                await self._deletes(partial(self._delete, table=table, keys=keys[n : n + STEP]))
            if after is None:
                return True
        return False

    async def _deletes(self, delete: Callable[[UnitOfWork], int]) -> int:
        """Delete a page, and count it at the owner."""
        deleted = await self._database.write(partial(_counted, delete=delete, owner_id=self.place.owner_id), owner=None)
        if deleted:
            self.deleted += deleted
            self.place = replace(self.place, has_found=True)
        return deleted

    def _delete(self, uow: UnitOfWork, table: OwnerRows, keys: Sequence[Position]) -> int:
        if table.table is events:  # Numbers go on after those of an owner who had the newest.
            keep_last_number(uow)
        return table.delete(uow, self.place.owner_id, keys)

    def _delete_owner(self, uow: UnitOfWork) -> None:
        with overwriting(uow):
            Owners(uow).delete(self.place.owner_id)


def _keys(
    uow: UnitOfWork, table: OwnerRows, owner_id: UUID, after: Position | None
) -> tuple[list[Position], Position | None]:
    end = table.window_end(uow, after)
    return list(table.keys(uow, owner_id, after, end)), end


def _counted(uow: UnitOfWork, delete: Callable[[UnitOfWork], int], owner_id: UUID) -> int:
    deleted = delete(uow)
    if deleted:
        Owners(uow).count_purged(owner_id, deleted)
    return deleted
