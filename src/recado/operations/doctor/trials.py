"""Trials of what a server does with a database: a write, and opening what is sealed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from recado.channels.reading import AccountItem, newest_accounts
from recado.core.clock import SystemClock
from recado.core.database.engine import Database, on_postgresql
from recado.core.errors import DomainError
from recado.identity.keys import KeyRing
from recado.identity.models import SealedOwnerKeys
from recado.operations.doctor.findings import Finding
from recado.operations.keys import OPENS_NONE, system_key_problem, unopened
from recado.operations.storage.readiness import newest_keys, read_only_problem, trial_write

TRIAL_SECONDS: Final = 10.0
"""The time limit of the trials."""
_MOST: Final = 10_000
_NAMED: Final = 3
"""A sentence names at most this many owners or accounts."""

_OF_ANOTHER: Final = "they were sealed with another RECADO_SECRET_KEY, and one must open the keys of all owners"
_CHANGED: Final = "their rows were changed; restore them from a backup"

CredentialProblem = Callable[[UUID], Awaitable[str | None]]
"""Returns why the credentials of an account cannot be used, or None."""


async def try_database(database: Database, key_ring: KeyRing, credential_problem: CredentialProblem) -> list[Finding]:
    """Try a write, the key and the credentials, and close the database."""
    try:
        async with asyncio.timeout(TRIAL_SECONDS):
            write, key = await _try_write(database), await _try_key(database, key_ring)
            # Under a wrong key no credential opens either, and to store them again would not help.
            return [write, key, *(await _try_accounts(database, credential_problem) if key.ok else ())]
    except TimeoutError:
        return [Finding("write", False, f"the database did not answer within {TRIAL_SECONDS:g} s")]
    except DomainError as error:
        return [Finding("write", False, str(error))]
    finally:
        await database.close()


async def _try_write(database: Database) -> Finding:
    if on_postgresql(database.url):
        why = await database.read(read_only_problem, owner=None)
        if why is not None:
            return Finding("write", False, why)
    now = SystemClock().now()
    await database.write(lambda uow: trial_write(uow, now), owner=None, urgent=True)
    return Finding("write", True, "a trial row was stored and deleted")


async def _try_key(database: Database, key_ring: KeyRing) -> Finding:
    stored = await database.read(lambda uow: newest_keys(uow, _MOST), owner=None)
    found = check_key(stored, key_ring)
    why = await database.read(lambda uow: system_key_problem(uow, key_ring), owner=None) if found.ok else None
    return found if why is None else Finding("key", False, why)


def check_key(stored: Sequence[SealedOwnerKeys], key_ring: KeyRing) -> Finding:
    """Check the key: the id beside an owner's keys tells whether another key sealed them or the row was changed."""
    closed = unopened(stored, key_ring)
    if not stored:
        return Finding("key", True, "no owner is registered yet")
    if not closed:
        return Finding("key", True, f"RECADO_SECRET_KEY opens the keys of all owners ({len(stored)})")
    of_another = [each for each in closed if key_ring.is_of_another(each)]
    if len(of_another) == len(stored):
        return Finding("key", False, OPENS_NONE)
    named = _named([str(each.id) for each in of_another or closed])
    return Finding(
        "key",
        False,
        f"RECADO_SECRET_KEY opens the keys of {len(stored) - len(closed)} of {len(stored)} owners, but not those of "
        f"{named}: {_OF_ANOTHER if of_another else _CHANGED}",
    )


async def _try_accounts(database: Database, credential_problem: CredentialProblem) -> list[Finding]:
    accounts = await database.read(lambda uow: newest_accounts(uow, _MOST), owner=None)
    broken = [each for each in accounts if await credential_problem(each.id) is not None]
    return [*check_credentials(accounts, broken), *paused_accounts(accounts, SystemClock().now())]


def check_credentials(accounts: Sequence[AccountItem], broken: Sequence[AccountItem]) -> list[Finding]:
    """Report accounts whose credentials cannot be opened."""
    if not accounts:
        return []
    if not broken:
        return [Finding("credentials", True, f"all stored credentials can be opened ({len(accounts)})")]
    named = _named([each.account_ref for each in broken])
    return [
        Finding(
            "credentials",
            False,
            f"{len(broken)} of {len(accounts)} stored credentials cannot be opened, those of {named}: store them again "
            "with `recado numbers add`",
        )
    ]


def paused_accounts(accounts: Sequence[AccountItem], now: datetime) -> list[Finding]:
    """Note each account that sends nothing now."""
    return [
        Finding(
            "paused",
            True,
            f"account {each.account_ref} of owner {each.owner_id} sends nothing until "
            f"{each.paused_until:%Y-%m-%d %H:%M} UTC ({each.paused_why or 'refused by the provider'})",
        )
        for each in accounts
        if each.is_paused(now)
    ]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
