"""What it means when a server refuses a connection: a wrong setting, or something that passes."""

import psycopg
import pytest

from recado.core.errors import ConfigurationError, StorageUnavailable
from recado.migrations.refusals import postgres_refusal, table_missing

SAID = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: FATAL:  '


@pytest.mark.parametrize(
    "reason",
    [
        'password authentication failed for user "recado"',
        'Peer authentication failed for user "recado"',
        'role "recado" does not exist',
        'database "recado" does not exist',
        'no pg_hba.conf entry for host "10.0.0.1", user "recado", database "recado", no encryption',
        'permission denied for database "recado"',
        'role "recado" is not permitted to log in',
        'database "template0" is not currently accepting connections',
    ],
)
def test_a_permanent_refusal_is_a_wrong_setting(reason: str) -> None:
    refusal = postgres_refusal(psycopg.OperationalError(SAID + reason))
    assert isinstance(refusal, ConfigurationError)
    assert "RECADO_DATABASE_URL" in str(refusal)
    assert reason in str(refusal)


@pytest.mark.parametrize(
    "reason",
    [
        "the database system is starting up",
        "the database system is not yet accepting connections",
        "the database system is not accepting connections",
        "the database system is shutting down",
        "the database system is in recovery mode",
        "sorry, too many clients already",
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "terminating connection due to administrator command",
        "could not write init file: No space left on device",
        "o sistema de banco de dados está iniciando",
    ],
)
def test_what_may_pass_is_waited_for(reason: str) -> None:
    assert isinstance(postgres_refusal(psycopg.OperationalError(SAID + reason)), StorageUnavailable)


def test_a_table_that_is_missing_is_named() -> None:
    told = table_missing(psycopg.errors.UndefinedTable('relation "owners" does not exist'), "the database")
    assert "the database is at a schema of Recado's and lacks its table owners" in str(told)


def test_a_column_that_is_missing_is_a_mistake_of_ours() -> None:
    assert table_missing(psycopg.errors.UndefinedColumn('column "x" does not exist'), "the database") is None


def test_a_transaction_that_the_server_found_too_long_passes() -> None:
    error = psycopg.errors.TransactionTimeout("terminating connection due to transaction timeout")
    assert isinstance(postgres_refusal(error), StorageUnavailable)
