"""Everything that is stored of one organisation, as lines of JSON: what this is, a line for each row, and an end.

Left out are what proves who somebody is, what is sealed, and what only the machinery needs. Each page is a snapshot of
its own, so rows that are stored meanwhile may be missing: close the organisation first where that matters.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias
from uuid import UUID

from sqlalchemy import Column, MetaData
from sqlalchemy.engine import RowMapping

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.types import JsonValue
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.principal import Principal
from recado.identity.repository import owner_in
from recado.operations.storage.owner_rows import OwnerRows, Position, tables_of_owners

FORMAT: Final = 1
_PROOFS: Final = ("sessions", "user_links", "idempotency_keys")
_MACHINERY: Final = ("lanes", "queue_owners", "message_queue", "search_documents")
LEFT_OUT: Final = frozenset({*_PROOFS, *_MACHINERY})
"""Tables of proofs and of the machinery."""
SECRET_ENDINGS: Final = ("_sealed", "_hash", "_key_id")
"""Columns with these endings are left out."""
_LEFT_OUT_COLUMNS: Final = frozenset({"heading_terms", "body_terms", "loose_terms", "revision", "sha"})
OF_THE_INSTALLATION: Final = frozenset(
    {
        "attempts.worker",
        "channel_accounts.changed_in",
        "event_endpoints.position",
        "events.number",
        "events.seq",
        "knowledge_chunks.number",
    }
)
"""Columns that tell of the installation: its hosts, and how much the other organisations do."""

Line: TypeAlias = Mapping[str, JsonValue]


class OwnerExport:
    """Reads everything of one owner."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, tables: Callable[[], MetaData]) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._clock = clock
        self._tables = tables

    async def begin(self, principal: Principal) -> AsyncIterator[Line]:
        """Return the lines. Raises `NotFound` before the first.

        That somebody exported everything is recorded before a line is given out.
        """
        await self._transactions.write(partial(_record, principal=principal), owner=principal.owner_id)
        return self._lines(principal.owner_id)

    async def _lines(self, owner_id: UUID) -> AsyncIterator[Line]:
        yield {"recado": "export", "format": FORMAT, "owner_id": str(owner_id), "at": self._clock.now().isoformat()}
        rows = 0
        for each in tables_of_owners(self._tables()):
            table = each.table
            if table.name in LEFT_OUT:
                continue
            columns = [column.name for column in table.c if is_exported(column)]
            async for row in self._rows(each, owner_id):
                yield {"table": table.name, "row": {name: _json_value(row[name]) for name in columns}}
                rows += 1
        # What was cut off on its way has no such line.
        yield {"recado": "end", "rows": rows}

    async def _rows(self, table: OwnerRows, owner_id: UUID) -> AsyncIterator[RowMapping]:
        after: Position | None = None
        while True:
            # As the system: a tenant sees its own rows only, and would read as far as so many of them lie apart.
            end = await self._database.read(partial(table.window_end, after=after), owner=None)
            read = partial(table.rows, owner=owner_id, after=after, end=end)
            for row in await self._database.read(read, owner=owner_id):
                yield row
            if end is None:
                return
            after = end


def _record(tx: Transaction, principal: Principal) -> None:
    owner_in(tx.uow, principal.owner_id)
    audit.record(tx, principal, "owner.exported", "owner", principal.owner_id)


def is_exported(column: Column[object]) -> bool:
    """Return whether the values of a column are given out."""
    name = column.name
    is_left_out = name in _LEFT_OUT_COLUMNS or str(column) in OF_THE_INSTALLATION
    return not name.endswith(SECRET_ENDINGS) and not is_left_out


def _json_value(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | float() | str() | list() | dict():
            return value
        case datetime():
            return value.isoformat()
        case bytes():  # The form of a webhook: text that is percent-encoded.
            return value.decode("utf-8", "replace")
        case _:
            return str(value)
