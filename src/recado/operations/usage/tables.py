"""What owners have used, one row a day.

Counting a month of messages when somebody asks would read each of them. So a schedule counts the last days, and a row
stays when the messages behind it are deleted.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from recado.core.database.types import Id, metadata

usage_days = Table(
    "usage_days",
    metadata,
    Column("owner_id", Id, primary_key=True),
    # A day of UTC, such as 2026-03-14.
    Column("day", String(10), primary_key=True),
    Column("messages_received", Integer, nullable=False),
    Column("messages_sent", Integer, nullable=False),
    Column("agent_runs", Integer, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    # For the last day that was counted.
    Index("ix_usage_days_day", "day"),
)
