"""Ask Twilio, before a number is added, whether account, token and number belong together.

An unchecked token is worth nothing: with an invented token an owner can sign "Twilio's" webhooks to its own number, and
loses every real one. Facts that Twilio does not reveal are reported, and are no reason to refuse.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from recado.channels.models import ChannelAddress
from recado.channels.twilio.accounts import NewNumber, NumberService
from recado.channels.twilio.models import NoCredentials, TwilioCredentials
from recado.channels.twilio.sending.client import AccountState, OwnNumbers, TwilioApi
from recado.channels.twilio.sending.transport import CallProblem, Declined, Transport
from recado.channels.twilio.tokens import TwilioTokens
from recado.conversation.values import Address
from recado.core.errors import Conflict
from recado.identity.principal import Principal

SANDBOX: Final = "whatsapp:+14155238886"
"""Twilio's shared number for trials. It belongs to no account, and any account may use it."""
CHECK_SECONDS: Final = 20.0
_CONNECT_SECONDS: Final = 3.0
_READ_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Twilio confirms the token and the number of the account."""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Twilio confirms the token of the account, but not whose the number is."""

    why: str


@dataclass(frozen=True, slots=True)
class Denied:
    """Token or number is wrong, or Twilio could not be asked at all."""

    why: str


Checked: TypeAlias = Confirmed | Unconfirmed | Denied


@dataclass(frozen=True, slots=True)
class CheckedNumber:
    """A stored number, and what Twilio says about it."""

    number: ChannelAddress
    result: Checked


class NumberNotConfirmed(Conflict):
    """Twilio does not confirm that account, token and number belong together."""

    code = "channels.number_not_confirmed"


class NumberCheck:
    """Asks one Twilio, by its address, about numbers to be added."""

    def __init__(self, twilio_api_url: str, *, seconds: float = CHECK_SECONDS) -> None:
        self._url = twilio_api_url
        self._seconds = seconds
        self._api = _api(twilio_api_url)
        self._messaging = _api(messaging_url(twilio_api_url))

    async def check(self, number: NewNumber) -> Checked:
        """Return Twilio's answer within `seconds`."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._check(number, TwilioCredentials(number.account_sid, number.auth_token))
        except TimeoutError:
            return Denied(f"Twilio did not answer within {self._seconds:g} seconds at {self._url}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.aclose()
        await self._messaging.aclose()

    async def _check(self, number: NewNumber, credentials: TwilioCredentials) -> Checked:
        account = await self._api.account(credentials)
        if not isinstance(account, AccountState):
            return Denied(self._of_account(account, number))
        if account.status != "active":
            return Denied(f"account {number.account_sid} is {account.status or 'not active'} at Twilio")
        if number.address.channel == "whatsapp":
            return await self._whatsapp(number, credentials)
        found = await self._api.phone_numbers(credentials, like=number.address.value)
        if not isinstance(found, OwnNumbers):
            return self._unlisted(number, "its numbers", found)
        return Confirmed() if number.address.value in found.addresses else Denied(_not_its(number, "number"))

    async def _whatsapp(self, number: NewNumber, credentials: TwilioCredentials) -> Checked:
        if number.address.value == SANDBOX and self._messaging_is_twilios:
            return Unconfirmed(
                f"{SANDBOX} is Twilio's sandbox, which is no account's own: only the token was confirmed"
            )
        found = await self._messaging.whatsapp_senders(credentials)
        if not isinstance(found, OwnNumbers):
            return self._unlisted(number, "its WhatsApp senders", found)
        spelled = {spelling.value for spelling in number.address.spellings}
        return Confirmed() if spelled & found.addresses else Denied(_not_its(number, "WhatsApp sender"))

    @property
    def _messaging_is_twilios(self) -> bool:
        return messaging_url(self._url) != self._url

    def _unlisted(self, number: NewNumber, what: str, problem: CallProblem) -> Unconfirmed | Denied:
        """What the account may not see stays unknown; after a temporary failure the question must be repeated."""
        if isinstance(problem, Declined) and problem.status in (401, 403, 404):
            return Unconfirmed(
                f"the auth token was confirmed, but not that {number.address} belongs to {number.account_sid}: "
                f"Twilio does not list {what} (HTTP {problem.status})"
            )
        return Denied(self._of_account(problem, number))

    def _of_account(self, problem: CallProblem, number: NewNumber) -> str:
        match problem:
            case Declined(401 | 403, _, _, _):
                return f"Twilio does not accept this auth token for {number.account_sid}"
            case Declined(status, _, text, _):
                return f"Twilio answered {status}{f' ({text})' if text else ''}"
            case _:
                return f"Twilio could not be asked at {self._url} ({problem.code})"


class NumberChecks:
    """Asks Twilio about an owner's stored numbers, and before a number is added for somebody who is not the operator.

    The operator of the installation may add a number that Twilio does not confirm (`NumberService.add`). An owner's
    people may not: an owner could sign webhooks to a number of somebody else.
    """

    def __init__(self, numbers: NumberService, tokens: TwilioTokens, twilio_api_url: str) -> None:
        self._numbers = numbers
        self._tokens = tokens
        self._url = twilio_api_url

    async def check(self, owner_id: UUID, number_id: UUID) -> CheckedNumber:
        """Return what Twilio says about a stored number. Raises `NotFound`."""
        number = await self._numbers.number(owner_id, number_id)
        credentials = await self._tokens.account_for(number.account_id)
        if isinstance(credentials, NoCredentials):
            return CheckedNumber(number, Denied(credentials.detail))
        stored = NewNumber(credentials.account_sid, credentials.auth_token, Address(number.address))
        return CheckedNumber(number, await self.ask(stored))

    async def add(self, principal: Principal, number: NewNumber) -> ChannelAddress:
        """Add a number that Twilio confirms. Raises `NumberNotConfirmed` and what `NumberService.add` raises."""
        result = await self.ask(number)
        if not isinstance(result, Confirmed):
            raise NumberNotConfirmed(f"{result.why}; nothing was stored")
        return await self._numbers.add(principal, number)

    async def ask(self, number: NewNumber) -> Checked:
        """Return what Twilio says about a number that need not be stored."""
        check = NumberCheck(self._url)
        try:
            return await check.check(number)
        finally:
            await check.aclose()


def messaging_url(api_url: str) -> str:
    """The host that lists senders: its own host at Twilio, the same host at an emulator."""
    parts = urlsplit(api_url)
    if not parts.netloc.startswith("api.") or not (parts.hostname or "").endswith(".twilio.com"):
        return api_url
    return urlunsplit(parts._replace(netloc="messaging." + parts.netloc.removeprefix("api.")))


def _api(url: str) -> TwilioApi:
    return TwilioApi(Transport(url, connect_seconds=_CONNECT_SECONDS, read_seconds=_READ_SECONDS, connections=2))


def _not_its(number: NewNumber, what: str) -> str:
    return f"{number.address} is no {what} of account {number.account_sid} at Twilio"
