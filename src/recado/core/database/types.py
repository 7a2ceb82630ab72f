"""Column types shared by every table.

Ids are stored as bytes, moments as whole microseconds: at ten million rows the width of the keys decides whether the
index on the providers' random ids stays in memory.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import BigInteger, Dialect, Index, LargeBinary, MetaData, String, TypeDecorator, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeEngine

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Return a moment as SQLite stores it: whole microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def _id_bytes(value: UUID | None) -> bytes | None:
    return None if value is None else value.int.to_bytes(16)


def _id_of(value: bytes | None) -> UUID | None:
    return None if value is None else UUID(bytes=value)


class Id(TypeDecorator[UUID]):
    """A UUID: 16 bytes on SQLite, `uuid` on PostgreSQL. Byte order is creation order for UUIDv7."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[UUID] | TypeEngine[bytes]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.UUID(as_uuid=True))
        return dialect.type_descriptor(LargeBinary(16))

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> UUID | bytes | None:
        if value is None or dialect.name == "postgresql":
            return value
        return _id_bytes(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[UUID | None], object] | None:
        """Return the conversion alone: SQLAlchemy's general one calls two more functions for each value."""
        return None if dialect.name == "postgresql" else _id_bytes

    def process_result_value(self, value: UUID | bytes | None, _dialect: Dialect) -> UUID | None:
        return _id_of(value) if isinstance(value, bytes) else value

    def result_processor(self, dialect: Dialect, _coltype: object) -> Callable[[bytes | None], UUID | None] | None:
        """Return no conversion on PostgreSQL: its driver returns UUIDs."""
        return None if dialect.name == "postgresql" else _id_of


def _microseconds(value: datetime | None) -> int | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a naive datetime reached the database; make it aware")
    return to_microseconds(value)


def _aware(value: datetime | None) -> datetime | None:
    if value is not None and value.tzinfo is None:
        raise ValueError("a naive datetime reached the database; make it aware")
    return value


def _moment_of(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(microseconds=value)


class Moment(TypeDecorator[datetime]):
    """An aware datetime in UTC: microseconds since 1970 on SQLite, `timestamptz` on PostgreSQL."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[int]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | int | None:
        stored = _microseconds(value)
        return value if dialect.name == "postgresql" else stored

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], object] | None:
        """See `Id.bind_processor`."""
        return _aware if dialect.name == "postgresql" else _microseconds

    def process_result_value(self, value: datetime | int | None, _dialect: Dialect) -> datetime | None:
        return _moment_of(value) if isinstance(value, int) else value

    def result_processor(self, dialect: Dialect, _coltype: object) -> Callable[[int | None], datetime | None] | None:
        """Return no conversion on PostgreSQL:

        its driver returns aware moments, in UTC because our connections ask for it.
        """
        return None if dialect.name == "postgresql" else _moment_of


_COMPACT = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
_AS_TEXT = b"\xff"
"""Begins an id that is stored as its text; no compact id begins so."""
LONGEST_PROVIDER_ID = 255


class ProviderId(TypeDecorator[str]):
    """A provider's id of an account or a message: text of up to 255 characters, given back exactly as it was stored.

    The usual form of Twilio's ids (`SM` and 32 lower-case hexadecimal digits) takes 18 bytes: its two letters and the
    16 bytes of its digits. Every other id is stored as its text, marked by a first byte that is no letter.
    """

    impl = LargeBinary(4 * LONGEST_PROVIDER_ID + 1)
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        if _COMPACT.fullmatch(value):
            return value[:2].encode() + bytes.fromhex(value[2:])
        if len(value) > LONGEST_PROVIDER_ID:
            raise ValueError(f"a provider's id has {len(value)} characters, {LONGEST_PROVIDER_ID} at most")
        return _AS_TEXT + value.encode("utf-8", "surrogatepass")

    def process_result_value(self, value: bytes | None, _dialect: Dialect) -> str | None:
        if value is None:
            return None
        if value[:1] == _AS_TEXT:
            return value[1:].decode("utf-8", "surrogatepass")
        return value[:2].decode() + value[2:].hex()


class Json(TypeDecorator[JsonValue]):
    """JSON as compact text, sorted so that equal values are equal rows."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: JsonValue, _dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> JsonValue:
        if value is None:
            return None
        loaded: JsonValue = json.loads(value)
        return loaded


class JsonObject(TypeDecorator[Mapping[str, JsonValue]]):
    """A JSON object: `jsonb` on PostgreSQL, compact text on SQLite."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(postgresql.JSONB() if dialect.name == "postgresql" else String())

    def process_bind_param(
        self, value: Mapping[str, JsonValue] | None, dialect: Dialect
    ) -> str | Mapping[str, JsonValue] | None:
        if value is None or dialect.name == "postgresql":
            return value
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    def process_result_value(
        self, value: str | Mapping[str, JsonValue] | None, _dialect: Dialect
    ) -> Mapping[str, JsonValue] | None:
        if not isinstance(value, str):
            return value
        loaded: Mapping[str, JsonValue] = json.loads(value)
        return loaded


class earlier(GenericFunction[datetime]):  # noqa: N801 - a function of SQL, in its spelling
    """The earlier of two moments. Neither may be NULL, for the databases differ there."""

    inherit_cache = True


@compiles(earlier, "sqlite")
def _earlier_on_sqlite(element: earlier, compiler: SQLCompiler, **_options: object) -> str:
    return f"min({compiler.process(element.clauses)})"


@compiles(earlier, "postgresql")
def _earlier_on_postgresql(element: earlier, compiler: SQLCompiler, **_options: object) -> str:
    return f"least({compiler.process(element.clauses)})"


def partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Return an index over the rows that meet a condition, for each database."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))
