"""The calls to Twilio's API, through the official SDK. Each returns a value.

The SDK publishes no types and parses whatever it gets. Untyped values do not leave this file.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from twilio.base.exceptions import TwilioException

from recado.channels.twilio.models import TwilioCredentials
from recado.channels.twilio.sending.transport import CallEnded, CallProblem, Transport, Uncertain
from recado.channels.twilio.values import AccountSid, MessageSid
from recado.core.errors import InvalidInput
from recado.core.unicode import storable

if TYPE_CHECKING:
    from twilio.rest import Client
    from twilio.rest.api.v2010.account.message import MessageInstance, MessageList


# --- How a call may end -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Created:
    """Twilio accepted the message and gave it an id."""

    account_sid: AccountSid
    sid: MessageSid


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message as Twilio's list shows it, in either direction."""

    account_sid: AccountSid
    sid: MessageSid
    direction: str
    from_address: str = field(repr=False)
    to_address: str = field(repr=False)
    body: str = field(repr=False)
    created_at: datetime
    status: str
    error_code: str | None
    num_media: int = 0


@dataclass(frozen=True, slots=True)
class MessagesPage:
    """One page of the list. `unreadable` records had no id or no date; `next_url` is None on the last page."""

    records: tuple[MessageRecord, ...]
    unreadable: int
    next_url: str | None


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as Twilio shows it to its own token: `active`, `suspended` or `closed`."""

    status: str


@dataclass(frozen=True, slots=True)
class OwnNumbers:
    """Addresses that an account may send from."""

    addresses: frozenset[str]


# --- Reading answers --------------------------------------------------------------------------------------------------


def _created(instance: "MessageInstance", account_sid: AccountSid) -> Created | Uncertain:
    sid = _message_sid(instance.sid)
    if sid is None:
        return Uncertain("no_sid", "Twilio answered without a message SID")
    return Created(_account_sid(instance.account_sid) or account_sid, sid)


def _record(instance: "MessageInstance", account_sid: AccountSid) -> MessageRecord | None:
    sid = _message_sid(instance.sid)
    if sid is None or instance.date_created is None:
        return None
    return MessageRecord(
        account_sid=_account_sid(instance.account_sid) or account_sid,
        sid=sid,
        direction=str(instance.direction or ""),
        from_address=instance.from_ or "",
        to_address=instance.to or "",
        body=storable(instance.body or ""),
        created_at=instance.date_created,
        status=str(instance.status or ""),
        error_code=None if instance.error_code is None else str(instance.error_code),
        num_media=int(instance.num_media or 0),
    )


def _message_sid(text: object) -> MessageSid | None:
    try:
        return MessageSid(text) if isinstance(text, str) else None
    except InvalidInput:
        return None


def _account_sid(text: object) -> AccountSid | None:
    try:
        return AccountSid(text) if isinstance(text, str) else None
    except InvalidInput:
        return None


# --- The API ----------------------------------------------------------------------------------------------------------

# The errors of the SDK for an answer that is not JSON, or JSON of another shape.
_UNREADABLE = (TwilioException, ValueError, TypeError, AttributeError, KeyError)

_CACHED_CLIENTS = 256
_SENDERS_A_PAGE = 100
_SENDER_PAGES = 50


class TwilioApi:
    """The calls to Twilio, each with the credentials of one account. Each returns a value."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._clients: OrderedDict[TwilioCredentials, Client] = OrderedDict()

    async def create_message(
        self, credentials: TwilioCredentials, *, to: str, from_address: str, body: str, status_callback: str
    ) -> Created | CallProblem:
        """Make one create call, once."""
        messages = self._messages(credentials)
        try:
            instance = await messages.create_async(
                to=to, from_=from_address, body=body, status_callback=status_callback
            )
        except CallEnded as ended:
            return ended.problem
        except _UNREADABLE as error:
            return Uncertain("unreadable_answer", type(error).__name__)
        return _created(instance, credentials.account_sid)

    async def list_messages(
        self,
        credentials: TwilioCredentials,
        *,
        to: str,
        sent_after: datetime | None = None,
        next_url: str | None = None,
        page_size: int = 1_000,
    ) -> MessagesPage | CallProblem:
        """Return one page of the messages to an address. `next_url` of a page leads to the next page.

        `sent_after` filters by the date of *sending*, which a queued message does not have yet. That is right for
        incoming messages, and wrong for finding out whether a message of ours was accepted.
        """
        messages = self._messages(credentials)
        filters = {} if sent_after is None else {"date_sent_after": sent_after}
        try:
            if next_url is None:
                page = await messages.page_async(to=to, page_size=page_size, **filters)
            else:
                page = await messages.get_page_async(next_url)
            return _page(page, page.next_page_url, credentials.account_sid)
        except CallEnded as ended:
            return ended.problem
        except _UNREADABLE as error:
            return Uncertain("unreadable_answer", type(error).__name__)

    async def account(self, credentials: TwilioCredentials) -> AccountState | CallProblem:
        """Return the account, which Twilio shows only to its own token."""
        account = self._client(credentials).api.v2010.accounts(credentials.account_sid.value)
        try:
            return AccountState(str((await account.fetch_async()).status or ""))
        except CallEnded as ended:
            return ended.problem
        except _UNREADABLE as error:
            return Uncertain("unreadable_answer", type(error).__name__)

    async def phone_numbers(self, credentials: TwilioCredentials, *, like: str) -> OwnNumbers | CallProblem:
        """Return the account's phone numbers equal to one; Twilio also returns numbers that only begin with it."""
        numbers = self._client(credentials).incoming_phone_numbers
        try:
            page = await numbers.page_async(phone_number=like, page_size=50)
            return OwnNumbers(frozenset(str(each.phone_number) for each in page))
        except CallEnded as ended:
            return ended.problem
        except _UNREADABLE as error:
            return Uncertain("unreadable_answer", type(error).__name__)

    async def whatsapp_senders(self, credentials: TwilioCredentials) -> OwnNumbers | CallProblem:
        """Return the account's WhatsApp senders, all pages of them. Another host lists them."""
        senders = self._client(credentials).messaging.v2.channels_senders
        found: set[str] = set()
        try:
            page = await senders.page_async(channel="whatsapp", page_size=_SENDERS_A_PAGE)
            for _ in range(_SENDER_PAGES):
                found.update(str(each.sender_id) for each in page)
                if not page.next_page_url:
                    return OwnNumbers(frozenset(found))
                page = await senders.get_page_async(page.next_page_url)
        except CallEnded as ended:
            return ended.problem
        except _UNREADABLE as error:
            return Uncertain("unreadable_answer", type(error).__name__)
        return Uncertain("too_many_pages", f"more than {_SENDER_PAGES} pages of senders")

    async def warm_up(self) -> None:
        """Load the SDK's parts, which takes a quarter of a second, before a customer waits for it."""
        await asyncio.to_thread(self._load)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    def _load(self) -> None:
        nobody = TwilioCredentials(AccountSid("AC" + "0" * 32), "unused")
        _ = _sdk_client(nobody, self._transport).messages

    def _messages(self, credentials: TwilioCredentials) -> "MessageList":
        return self._client(credentials).messages

    def _client(self, credentials: TwilioCredentials) -> "Client":
        client = self._clients.pop(credentials, None) or _sdk_client(credentials, self._transport)
        self._clients[credentials] = client
        if len(self._clients) > _CACHED_CLIENTS:
            self._clients.popitem(last=False)
        return client


def _sdk_client(credentials: TwilioCredentials, transport: Transport) -> "Client":
    from twilio.rest import Client

    username, password = credentials.basic_auth
    return Client(username, password, credentials.account_sid.value, http_client=transport)  # type: ignore[no-untyped-call]


def _page(instances: "Iterable[MessageInstance]", next_url: str | None, account_sid: AccountSid) -> MessagesPage:
    records = [_record(instance, account_sid) for instance in instances]
    readable = tuple(record for record in records if record is not None)
    return MessagesPage(readable, len(records) - len(readable), next_url)
