"""Everything this Twilio knows and decides, without a socket: accounts, messages, who opted out, what happens next.

Time only passes when `advance` is called, so a test can play a day of it at once; whoever runs the store for real
calls `advance` whenever `next_due` has come. Messages are kept in memory up to a limit, the oldest go first.
"""

import heapq
import mimetypes
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, takewhile
from typing import TypeVar

from recado.emulator.clock import Now, SidGenerator
from recado.emulator.forms import Attachment, Form, InboundRequest, callback_form, inbound_form, keyword_of
from recado.emulator.journal import Journal
from recado.emulator.messages import UNFINISHED, EmulatedMessage, Media, channel_of
from recado.emulator.rules.faults import INBOUND, LATER, Fault, Faults
from recado.emulator.rules.lifecycle import Lifecycle, StatusStep, disturb, happens, plan
from recado.emulator.rules.refusals import NOT_FOUND, Refusal, text_of
from recado.emulator.rules.validation import (
    CreateRequest,
    invalid_address,
    invalid_content,
    magic_refusal,
    missing_parameter,
    moment_of,
)
from recado.emulator.settings import EmulatorSettings, Number

WINDOW_SECONDS = 24 * 3600
_KEYWORD_REPLIES = {
    "STOP": "You will get no more messages from this number. Send START to get them again.",
    "START": "You will get messages from this number again. Send STOP to end them.",
    "HELP": "Send STOP to end the messages of this number.",
}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to an application: the webhook of an inbound message or the callback of an outbound one."""

    kind: str
    message: EmulatedMessage
    url: str
    form: Form
    fallback_url: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """One attempt of ours to reach an application, and what became of it."""

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
    to: str | None = None
    sender: str | None = None
    sent_from: float | None = None
    sent_until: float | None = None

    def finds(self, message: EmulatedMessage) -> bool:
        if message.deleted or self.to not in (None, message.to) or self.sender not in (None, message.sender):
            return False
        # A message that is still queued has no date of sending; it is looked up by its date of creation. Callers
        # only ever saw whole seconds, so they are what is compared.
        moment = int(message.created if message.sent is None else message.sent)
        after = self.sent_from is None or moment >= int(self.sent_from)
        return after and (self.sent_until is None or moment <= self.sent_until)


Numbered = TypeVar("Numbered", EmulatedMessage, WebhookDelivery)


class Store:
    def __init__(
        self,
        settings: EmulatorSettings,
        *,
        now: Now,
        ids: SidGenerator,
        chance: random.Random,
        journal: Journal,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._now = now
        self._ids = ids
        self._chance = chance
        self._journal = journal
        self._changed = changed
        self.base_url = settings.base_url or ""
        self._begin()

    def _begin(self) -> None:
        settings = self._settings
        self.accounts = dict(settings.accounts)
        self.keys = dict(settings.api_keys)
        self.numbers = {number.address: number for number in settings.numbers}
        self.policies = settings.policies
        self.faults = Faults()
        self.opted_out: set[tuple[str, str]] = set()
        self._by_sid: dict[str, EmulatedMessage] = {}
        self._all: deque[EmulatedMessage] = deque()
        self._by_account: defaultdict[str, deque[EmulatedMessage]] = defaultdict(deque)
        self._by_to: defaultdict[tuple[str, str], deque[EmulatedMessage]] = defaultdict(deque)
        self._deliveries: deque[WebhookDelivery] = deque(maxlen=settings.keep)
        self._heard: dict[tuple[str, str], float] = {}
        self._early: dict[str, Lifecycle] = {}
        self._agenda: list[tuple[float, int, Lifecycle | Outgoing]] = []
        self._order = count()
        self._seq = 0
        self._delivery_seq = 0

    def reset(self) -> None:
        """Everything is as it was at the start, and cursors begin again; the journal goes on."""
        self._begin()
        self._changed()

    # Creates.

    def create(self, account_sid: str, draft: CreateRequest, *, fault: str | None = None) -> EmulatedMessage | Refusal:
        now = self._now()
        sender = draft.sender or self._sender_of_service(account_sid, draft)
        refusal = (
            missing_parameter(draft)
            or invalid_address(draft)
            or magic_refusal(draft)
            or self._forbids(account_sid, draft, sender)
            or invalid_content(draft, now)
        )
        if refusal is not None:
            return refusal
        message = self._outbound(account_sid, draft, now)
        self._keep_message(message)
        self._log_accepted("create", message, fault)
        start = (moment_of(draft.send_at) or now) if draft.schedule_type else now
        self._plan(message, sender, start, self.faults.take(LATER, message.to, message.body))
        self._changed()
        return message

    def _outbound(self, account_sid: str, draft: CreateRequest, now: float) -> EmulatedMessage:
        media = tuple(self._media(_by_url(url)) for url in draft.media_urls)
        status = "scheduled" if draft.schedule_type else "accepted" if draft.service else "queued"
        return EmulatedMessage(
            sid=self._ids.sid("MM" if media else "SM"),
            seq=self._next_seq(),
            account_sid=account_sid,
            direction="outbound-api",
            sender=draft.sender or None,
            to=draft.to,
            body=draft.body,
            status=status,
            created=now,
            updated=now,
            media=media,
            messaging_service_sid=draft.service or None,
            status_callback=draft.status_callback or None,
            content_sid=draft.content_sid or None,
            content_variables=draft.content_variables or None,
            persistent_action=draft.persistent_action or None,
        )

    def own_numbers(self, account_sid: str, like: str) -> list[str]:
        """The account's phone numbers with these characters in them. Where any address may send, so may this one."""
        mine = [each.address for each in self.numbers.values() if each.account_sid == account_sid]
        found = [address for address in mine if channel_of(address) == "sms" and like in address]
        if like.startswith("+") and not self.policies.restrict_senders and like not in self.numbers:
            found.append(like)
        return found

    def senders_of(self, account_sid: str, prefix: str) -> list[str]:
        """The account's addresses on a channel that has a prefix."""
        mine = [each.address for each in self.numbers.values() if each.account_sid == account_sid]
        return [address for address in mine if address.startswith(prefix)]

    def _sender_of_service(self, account_sid: str, draft: CreateRequest) -> str | None:
        """Services are not modelled: any of them sends from the first number of the account on that channel."""
        channel = channel_of(draft.to)
        mine = (number.address for number in self.numbers.values() if number.account_sid == account_sid)
        return next((address for address in mine if channel_of(address) == channel), None)

    def _forbids(self, account_sid: str, draft: CreateRequest, sender: str | None) -> Refusal | None:
        if sender is None:
            return Refusal(21703)
        owner = self.numbers.get(sender)
        foreign = owner is not None and owner.account_sid != account_sid
        if foreign or (owner is None and self.policies.restrict_senders):
            return Refusal(21606 if channel_of(sender) == "sms" else 63007)
        if (sender, draft.to) in self.opted_out and not self.policies.advanced_opt_out:
            return Refusal(21610)
        return None

    # What becomes of a message.

    def _plan(self, message: EmulatedMessage, sender: str | None, start: float, fault: Fault | None) -> None:
        policies = self.policies
        kind = None if fault is None else fault.kind
        read = policies.read_receipts and message.channel != "sms"
        steps = plan(message, fault, self._late_refusal(message, sender or ""), read=read)
        steps = disturb(steps, kind, policies, self._chance)
        life = Lifecycle(message, sender, steps, start, policies.callback_delay)
        if kind == "callback_early" or happens(policies.callback_early, self._chance):
            self._early[message.sid] = life
        else:
            self._await_next_step(life)

    def _await_next_step(self, life: Lifecycle) -> None:
        if life.taken < len(life.steps):
            life.due += life.delay
            self._at(life.due, life)

    def _late_refusal(self, message: EmulatedMessage, sender: str) -> int | None:
        if message.direction == "outbound-api" and (sender, message.to) in self.opted_out:
            return 21610
        if not self.policies.enforce_window or message.channel != "whatsapp" or message.content_sid:
            return None
        heard = self._heard.get((sender, message.to))
        return None if heard is not None and self._now() - heard < WINDOW_SECONDS else 63016

    def hurry(self, message: EmulatedMessage) -> list[Outgoing]:
        """The callbacks that must arrive before the answer to the create does; usually none."""
        life = self._early.pop(message.sid, None)
        return [] if life is None else list(self._take_step(life))

    def next_due(self) -> float | None:
        return self._agenda[0][0] if self._agenda else None

    def advance(self) -> list[Outgoing]:
        """Lets everything happen that is due by now; the answer is what applications must be told."""
        now = self._now()
        told: list[Outgoing] = []
        while self._agenda and self._agenda[0][0] <= now:
            _, _, item = heapq.heappop(self._agenda)
            if isinstance(item, Outgoing):
                told.append(item)
            else:
                told.extend(self._take_step(item))
        return told

    def _at(self, due: float, item: Lifecycle | Outgoing) -> None:
        heapq.heappush(self._agenda, (due, next(self._order), item))

    def _take_step(self, life: Lifecycle) -> Iterator[Outgoing]:
        message = life.message
        if message.deleted or message.status == "canceled":
            return
        step = life.steps[life.taken]
        life.taken += 1
        self._await_next_step(life)
        self._become(message, step, life.sender)
        if message.status_callback is not None:
            for status in step.announced:
                form = callback_form(message, status, message.updated)
                yield Outgoing("callback", message, message.status_callback, form)

    def _become(self, message: EmulatedMessage, step: StatusStep, sender: str | None) -> None:
        message.status, message.updated = step.status, self._now()
        message.sender = message.sender or sender
        if step.status == "sent":
            message.sent = message.updated
        if step.error_code is not None:
            message.error_code, message.error_message = step.error_code, text_of(step.error_code)
        self._changed()

    # Inbound.

    def receive(self, inbound: InboundRequest) -> EmulatedMessage | Refusal:
        """A SID that is known already is a replay: nothing new is stored, the webhook goes out again."""
        number = self._number_for(inbound)
        if number is None:
            return NOT_FOUND
        message = self.message(number.account_sid, inbound.sid or "") or self._first_time(number, inbound)
        self._heard[message.to, inbound.sender] = message.created
        opt_out_type = self._hear_keyword(message, inbound)
        if number.webhook_url is not None:
            form = inbound_form(message, inbound, base_url=self.base_url, opt_out_type=opt_out_type)
            self._deliver(Outgoing("webhook", message, number.webhook_url, form, number.fallback_url), inbound)
        self._changed()
        return message

    def _number_for(self, inbound: InboundRequest) -> Number | None:
        """An address nobody configured still receives when it is clear whose it is."""
        known = self.numbers.get(inbound.to)
        if known is not None and inbound.account_sid in (None, known.account_sid):
            return known
        account = inbound.account_sid or (next(iter(self.accounts)) if len(self.accounts) == 1 else None)
        return Number(inbound.to, account) if account in self.accounts and account is not None else None

    def _first_time(self, number: Number, inbound: InboundRequest) -> EmulatedMessage:
        message = self._inbound(number, inbound)
        self._keep_message(message)
        self._log_accepted("inbound", message, None)
        return message

    def _inbound(self, number: Number, inbound: InboundRequest) -> EmulatedMessage:
        now = self._now()
        media = tuple(self._media(attachment) for attachment in inbound.media)
        return EmulatedMessage(
            sid=inbound.sid or self._ids.sid("MM" if media else "SM"),
            seq=self._next_seq(),
            account_sid=number.account_sid,
            direction="inbound",
            sender=inbound.sender,
            to=inbound.to,
            body=inbound.body or inbound.button_text or "",
            status="received",
            created=now,
            updated=now,
            sent=now,
            media=media,
        )

    def _deliver(self, outgoing: Outgoing, inbound: InboundRequest) -> None:
        fault = self.faults.take(INBOUND, outgoing.message.to, outgoing.message.body)
        kind = None if fault is None else fault.kind
        extra = self.policies.inbound_duplicates if inbound.duplicates is None else inbound.duplicates
        extra += 1 if kind == "inbound_duplicate" else 0
        wait = self.policies.inbound_delay if inbound.delay is None else inbound.delay
        if fault is not None and kind == "inbound_delay":
            wait += fault.seconds or 1.0
        for _ in range(1 + extra):
            self._at(self._now() + wait, outgoing)

    def _hear_keyword(self, message: EmulatedMessage, inbound: InboundRequest) -> str | None:
        """Gives the OptOutType of the webhook; Twilio's own reply goes out here."""
        heard = inbound.opt_out_type
        advanced = self.policies.advanced_opt_out
        if heard is None and (advanced or (message.channel == "sms" and self.policies.opt_out_keywords)):
            heard = keyword_of(message.body)
        if heard is None:
            return None
        pair = (message.to, inbound.sender)
        # "Yes" is a start word too: it is confirmed only to somebody who had stopped, or every yes would be answered.
        answered = heard in _KEYWORD_REPLIES and (heard != "START" or pair in self.opted_out)
        if heard == "STOP":
            self.opted_out.add(pair)
        elif heard == "START":
            self.opted_out.discard(pair)
        if answered:
            self.reply(message, _KEYWORD_REPLIES[heard])
        return heard if advanced or inbound.opt_out_type else None

    def reply(
        self,
        inbound: EmulatedMessage,
        body: str,
        *,
        media_urls: Iterable[str] = (),
        to: str | None = None,
        sender: str | None = None,
        status_callback: str | None = None,
    ) -> EmulatedMessage:
        """An answer that came in the response to the webhook, not through the API."""
        now = self._now()
        media = tuple(self._media(_by_url(url)) for url in media_urls)
        message = EmulatedMessage(
            sid=self._ids.sid("MM" if media else "SM"),
            seq=self._next_seq(),
            account_sid=inbound.account_sid,
            direction="outbound-reply",
            sender=sender or inbound.to,
            to=to or inbound.sender or "",
            body=body,
            status="queued",
            created=now,
            updated=now,
            media=media,
            status_callback=status_callback,
        )
        self._keep_message(message)
        self._log_accepted("reply", message, None)
        self._plan(message, message.sender, now, None)
        self._changed()
        return message

    # Reading and changing what is kept.

    def message(self, account_sid: str, sid: str) -> EmulatedMessage | None:
        found = self._by_sid.get(sid)
        return found if found is not None and found.account_sid == account_sid and not found.deleted else None

    def any_message(self, sid: str) -> EmulatedMessage | None:
        return self._by_sid.get(sid)

    def search(self, account_sid: str, search: Search) -> Iterator[EmulatedMessage]:
        """The newest first; very young messages stay hidden while a list lag is set."""
        visible = self._now() - self.policies.list_lag
        pool = self._by_account[account_sid] if search.to is None else self._by_to[account_sid, search.to]
        return (message for message in reversed(pool) if message.created <= visible and search.finds(message))

    def messages_after(self, seq: int) -> list[EmulatedMessage]:
        return _newer(self._all, seq)

    def deliveries_after(self, seq: int) -> list[WebhookDelivery]:
        return _newer(self._deliveries, seq)

    def cancel(self, message: EmulatedMessage) -> Refusal | None:
        if message.status not in UNFINISHED:
            return Refusal(30409, 409)
        message.status, message.updated = "canceled", self._now()
        self._changed()
        return None

    def redact(self, message: EmulatedMessage) -> None:
        message.body, message.updated = "", self._now()
        self._changed()

    def delete(self, message: EmulatedMessage) -> Refusal | None:
        if message.status in UNFINISHED:
            return Refusal(20009, 409)
        message.deleted, message.body, message.media = True, "", ()
        self._changed()
        return None

    def delete_media(self, message: EmulatedMessage, sid: str) -> None:
        message.media = tuple(media for media in message.media if media.sid != sid)

    def type_for(self, message: EmulatedMessage) -> None:
        message.typing_at = self._now()
        self._journal.write("typing", message.typing_at, sid=message.sid, account_sid=message.account_sid)
        self._changed()

    def record(self, outgoing: Outgoing, kind: str, attempt: int, status: int | None, error: int | None) -> None:
        self._delivery_seq += 1
        said = next((value for name, value in outgoing.form if name == "MessageStatus"), "received")
        delivery = WebhookDelivery(
            self._delivery_seq, kind, outgoing.message.sid, said, outgoing.url, attempt, status, error, self._now()
        )
        self._deliveries.append(delivery)
        self._journal.write(
            kind,
            delivery.at,
            sid=delivery.message_sid,
            account_sid=outgoing.message.account_sid,
            message_status=said,
            attempt=attempt,
            status=status,
            error=error,
            url=outgoing.url,
        )
        self._changed()

    def _media(self, attachment: Attachment) -> Media:
        return Media(self._ids.sid("ME"), attachment.content_type, attachment.content, attachment.url)

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _keep_message(self, message: EmulatedMessage) -> None:
        self._by_sid[message.sid] = message
        for pool in self._pools(message):
            pool.append(message)
        if len(self._all) > self._settings.keep:
            self._drop_oldest()

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

    def _log_accepted(self, event: str, message: EmulatedMessage, fault: str | None) -> None:
        self._journal.write(
            event,
            message.created,
            sid=message.sid,
            account_sid=message.account_sid,
            to=message.to,
            body=message.body,
            status=message.status,
            direction=message.direction,
            fault=fault,
            **{"from": message.sender},
        )


def _newer(kept: deque[Numbered], seq: int) -> list[Numbered]:
    """Walks from the new end: whoever asks is nearly up to date."""
    found = list(takewhile(lambda item: item.seq > seq, reversed(kept)))
    found.reverse()
    return found


def _by_url(url: str) -> Attachment:
    return Attachment(mimetypes.guess_type(url)[0] or "application/octet-stream", b"", url)
