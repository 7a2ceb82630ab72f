"""Bulk operations: a row says what was asked, by whom, and how far it has come."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, String, Table

from recado.core.database.types import Id, Json, Moment, metadata

bulk_operations = Table(
    "bulk_operations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("force", Boolean(create_constraint=False), nullable=False),
    # Which dead letters: those that are listed here, or all up to `until`, of one name if there is one.
    Column("letters", Json),
    Column("job_name", String(64)),
    Column("until", Id, nullable=False),
    # The last one that was handled. They are handled in the order of their ids.
    Column("position", Id, nullable=False),
    Column("total", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("refusals", Json, nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor_id", Id),
    Column("actor_name", String(254), nullable=False),
    Column("source", String(64)),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("error", String),
    CheckConstraint("kind IN ('retry', 'discard')", name="kind"),
    Index("ix_bulk_operations_finished", "finished_at"),
)
