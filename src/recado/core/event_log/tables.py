"""The table of events, and the last number that was given."""

from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, event

from recado.core.database.types import Id, JsonObject, Moment, metadata, partial

NUMBERS_ON_POSTGRESQL: Final = "CREATE INDEX ix_events_number ON events (number) WHERE number IS NOT NULL"

events = Table(
    "events",
    metadata,
    # The order of storing: SQLite's rowid, a sequence on PostgreSQL. Within a lane it is the order of happening.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    # NULL on PostgreSQL until `repository.number_new` has numbered it after its commit.
    Column("number", BigInteger),
    Column("id", Id, nullable=False, unique=True),
    Column("owner_id", Id, nullable=False),
    Column("type", String(32), nullable=False),
    Column("lane", Id, nullable=False),
    Column("conversation_id", Id),
    Column("data", JsonObject, nullable=False),
    Column("at", Moment, nullable=False),
    partial("uq_events_owner", "owner_id", "number", unique=True, where="number IS NOT NULL"),
    partial("ix_events_unnumbered", "seq", where="number IS NULL"),
)


@event.listens_for(events, "after_create")
def _index_numbers(_table: Table, connection: Connection, **_options: object) -> None:
    """Let PostgreSQL find what is new of all owners. On SQLite the number is the key of the row."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(NUMBERS_ON_POSTGRESQL)


event_numbers = Table(
    "event_numbers",
    metadata,
    # One row, whose lock is the lock of numbering on PostgreSQL. On SQLite a number is the order of storing; the row
    # remembers the newest one when its event is deleted with its owner.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
)
