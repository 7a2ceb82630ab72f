"""Trials of what a server does with a database: a write, and opening stored credentials with the key."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from recado.core.clock import SystemClock
from recado.core.database.engine import on_postgresql
from recado.core.errors import DomainError
from recado.operations.doctor.findings import Finding

if TYPE_CHECKING:
    from recado.core.database.engine import Database
    from recado.core.sealing import Sealer
    from recado.operations.readiness import SealedToken


TRIAL_SECONDS: Final = 10.0
"""The time limit of the trials."""


_CREDENTIALS: Final = 10_000


_NAMED: Final = 3
"""A sentence names at most this many accounts."""


async def try_database(database: "Database", sealer: "Sealer") -> list[Finding]:
    """Try a write and the key, and close the database."""
    try:
        async with asyncio.timeout(TRIAL_SECONDS):
            return [await _try_write(database), await _try_key(database, sealer)]
    except TimeoutError:
        return [Finding("write", False, f"the database did not answer within {TRIAL_SECONDS:g} s")]
    except DomainError as error:
        return [Finding("write", False, str(error))]
    finally:
        await database.close()


async def _try_write(database: "Database") -> Finding:
    from recado.operations.readiness import read_only_problem, trial_write

    if on_postgresql(database.url):
        why = await database.read(read_only_problem, owner=None)
        if why is not None:
            return Finding("write", False, why)
    now = SystemClock().now()
    await database.write(lambda uow: trial_write(uow, now), owner=None, urgent=True)
    return Finding("write", True, "a trial row was stored and deleted")


async def _try_key(database: "Database", sealer: "Sealer") -> Finding:
    from recado.operations.readiness import newest_credentials

    accounts = await database.read(lambda uow: newest_credentials(uow, _CREDENTIALS), owner=None)
    return check_credentials(accounts, sealer)


def check_credentials(accounts: "Sequence[SealedToken]", sealer: "Sealer") -> Finding:
    """Check the key: if it opens no credential it is the wrong key, if it opens some the other rows were changed."""
    from recado.operations.readiness import OPENS_NONE, opens

    closed = [account for account in accounts if not opens(sealer, account)]
    if not accounts:
        return Finding("key", True, "no credential is stored yet")
    if not closed:
        return Finding("key", True, f"RECADO_SECRET_KEY opens what is stored ({len(accounts)} credentials)")
    if len(closed) == len(accounts):
        return Finding("key", False, OPENS_NONE)
    named = ", ".join(account.account_ref for account in closed[:_NAMED]) + (" …" if len(closed) > _NAMED else "")
    return Finding(
        "key",
        False,
        f"RECADO_SECRET_KEY opens {len(accounts) - len(closed)} of {len(accounts)} stored credentials, but not those "
        f"of {named}: store their tokens again with `recado numbers add`",
    )
