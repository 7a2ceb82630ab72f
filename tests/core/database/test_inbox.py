"""The order in which writes are taken when more wait than can be written at once."""

import time
from collections.abc import Sequence
from concurrent.futures import Future

from recado.core.database.inbox import MAX_REST_WAIT_SECONDS, Inbox, Item, ThreadReply
from recado.core.database.unit_of_work import UnitOfWork


def nothing(_uow: UnitOfWork, names: Sequence[str]) -> Sequence[str]:
    return names


def waiting(inbox: Inbox, *names: str, urgent: bool, for_seconds: float = 0.0) -> None:
    for name in names:
        since = time.monotonic() - for_seconds
        inbox.put(Item(nothing, name, None, False, ThreadReply(Future()), since), urgent=urgent)


def taken(inbox: Inbox) -> list[str]:
    found: list[str] = []
    while group := inbox.take():
        found += [str(item.value) for item in group]
    return found


def test_the_urgent_go_first() -> None:
    inbox = Inbox()
    waiting(inbox, "rest", urgent=False)
    waiting(inbox, "claim", "accept", urgent=True)
    assert taken(inbox) == ["claim", "accept", "rest"]


def test_the_rest_takes_turns_with_the_urgent_once_it_has_waited_too_long() -> None:
    inbox = Inbox()
    waiting(inbox, "a", "b", urgent=False, for_seconds=2 * MAX_REST_WAIT_SECONDS)
    waiting(inbox, "1", "2", "3", urgent=True)
    assert taken(inbox) == ["a", "1", "b", "2", "3"]
