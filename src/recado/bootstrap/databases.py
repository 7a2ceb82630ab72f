"""Databases by their URL: the tables, the clock and the wake-ups of each."""

import resource

from sqlalchemy import MetaData

from recado.core.clock import Clock, SystemClock
from recado.core.database.changes import Changes
from recado.core.database.engine import Database, on_postgresql
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.errors import ConfigurationError
from recado.core.event_log.following import EventFollowing, FollowLimits
from recado.core.event_log.reading import EventReading
from recado.core.event_log.signals.contract import EventSignals
from recado.core.event_log.signals.sqlite import SqliteEventSignals
from recado.core.metrics import Meters
from recado.core.queue.wakeups.contract import Delivery
from recado.core.queue.wakeups.sqlite import SqliteDelivery


def metadata() -> MetaData:
    """Return the metadata of all tables. Migrations compare it with the database."""
    import recado.agents.tables
    import recado.channels.tables
    import recado.channels.twilio.tables
    import recado.conversation.search_tables
    import recado.conversation.tables
    import recado.core.event_log.tables
    import recado.core.queue.storage.tables
    import recado.events.tables
    import recado.identity.tables
    import recado.operations.dead_letters.tables
    import recado.operations.usage.tables  # noqa: F401 - importing registers the tables
    from recado.core.database.types import metadata as registered

    return registered


def open_database(url: str, meters: Meters | None = None, changes: Changes | None = None) -> Database:
    """Return the database of a URL, not connected yet. `meters` count what is stored, `changes`
    tell of it."""
    if not on_postgresql(url):
        return SqliteDatabase(url, meters, changes)
    from recado.core.database.postgres.database import PostgresDatabase

    return PostgresDatabase(url, meters, changes)


def clock_of(database: Database) -> Clock:
    """Return the clock of a database: that of the PostgreSQL server, or of this machine for SQLite."""
    if isinstance(database, SqliteDatabase):
        return SystemClock()
    from recado.core.database.postgres.database import PostgresDatabase

    return database.clock if isinstance(database, PostgresDatabase) else SystemClock()


def event_signals_of(database: Database, changes: Changes) -> EventSignals:
    """Return how a process learns of new events: from the database itself."""
    if isinstance(database, SqliteDatabase):
        return SqliteEventSignals(database, changes)
    from recado.core.database.postgres.database import PostgresDatabase
    from recado.core.event_log.signals.postgres import PostgresEventSignals

    if not isinstance(database, PostgresDatabase):
        raise ConfigurationError(f"{type(database).__name__} tells of no events; this is a fault of Recado")
    return PostgresEventSignals(database)


def database_wakeups_of(database: Database, clock: Clock) -> Delivery:
    """Return the wake-up source of the database, which needs no broker."""
    if isinstance(database, SqliteDatabase):
        return SqliteDelivery(database, clock)
    from recado.core.database.postgres.database import PostgresDatabase
    from recado.core.queue.wakeups.postgres import PostgresDelivery

    if not isinstance(database, PostgresDatabase):
        raise ConfigurationError(
            f"no wake-up source is configured for {type(database).__name__}; this is a fault of Recado"
        )
    return PostgresDelivery(database, clock)


def make_following(reading: EventReading, database: Database, changes: Changes) -> EventFollowing:
    """Return what streams of events ask. They may have half of a server's connections, one owner's a quarter."""
    most = min(FollowLimits().followers, max(2, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8))
    return EventFollowing(reading, event_signals_of(database, changes), FollowLimits(most, max(1, most // 2)))
