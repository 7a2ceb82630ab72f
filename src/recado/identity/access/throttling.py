"""How often a password may be tried: freely at first, then with a wait that doubles.

What is counted is a pair of account and network address, if a user has signed in to the account from there before.
Otherwise the account and the address are counted, each by itself. So guessing at an account from elsewhere makes no one
wait who signs in from their usual place, and what one address does makes only that address wait.

A try is counted before its password is looked at, and forgiven when that was right: a thousand tries at once cannot all
pass the check before the first of them has failed. While a caller waits, further tries count for nothing.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from recado.core.queue.transactions import Transaction
from recado.identity.access.models import Failures
from recado.identity.access.repository import SignInFailures

FORGOTTEN_AFTER: Final = timedelta(days=1)
"""Failures older than this count no more."""
_FIRST_WAIT: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Limit:
    """How many tries are free, and how long the wait after them grows."""

    free: int
    longest: timedelta

    def wait(self, failures: int) -> timedelta:
        """Return the wait after the last of some failures."""
        if failures <= self.free:
            return timedelta(0)
        return min(_FIRST_WAIT * (1 << min(failures - self.free - 1, 20)), self.longest)


PAIR: Final = _Limit(free=5, longest=timedelta(minutes=15))
ACCOUNT: Final = _Limit(free=5, longest=timedelta(minutes=5))
"""Guessing from many addresses must not keep its user out for long who is on the road."""
ADDRESS: Final = _Limit(free=20, longest=timedelta(minutes=15))
"""Several people may share one."""
LINKS: Final = _Limit(free=5, longest=timedelta(hours=1))
"""Of links for one user, whom each of them bothers with a mail."""
INVITATIONS: Final = _Limit(free=100, longest=timedelta(minutes=15))
"""Of one organisation, which could mail strangers and take addresses that others want to use."""


@dataclass(frozen=True, slots=True)
class _Counted:
    subject: bytes
    limit: _Limit


@dataclass(frozen=True, slots=True)
class Try:
    """A try to prove who one is: for which account, and from where."""

    account: _Counted
    address: _Counted | None
    pair: _Counted | None

    @classmethod
    def of(cls, email: str, source: str | None, purpose: str = "sign in") -> "Try":
        """Return a try for an e-mail address in its stored spelling."""
        account = _Counted(_subject(purpose, "account", email), ACCOUNT)
        network = None if source is None else _network(source)
        if network is None:
            return cls(account, None, None)
        address = _Counted(_subject(purpose, "address", network), ADDRESS)
        return cls(account, address, _Counted(_subject(purpose, "pair", email, network), PAIR))


def count(tx: Transaction, attempt: Try) -> timedelta | None:
    """Count a try as failed. Return how long it has to wait instead, if it comes too early; then nothing is counted."""
    rows = SignInFailures(tx.uow)
    return _count(tx, rows, _counted(rows, attempt))


def count_link(tx: Transaction, owner_id: UUID, user_id: UUID | None) -> timedelta | None:
    """Count a link for a user, or an invitation. Return how long it has to wait instead, as `count` does."""
    if user_id is None:
        counted = _Counted(_subject("invite", "owner", str(owner_id)), INVITATIONS)
    else:
        counted = _Counted(_subject("link", "user", str(owner_id), str(user_id)), LINKS)
    rows = SignInFailures(tx.uow)
    rows.hold([counted.subject])
    return _count(tx, rows, [counted])


def _count(tx: Transaction, rows: SignInFailures, counted: Sequence[_Counted]) -> timedelta | None:
    now = [_current(tx, rows, each) for each in counted]
    wait = max((each.blocked_until - tx.now for each in now), default=timedelta(0))
    if wait > timedelta(0):
        return wait
    for each, before in zip(counted, now, strict=True):
        failures = before.failures + 1
        rows.put(Failures(each.subject, failures, tx.now, tx.now + each.limit.wait(failures)))
    return None


def forgive(tx: Transaction, attempt: Try, *, counted: bool = True) -> None:
    """Take back the count of a try that was right, and know its address from now on.

    `counted` is False for who proved in another way who they are.
    """
    rows = SignInFailures(tx.uow)
    for each in _counted(rows, attempt):
        # Of an address only this try is taken back: a stranger with an account of their own could guess for ever.
        if each == attempt.address and not counted:
            continue
        before = _current(tx, rows, each)
        left = max(before.failures - 1, 0) if each == attempt.address else 0
        rows.put(replace(before, failures=left, blocked_until=tx.now))
    if attempt.pair is not None:
        rows.put(Failures(attempt.pair.subject, 0, tx.now, tx.now))


def _counted(rows: SignInFailures, attempt: Try) -> Sequence[_Counted]:
    """Hold what is counted for a try, and return it."""
    every = [each for each in (attempt.account, attempt.address, attempt.pair) if each is not None]
    rows.hold([each.subject for each in every])
    if attempt.pair is not None and rows.get(attempt.pair.subject) is not None:
        return [attempt.pair]
    return [each for each in every if each != attempt.pair]


def _current(tx: Transaction, rows: SignInFailures, counted: _Counted) -> Failures:
    stored = rows.get(counted.subject)
    if stored is None or tx.now - stored.last_at >= FORGOTTEN_AFTER:
        return Failures(counted.subject, 0, tx.now, tx.now)
    return stored


def _network(source: str) -> str | None:
    """Return what is counted as one address: of IPv6 the half that a network gives to one customer.

    None for an address that is not public: it may be a proxy of ours, with many people behind it.
    """
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    known = mapped or address
    if not known.is_global:
        return None
    return str(known) if known.version == 4 else str(ipaddress.ip_network((known, 64), strict=False))


def _subject(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()
