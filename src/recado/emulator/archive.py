"""Messages and deliveries in memory, up to a limit. The oldest are dropped first."""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeVar

from recado.emulator.forms import Form
from recado.emulator.messages import EmulatedMessage


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to an application: the webhook of an inbound message or the callback of an outbound one."""

    kind: str
    message: EmulatedMessage
    url: str
    form: Form
    fallback_url: str | None = None

    @property
    def message_status(self) -> str:
        return next((value for name, value in self.form if name == "MessageStatus"), "received")


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """One attempt to reach an application, and its result."""

    seq: int
    kind: str
    message_sid: str
    message_status: str
    url: str
    attempt: int
    status: int | None
    error: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Search:
    """The filters of a list of messages."""

    to: str | None = None
    sender: str | None = None
    sent_from: float | None = None
    sent_until: float | None = None

    def finds(self, message: EmulatedMessage) -> bool:
        """Return whether a message passes the filters."""
        if message.deleted or self.to not in (None, message.to) or self.sender not in (None, message.sender):
            return False
        # A queued message has no date of sending and is found by its date of creation. Callers only see whole seconds.
        moment = int(message.created if message.sent is None else message.sent)
        after = self.sent_from is None or moment >= int(self.sent_from)
        return after and (self.sent_until is None or moment <= self.sent_until)


Numbered = TypeVar("Numbered", EmulatedMessage, WebhookDelivery)


class Archive:
    """Finds messages by SID, by account and by recipient."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._by_sid: dict[str, EmulatedMessage] = {}
        self._all: deque[EmulatedMessage] = deque()
        self._by_account: defaultdict[str, deque[EmulatedMessage]] = defaultdict(deque)
        self._by_to: defaultdict[tuple[str, str], deque[EmulatedMessage]] = defaultdict(deque)
        self._deliveries: deque[WebhookDelivery] = deque(maxlen=keep)
        self._seq = 0
        self._delivery_seq = 0

    def next_seq(self) -> int:
        """Return the sequence number of the next message."""
        self._seq += 1
        return self._seq

    def add(self, message: EmulatedMessage) -> None:
        """Keep a message, and drop the oldest one above the limit."""
        self._by_sid[message.sid] = message
        for pool in self._pools(message):
            pool.append(message)
        if len(self._all) > self._keep:
            self._drop_oldest()

    def get(self, sid: str) -> EmulatedMessage | None:
        """Return a message of any account, also a deleted one."""
        return self._by_sid.get(sid)

    def search(self, account_sid: str, search: Search, created_until: float) -> Iterator[EmulatedMessage]:
        """Yield the messages of an account, the newest first."""
        pool = self._by_account[account_sid] if search.to is None else self._by_to[account_sid, search.to]
        return (message for message in reversed(pool) if message.created <= created_until and search.finds(message))

    def messages_after(self, seq: int) -> list[EmulatedMessage]:
        """Return the messages after a sequence number."""
        return _after(self._all, seq)

    def deliveries_after(self, seq: int) -> list[WebhookDelivery]:
        """Return the deliveries after a sequence number."""
        return _after(self._deliveries, seq)

    def record(
        self, outgoing: Outgoing, kind: str, attempt: int, status: int | None, error: int | None, at: float
    ) -> WebhookDelivery:
        """Keep an attempt to reach an application."""
        self._delivery_seq += 1
        sid, status_sent = outgoing.message.sid, outgoing.message_status
        delivery = WebhookDelivery(self._delivery_seq, kind, sid, status_sent, outgoing.url, attempt, status, error, at)
        self._deliveries.append(delivery)
        return delivery

    def _drop_oldest(self) -> None:
        oldest = self._all[0]
        for pool in self._pools(oldest):
            pool.popleft()
        if not self._by_to[oldest.account_sid, oldest.to]:
            del self._by_to[oldest.account_sid, oldest.to]
        if self._by_sid.get(oldest.sid) is oldest:
            del self._by_sid[oldest.sid]

    def _pools(self, message: EmulatedMessage) -> tuple[deque[EmulatedMessage], ...]:
        account = message.account_sid
        return self._all, self._by_account[account], self._by_to[account, message.to]


def _after(kept: deque[Numbered], seq: int) -> list[Numbered]:
    """Search from the end: callers are usually nearly up to date."""
    found = list(takewhile(lambda item: item.seq > seq, reversed(kept)))
    found.reverse()
    return found
