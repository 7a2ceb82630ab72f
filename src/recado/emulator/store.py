"""The state and decisions of the emulated Twilio, without sockets: accounts, messages, opt-outs, events to come.

Time passes only in `advance`, so a test can play a day at once. The service calls `advance` when `next_due` has come.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from recado.emulator.archive import Archive, Outgoing, Search, WebhookDelivery
from recado.emulator.clock import Now, SidGenerator
from recado.emulator.forms import Attachment, InboundRequest, attachment_of, callback_form, inbound_form, keyword_of
from recado.emulator.journal import Journal
from recado.emulator.messages import UNFINISHED, EmulatedMessage, Media, channel_of
from recado.emulator.rules.faults import INBOUND, LATER, Fault, Faults
from recado.emulator.rules.lifecycle import MessagePlan, StatusStep, disturb, happens, plan
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
        self._archive = Archive(settings.keep)
        self._last_inbound: dict[tuple[str, str], float] = {}
        self._early: dict[str, MessagePlan] = {}
        self._agenda: list[tuple[float, int, MessagePlan | Outgoing]] = []
        self._order = count()

    def reset(self) -> None:
        """Return to the state at the start. Cursors start again; the journal continues."""
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
        self._archive.add(message)
        self._journal.accepted("create", message, fault)
        start = (moment_of(draft.send_at) or now) if draft.schedule_type else now
        self._plan(message, sender, start, self.faults.take(LATER, message.to, message.body))
        self._changed()
        return message

    def _outbound(self, account_sid: str, draft: CreateRequest, now: float) -> EmulatedMessage:
        media = tuple(self._media(attachment_of(url)) for url in draft.media_urls)
        status = "scheduled" if draft.schedule_type else "accepted" if draft.service else "queued"
        return EmulatedMessage(
            sid=self._ids.sid("MM" if media else "SM"),
            seq=self._archive.next_seq(),
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
        """Return the account's phone numbers that contain these characters, and this one if any address may send."""
        mine = [each.address for each in self.numbers.values() if each.account_sid == account_sid]
        found = [address for address in mine if channel_of(address) == "sms" and like in address]
        if like.startswith("+") and not self.policies.restrict_senders and like not in self.numbers:
            found.append(like)
        return found

    def senders_of(self, account_sid: str, prefix: str) -> list[str]:
        """Return the account's addresses with this prefix."""
        mine = [each.address for each in self.numbers.values() if each.account_sid == account_sid]
        return [address for address in mine if address.startswith(prefix)]

    def _sender_of_service(self, account_sid: str, draft: CreateRequest) -> str | None:
        """Return the sender of a messaging service. Services are not modelled: each uses the account's first number."""
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
        life = MessagePlan(message, sender, steps, start, policies.callback_delay)
        if kind == "callback_early" or happens(policies.callback_early, self._chance):
            self._early[message.sid] = life
        else:
            self._await_next_step(life)

    def _await_next_step(self, life: MessagePlan) -> None:
        if life.taken < len(life.steps):
            life.due += life.delay
            self._at(life.due, life)

    def _late_refusal(self, message: EmulatedMessage, sender: str) -> int | None:
        if message.direction == "outbound-api" and (sender, message.to) in self.opted_out:
            return 21610
        if not self.policies.enforce_window or message.channel != "whatsapp" or message.content_sid:
            return None
        keyword = self._last_inbound.get((sender, message.to))
        return None if keyword is not None and self._now() - keyword < WINDOW_SECONDS else 63016

    def hurry(self, message: EmulatedMessage) -> list[Outgoing]:
        """Return the callbacks that must arrive before the answer to the create. Usually there are none."""
        life = self._early.pop(message.sid, None)
        return [] if life is None else list(self._take_step(life))

    def next_due(self) -> float | None:
        return self._agenda[0][0] if self._agenda else None

    def advance(self) -> list[Outgoing]:
        """Handle everything that is due, and return the requests to send to applications."""
        now = self._now()
        due: list[Outgoing] = []
        while self._agenda and self._agenda[0][0] <= now:
            _, _, item = heapq.heappop(self._agenda)
            if isinstance(item, Outgoing):
                due.append(item)
            else:
                due.extend(self._take_step(item))
        return due

    def _at(self, due: float, item: MessagePlan | Outgoing) -> None:
        heapq.heappush(self._agenda, (due, next(self._order), item))

    def _take_step(self, life: MessagePlan) -> Iterator[Outgoing]:
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
        """Receive a customer's message. A known SID is a replay: only the webhook is sent again."""
        number = self._number_for(inbound)
        if number is None:
            return NOT_FOUND
        message = self.message(number.account_sid, inbound.sid or "") or self._first_time(number, inbound)
        self._last_inbound[message.to, inbound.sender] = message.created
        opt_out_type = self._hear_keyword(message, inbound)
        if number.webhook_url is not None:
            form = inbound_form(message, inbound, base_url=self.base_url, opt_out_type=opt_out_type)
            self._deliver(Outgoing("webhook", message, number.webhook_url, form, number.fallback_url), inbound)
        self._changed()
        return message

    def _number_for(self, inbound: InboundRequest) -> Number | None:
        """Return the number that receives. An address that is not configured receives if its account is clear."""
        known = self.numbers.get(inbound.to)
        if known is not None and inbound.account_sid in (None, known.account_sid):
            return known
        account = inbound.account_sid or (next(iter(self.accounts)) if len(self.accounts) == 1 else None)
        return Number(inbound.to, account) if account in self.accounts and account is not None else None

    def _first_time(self, number: Number, inbound: InboundRequest) -> EmulatedMessage:
        message = self._inbound(number, inbound)
        self._archive.add(message)
        self._journal.accepted("inbound", message, None)
        return message

    def _inbound(self, number: Number, inbound: InboundRequest) -> EmulatedMessage:
        now = self._now()
        media = tuple(self._media(attachment) for attachment in inbound.media)
        return EmulatedMessage(
            sid=inbound.sid or self._ids.sid("MM" if media else "SM"),
            seq=self._archive.next_seq(),
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
        """Handle STOP, START and HELP with Twilio's own reply, and return the OptOutType of the webhook."""
        keyword = inbound.opt_out_type
        advanced = self.policies.advanced_opt_out
        if keyword is None and (advanced or (message.channel == "sms" and self.policies.opt_out_keywords)):
            keyword = keyword_of(message.body)
        if keyword is None:
            return None
        pair = (message.to, inbound.sender)
        # "Yes" is a start word too, so it is confirmed only to a customer who had opted out.
        answered = keyword in _KEYWORD_REPLIES and (keyword != "START" or pair in self.opted_out)
        if keyword == "STOP":
            self.opted_out.add(pair)
        elif keyword == "START":
            self.opted_out.discard(pair)
        if answered:
            self.reply(message, _KEYWORD_REPLIES[keyword])
        return keyword if advanced or inbound.opt_out_type else None

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
        """Store a reply that was in the response to the webhook, not sent through the API."""
        now = self._now()
        media = tuple(self._media(attachment_of(url)) for url in media_urls)
        message = EmulatedMessage(
            sid=self._ids.sid("MM" if media else "SM"),
            seq=self._archive.next_seq(),
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
        self._archive.add(message)
        self._journal.accepted("reply", message, None)
        self._plan(message, message.sender, now, None)
        self._changed()
        return message

    # Reading and changing what is kept.

    def message(self, account_sid: str, sid: str) -> EmulatedMessage | None:
        found = self._archive.get(sid)
        return found if found is not None and found.account_sid == account_sid and not found.deleted else None

    def any_message(self, sid: str) -> EmulatedMessage | None:
        return self._archive.get(sid)

    def search(self, account_sid: str, search: Search) -> Iterator[EmulatedMessage]:
        """Yield messages, the newest first. With a list lag very young messages are hidden."""
        return self._archive.search(account_sid, search, self._now() - self.policies.list_lag)

    def messages_after(self, seq: int) -> list[EmulatedMessage]:
        """Return the messages after a sequence number."""
        return self._archive.messages_after(seq)

    def deliveries_after(self, seq: int) -> list[WebhookDelivery]:
        """Return the deliveries after a sequence number."""
        return self._archive.deliveries_after(seq)

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
        delivery = self._archive.record(outgoing, kind, attempt, status, error, self._now())
        self._journal.write(
            kind,
            delivery.at,
            sid=delivery.message_sid,
            account_sid=outgoing.message.account_sid,
            message_status=delivery.message_status,
            attempt=attempt,
            status=status,
            error=error,
            url=outgoing.url,
        )
        self._changed()

    def _media(self, attachment: Attachment) -> Media:
        return Media(self._ids.sid("ME"), attachment.content_type, attachment.content, attachment.url)
