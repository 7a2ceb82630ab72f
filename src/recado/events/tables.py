"""The tables of event endpoints and of what is delivered to them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
)

from recado.core.database.types import Id, Json, Moment, metadata, partial

event_endpoints = Table(
    "event_endpoints",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("url", String(2000), nullable=False),
    # NULL means every type, also those that a later release adds.
    Column("types", Json),
    Column("allow_private", Boolean(create_constraint=False), nullable=False),
    Column("secret_sealed", LargeBinary, nullable=False),
    Column("previous_secret_sealed", LargeBinary),
    Column("previous_until", Moment),
    # The number of the last event that a delivery was made of.
    Column("position", BigInteger, nullable=False),
    # Failures in a row, since when, and until when nothing is sent because of them.
    Column("failures", Integer, nullable=False),
    Column("failing_since", Moment),
    Column("open_until", Moment),
    Column("disabled_at", Moment),
    Column("disabled_reason", String(32)),
    Column("created_at", Moment, nullable=False),
    Column("created_by", String(254), nullable=False),
    Index("ix_event_endpoints_owner", "owner_id", "id"),
)

event_deliveries = Table(
    "event_deliveries",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    # No foreign key: an endpoint is removed at once, however much was delivered to it.
    Column("endpoint_id", Id, nullable=False),
    Column("event_id", Id, nullable=False),
    Column("type", String(32), nullable=False),
    Column("lane", Id, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    # How the last attempt ended: the status of the answer, or why there was none.
    Column("status", Integer),
    Column("error", String(200)),
    Column("created_at", Moment, nullable=False),
    Column("tried_since", Moment),
    Column("updated_at", Moment, nullable=False),
    CheckConstraint("state IN ('waiting', 'delivered', 'failed', 'cancelled')", name="state"),
    Index("ix_event_deliveries_endpoint", "endpoint_id", "id"),
    partial("ix_event_deliveries_undelivered", "endpoint_id", "id", where="state <> 'delivered'"),
    partial("ix_event_deliveries_waiting", "endpoint_id", "lane", where="state='waiting'"),
)
