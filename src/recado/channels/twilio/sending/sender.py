"""Send through Twilio, and find what was sent.

This module never sends a message twice: each `send` is one create call, and its result says what is known about it.
"""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Protocol
from uuid import UUID

from recado.channels.twilio.callbacks import CallbackRefs, callback_url
from recado.channels.twilio.models import NoCredentials, TwilioCredentials
from recado.channels.twilio.sending.client import Created, MessageRecord, MessagesPage, TwilioApi
from recado.channels.twilio.sending.errors import classify_refusal
from recado.channels.twilio.sending.transport import CallProblem, Declined, NeverSent
from recado.channels.twilio.values import TwilioMessageResult
from recado.conversation.ports import (
    ListedMessage,
    NotProcessed,
    OutboundText,
    Pull,
    Refused,
    Sent,
    Unknown,
)
from recado.conversation.values import Address
from recado.core.errors import DomainError, InvalidInput
from recado.core.unicode import storable

# Twilio lists the SMS of a trial account with this text in front of ours.
_TRIAL_PREFIX = "Sent from your Twilio trial account - "

_NO_CREDENTIALS_RETRY = 60.0


class AccountDirectory(Protocol):
    """Returns the credentials of an account of ours."""

    async def account_for(self, account_id: UUID) -> TwilioCredentials | NoCredentials: ...


class TwilioSender:
    """Sends and finds messages. `public_url` is where Twilio reaches us with its callbacks."""

    def __init__(
        self,
        accounts: AccountDirectory,
        api: TwilioApi,
        callbacks: CallbackRefs,
        public_url: str,
        *,
        max_pages: int = 20,
        find_seconds: float = 60.0,
    ) -> None:
        self._accounts = accounts
        self._api = api
        self._callbacks = callbacks
        self._public_url = public_url
        self._max_pages = max_pages
        self._find_seconds = find_seconds

    async def send(self, message: OutboundText) -> TwilioMessageResult:
        """Make one create call. Return what is known about it."""
        credentials = await self._credentials(message.account_id)
        if isinstance(credentials, NoCredentials):
            return _without(credentials)
        try:
            ref = await self._callbacks.of(message.attempt_id)
        except DomainError as error:
            result = NotProcessed(error.code, str(error), retry_after=_NO_CREDENTIALS_RETRY)
            return TwilioMessageResult(result, "", None, error.code, str(error))
        outcome = await self._api.create_message(
            credentials,
            to=message.to_address.value,
            from_address=message.from_address.value,
            body=storable(message.text),
            status_callback=callback_url(self._public_url, ref, message.trace),
        )
        return _as_result(credentials.account_sid.value, outcome)

    async def find(self, message: OutboundText, *, created_after: datetime, created_before: datetime) -> Pull:
        """Return all our API-made messages from `from_address` to any spelling of `to_address` created in the span.

        Twilio filters the list only by the date of sending, which a queued message does not have, and promises no
        order. So the list is read to its end, up to `max_pages` for a spelling. Twilio may write a From differently
        from us, and that must not hide a message, so From is compared here.
        """
        credentials = await self._credentials(message.account_id)
        if isinstance(credentials, NoCredentials):
            return Pull((), complete=False, detail=credentials.code)
        search = _Search(message.from_address, created_after.replace(microsecond=0), created_before)
        try:
            async with asyncio.timeout(self._find_seconds):
                for spelling in message.to_address.spellings:
                    await self._read_to_the_end(credentials, spelling, search)
        except TimeoutError:
            search.gaps.append("out of time")
        return search.pull()

    async def aclose(self) -> None:
        """Close the connections to Twilio."""
        await self._api.aclose()

    async def _read_to_the_end(self, credentials: TwilioCredentials, to: Address, search: "_Search") -> None:
        next_url: str | None = None
        for _ in range(self._max_pages):
            page = await self._api.list_messages(credentials, to=to.value, next_url=next_url)
            if not isinstance(page, MessagesPage):
                search.gaps.append(_problem(page))
                return
            search.collect(page)
            next_url = page.next_url
            if next_url is None:
                return
        search.gaps.append(f"more than {self._max_pages} pages")

    async def _credentials(self, account_id: UUID) -> TwilioCredentials | NoCredentials:
        try:
            return await self._accounts.account_for(account_id)
        except DomainError as error:
            return NoCredentials(str(error), code=error.code)


class _Search:
    """Collects matching messages page by page. Twilio's times have whole seconds, so the span starts at one."""

    def __init__(self, ours: Address, start: datetime, end: datetime) -> None:
        self._ours = ours
        self._start = start
        self._end = end
        self._found: dict[str, ListedMessage] = {}
        self.gaps: list[str] = []

    def collect(self, page: MessagesPage) -> None:
        if page.unreadable:
            self.gaps.append(f"{page.unreadable} unreadable entries")
        self._found.update((record.sid.value, _listed(record)) for record in self._fitting(page))

    def _fitting(self, page: MessagesPage) -> Iterator[MessageRecord]:
        for record in page.records:
            in_span = self._start <= record.created_at <= self._end
            if in_span and record.direction == "outbound-api" and self._is_ours(record.from_address):
                yield record

    def _is_ours(self, sender: str) -> bool:
        # The sender is missing while a messaging service has not chosen it yet.
        try:
            return not sender or Address(sender).match_key == self._ours.match_key
        except InvalidInput:
            return False

    def pull(self) -> Pull:
        found = sorted(self._found.values(), key=lambda each: (each.created_at, each.provider_message_id))
        return Pull(tuple(found), complete=not self.gaps, detail="; ".join(self.gaps))


def _without(missing: NoCredentials) -> TwilioMessageResult:
    result: Refused | NotProcessed
    if missing.gone:
        result = Refused(missing.code, missing.detail, "unreachable")
    else:
        result = NotProcessed(missing.code, missing.detail, retry_after=_NO_CREDENTIALS_RETRY)
    return TwilioMessageResult(result, "", None, missing.code, missing.detail)


def _as_result(account_sid: str, outcome: Created | CallProblem) -> TwilioMessageResult:
    if isinstance(outcome, Created):
        sid = outcome.sid.value
        return TwilioMessageResult(Sent(sid), outcome.account_sid.value, sid)
    result = _result_of(outcome)
    return TwilioMessageResult(result, account_sid, None, result.code, result.detail)


def _result_of(problem: CallProblem) -> Refused | NotProcessed | Unknown:
    match problem:
        case NeverSent(code, detail):
            return NotProcessed(code, detail)
        case Declined(status, code, text, retry_after):
            return classify_refusal(status, code, text, retry_after=retry_after)
    return Unknown(problem.code, problem.detail)


def _problem(problem: CallProblem) -> str:
    if isinstance(problem, Declined):
        return f"HTTP {problem.status}" + (f", code {problem.code}" if problem.code else "")
    return problem.code


def _listed(record: MessageRecord) -> ListedMessage:
    return ListedMessage(
        provider_message_id=record.sid.value,
        to_address=record.to_address,
        from_address=record.from_address,
        body=record.body.removeprefix(_TRIAL_PREFIX),
        created_at=record.created_at,
        status=record.status,
        error_code=record.error_code,
    )
