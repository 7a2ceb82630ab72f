"""Look up names that owners chose, so that one that takes long delays no other.

A name server may take many seconds to answer, and a lookup cannot be stopped. In the threads that an event loop has for
everything, a few such names would hold up the names of providers and whatever else is done in a thread. So these have
threads of their own, and the names of one domain never take all of them: its owner may let them hang on purpose.
"""

import asyncio
import functools
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeAlias

THREADS: Final = 32
MOST_OF_A_DOMAIN: Final = 8
"""How many names of one domain are looked up at a time."""
MOST_WAITING: Final = 128
"""How many more of them may wait."""
_LONGEST_SECOND_LEVEL: Final = 3
"""`com.br` and `co.uk` are no one's domain: names of countries' domains count with three parts."""

LookUp: TypeAlias = Callable[[str], Sequence[str]]
"""Returns the addresses of a name, as texts; none when it has none. It may take long."""


class NamesBusy(Exception):
    """Too many names of one domain wait to be looked up."""


@dataclass(slots=True)
class _Domain:
    """The lookups of a domain: how many run, and those that wait."""

    running: int = 0
    waiting: deque[str] = field(default_factory=deque)


class Names:
    """Looks up names, each once at a time however many ask for it. Event loops may share it."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="names")
        self._lock = threading.Lock()
        self._asked: dict[str, Future[Sequence[str]]] = {}
        self._domains: dict[str, _Domain] = {}

    async def addresses(self, name: str) -> Sequence[str]:
        """Return the addresses of a name; none when it has none. Raises `NamesBusy`."""
        with self._lock:
            answer = self._asked.get(name) or self._ask(name)
        return await asyncio.wrap_future(answer)

    def close(self) -> None:
        """Wait for no lookup any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, name: str) -> Future[Sequence[str]]:
        domain = self._domains.setdefault(domain_of(name), _Domain())
        if len(domain.waiting) >= MOST_WAITING:
            raise NamesBusy
        answer: Future[Sequence[str]] = Future()
        answer.set_running_or_notify_cancel()  # Who gives up must not cancel it for the others.
        self._asked[name] = answer
        domain.waiting.append(name)
        self._start(domain)
        return answer

    def _start(self, domain: _Domain) -> None:
        while domain.waiting and domain.running < MOST_OF_A_DOMAIN:
            domain.running += 1
            self._threads.submit(self._run, domain.waiting.popleft())

    def _run(self, name: str) -> None:
        found: Sequence[str] = ()
        try:
            found = self._look_up(name)
        finally:
            self._ended(name).set_result(found)

    def _ended(self, name: str) -> Future[Sequence[str]]:
        with self._lock:
            domain = self._domains[domain_of(name)]
            domain.running -= 1
            self._start(domain)
            if not domain.running:
                del self._domains[domain_of(name)]
            return self._asked.pop(name)


def domain_of(name: str) -> str:
    """Return the part of a name that has one owner, as far as its form tells."""
    parts = name.lower().rstrip(".").split(".")
    of_country = len(parts[-1]) == 2 and len(parts) > 2 and len(parts[-2]) <= _LONGEST_SECOND_LEVEL
    return ".".join(parts[-3 if of_country else -2 :])


def _system_lookup(name: str) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@functools.cache
def shared_names() -> Names:
    """Return the lookups of this process."""
    return Names(_system_lookup)
