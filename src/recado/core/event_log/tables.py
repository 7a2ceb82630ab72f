"""The table of events, and the last number that was given."""

from sqlalchemy import BigInteger, Column, Integer, String, Table

from recado.core.database.types import Id, JsonObject, Moment, metadata, partial

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

event_numbers = Table(
    "event_numbers",
    metadata,
    # One row, whose lock is the lock of numbering. PostgreSQL only: on SQLite a number is the order of storing.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
)
