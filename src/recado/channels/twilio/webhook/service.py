"""The first five steps of a message: parse, verify, resolve, accept, answer.

Nothing here uses the network or an agent: a webhook costs look-ups, which are usually cached, and one shared commit.
Twilio gets its 200 only after that commit.

The signature comes first. The account SID alone says who may have signed, and only then is anything else looked up. Two
owners may have one account SID, and one of the two tokens may be invented. So the signature proves the account (an
owner's row) whose token fits, not the SID; a number, an attempt or an orphan accepts only its own accounts.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

import structlog

from recado.channels.directory import Directory
from recado.channels.models import KnownAddress, Orphan, OrphanSigner, SignedOrphan
from recado.channels.repository import Orphans
from recado.channels.twilio.callbacks import CallbackRefs, trace_in
from recado.channels.twilio.models import Signer, Signers
from recado.channels.twilio.sending.errors import is_opt_out
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER
from recado.channels.twilio.webhook import form as forms
from recado.channels.twilio.webhook.dtos import FormProblem, InboundForm, StatusForm
from recado.channels.twilio.webhook.inbound import inbound_of
from recado.channels.twilio.webhook.signature import candidate_urls, first_matching_token
from recado.conversation.replying.accept import Accepted, AcceptService, Duplicate
from recado.conversation.sending.provider_messages import DeliveryReport, DeliveryReportService
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import DomainError, StorageUnavailable
from recado.core.event_log.models import NewEvent
from recado.core.event_log.repository import append
from recado.core.ids import Ids
from recado.core.queue.crash import CrashPoint, never
from recado.core.queue.lane import job_lane
from recado.core.sampling import LogSampler

log = structlog.get_logger(__name__)

_TRACE_SECONDS: Final = 1.0
"""How long reading the key may delay a callback's trace."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A webhook as it came: the raw body, and the undecoded path and query that the signature covers."""

    raw: bytes
    path: bytes
    query: bytes
    signature: str
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Orphaned:
    """Signed by an account we know, to a number that belongs to no owner. Stored for an operator, given to no agent.

    `is_new` is False when it had been stored before.
    """

    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Reported:
    """A status callback was stored, or its attempt is gone. `status` is Twilio's (`delivered`)."""

    status: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """No token that could have made the signature fits. `why` is for our log, never for the caller.

    `account` is set only if it is a stored one: the claims of an unsigned form are not used.
    """

    why: str
    account: str | None = None


@dataclass(frozen=True, slots=True)
class InvalidForm:
    """The signature is valid but the form is not a message (a required field is missing or malformed).

    Answered 400 and logged.
    """

    problem: FormProblem


Reception: TypeAlias = Accepted | Duplicate | Orphaned | Reported | Forbidden | InvalidForm

_SIGNATURE_LENGTH: Final = 28
"""20 bytes in base64. A signature of any text with any token has this form."""


class TwilioWebhookService:
    """Receives Twilio's webhooks."""

    def __init__(
        self,
        directory: Directory,
        tokens: TwilioTokens,
        acceptance: AcceptService,
        reports: DeliveryReportService,
        database: Database,
        clock: Clock,
        ids: Ids,
        public_url: str,
        callbacks: CallbackRefs,
        *,
        crash: CrashPoint = never,
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._acceptance = acceptance
        self._reports = reports
        self._clock = clock
        self._ids = ids
        self._public_url = public_url
        self._callbacks = callbacks
        self._crash = crash
        self._samples = LogSampler(clock)
        self._store_orphan = database.batched(self._store_orphans, refusable=True)

    async def receive_message(self, request: SignedRequest) -> Reception:
        """Receive a customer's message. Raises `Busy` or `StorageUnavailable` when it could not be stored."""
        pairs = self._parse_request(request)
        if isinstance(pairs, Forbidden):
            return self._refuse(pairs)
        signers = await self._verify(request, pairs)
        if isinstance(signers, Forbidden):
            return self._refuse(signers, pairs)
        address = await self._resolve(pairs, signers)
        if isinstance(address, Forbidden):
            return self._refuse(address, pairs)
        form = InboundForm.parse(pairs)
        if isinstance(form, FormProblem):
            return self._invalid_form(form)
        if address is None:
            return await self._receive_orphan(form, signers, request.raw)
        if not address.had_webhook:
            await self._directory.mark_webhook(address)
        inbound = inbound_of(form, address, self._ids.new(), self._clock.now(), request.raw, trace=request.trace)
        accepted = await self._acceptance.accept(inbound)
        self._crash("after_accept")
        return accepted

    async def trace_of(self, ref: str, query: bytes) -> str | None:
        """Return the trace that a callback continues. Of a reference of ours only: its signature is checked later."""
        try:
            async with asyncio.timeout(_TRACE_SECONDS):
                return None if await self._callbacks.attempt_of(ref) is None else trace_in(query)
        except (TimeoutError, DomainError):
            return None

    async def receive_status(self, request: SignedRequest, ref: str) -> Reception:
        """Receive a report on a message of ours, from the account that the message was sent with only."""
        attempt_id = await self._callbacks.attempt_of(ref)
        if attempt_id is None:
            return self._refuse(Forbidden("no attempt of ours bears this reference"))
        pairs = self._parse_request(request)
        if isinstance(pairs, Forbidden):
            return self._refuse(pairs)
        signers = await self._verify(request, pairs)
        if isinstance(signers, Forbidden):
            return self._refuse(signers, pairs)
        form = StatusForm.parse(pairs)
        if isinstance(form, FormProblem):
            return self._invalid_form(form)
        return await self._record(attempt_id, form, signers, pairs)

    async def _record(
        self, attempt_id: UUID, form: StatusForm, signers: Sequence[Signer], pairs: forms.Pairs
    ) -> Reported | Forbidden:
        report = DeliveryReport(
            attempt_id,
            frozenset(signer.account_id for signer in signers),
            form.sid.value,
            form.status,
            form.error_code,
            opted_out=is_opt_out(form.error_code),
        )
        recorded = await self._reports.record(report)
        if not recorded.allowed:
            return self._refuse(Forbidden("another account sent what this speaks of", form.account_sid.value), pairs)
        if not recorded.known and (times := self._samples.admit("webhook.status_of_nothing")):
            log.info("webhook.status_of_nothing", attempt=str(attempt_id), times=times)
        return Reported(form.status)

    def not_stored(self, error: Exception) -> None:
        """Log that a webhook was answered 503, but not each one of a flood."""
        if times := self._samples.admit("webhook.not_stored", type(error).__name__):
            log.warning("webhook.not_stored", error=str(error), times=times)

    def not_confirmed(self, error: Exception) -> None:
        """Log that a webhook was answered 503 while it is not known whether it was stored. Sampled as well."""
        if times := self._samples.admit("webhook.not_confirmed", type(error).__name__):
            log.warning("webhook.not_confirmed", error=str(error) or "no answer in time", times=times)

    # --- Verify and resolve -------------------------------------------------------------------------------------------

    def _parse_request(self, request: SignedRequest) -> forms.Pairs | Forbidden:
        """Return the form, unless no stored token could make the request a valid one."""
        if len(request.signature) != _SIGNATURE_LENGTH:
            return Forbidden("it is not signed")
        pairs = forms.parse(request.raw)
        return Forbidden("it has too many fields") if isinstance(pairs, forms.TooManyFields) else pairs

    async def _verify(self, request: SignedRequest, pairs: forms.Pairs) -> tuple[Signer, ...] | Forbidden:
        """Return the accounts whose token made this signature. Nothing is refused by a cache older than the request."""
        account_sid = _field(pairs, "AccountSid")
        for _ in range(2):
            generation = self._directory.generation
            signers = await self._tokens.signers(account_sid)
            token = self._token_that_signed(signers, request, pairs)
            if token is not None:
                await self._tokens.saw(token, signers.bearing(token))
                return signers.bearing(token)
            if await self._directory.refresh() == generation:
                break
        if signers.unreadable:  # Twilio's fallback and our gap sweep get another chance when the key is corrected.
            raise StorageUnavailable("a token of this account cannot be opened: is RECADO_SECRET_KEY the one it had?")
        if not self._directory.knows_account(PROVIDER, account_sid):
            return Forbidden("no account of this SID is stored")
        return Forbidden("no token stored for this account made this signature", account_sid)

    def _token_that_signed(self, signers: Signers, request: SignedRequest, pairs: forms.Pairs) -> str | None:
        if not signers.tokens:
            return None
        urls = candidate_urls(self._public_url, request.path, request.query)
        fitting = first_matching_token(signers.tokens, urls, pairs, request.signature)
        return None if fitting is None else signers.tokens[fitting]

    async def _resolve(self, pairs: forms.Pairs, signers: Sequence[Signer]) -> KnownAddress | Forbidden | None:
        """Return the number that it was sent to, if one of its signers has it; None for a number without an owner."""
        to, signed = _field(pairs, "To"), {signer.account_id for signer in signers}
        address = await self._directory.lookup(to)
        if address is not None and address.account_id not in signed:
            address = await self._directory.lookup(to, fresh=True)
        if address is None or address.account_id in signed:
            return address
        if address.account_ref != _field(pairs, "AccountSid"):
            return Forbidden("the number belongs to another account", address.account_ref)
        return Forbidden("no token of the number's account made this signature", address.account_ref)

    def _refuse(self, forbidden: Forbidden, pairs: forms.Pairs = ()) -> Forbidden:
        # A rise of these for one account needs an alarm: after a rotation of the token, messages would be lost
        # silently.
        if times := self._samples.admit("webhook.forbidden", forbidden.account or "unknown", forbidden.why):
            claimed = _field(pairs, "AccountSid")[:34]
            log.warning("webhook.forbidden", account=claimed, why=forbidden.why, times=times)
        return forbidden

    def _invalid_form(self, form: FormProblem) -> InvalidForm:
        if times := self._samples.admit("webhook.unusable", form.field):
            log.error("webhook.unusable", field=form.field, why=form.why, times=times)
        return InvalidForm(form)

    # --- Orphans ------------------------------------------------------------------------------------------------------

    async def _receive_orphan(self, form: InboundForm, signers: Sequence[Signer], raw: bytes) -> Orphaned:
        """Store an orphan, and warn of each new one once: only an operator can give it to an owner."""
        orphaned = await self._store_orphan(self._orphan(form, signers, raw))
        if orphaned.is_new:
            log.warning(
                "Orphaned Message",
                account=form.account_sid.value,
                number=form.to_address.masked,
                sid=form.message_sid.value,
            )
        return orphaned

    def _orphan(self, form: InboundForm, signers: Sequence[Signer], raw: bytes) -> SignedOrphan:
        orphan = Orphan(
            id=self._ids.new(),
            provider=PROVIDER,
            account_ref=form.account_sid.value,
            provider_message_id=form.message_sid.value,
            from_address=form.from_address.value,
            to_address=form.to_address.value,
            raw=raw,
            received_at=self._clock.now(),
            assigned_at=None,
            owner_id=None,
            signed_by=signers[0].account_id,
        )
        return SignedOrphan(
            orphan, tuple(OrphanSigner(orphan.id, signer.account_id, signer.owner_id) for signer in signers)
        )

    def _events(self, found: SignedOrphan) -> Iterator[NewEvent]:
        """Tell each owner whose account may have signed the orphan."""
        orphan = found.orphan
        for owner_id in sorted(found.owners):
            data = {"orphan_id": str(orphan.id), "provider": orphan.provider}
            yield NewEvent(
                self._ids.new(), owner_id, "orphan.received", job_lane(orphan.id), orphan.received_at, data=data
            )

    def _store_orphans(self, uow: UnitOfWork, found: Sequence[SignedOrphan]) -> list[Orphaned]:
        new = Orphans(uow).add_new(found)
        append(uow, [event for each in found if each.orphan.id in new for event in self._events(each)])
        return [Orphaned(each.orphan.id in new) for each in found]


def _field(pairs: forms.Pairs, name: str) -> str:
    return next((value for key, value in pairs if key == name), "")
