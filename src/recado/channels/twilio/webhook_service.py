"""The first five steps of a message: parse, verify, resolve, accept, answer.

Nothing here touches the network or an agent: a webhook costs one look-up that is usually remembered and one shared
commit. Twilio gets its 200 only after that commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from recado.channels.bindings import DeliveryReports, Report
from recado.channels.twilio import form as forms
from recado.channels.twilio.callbacks import attempt_of, trace_in
from recado.channels.twilio.describing import described
from recado.channels.twilio.directory import Directory
from recado.channels.twilio.dtos import FormProblem, InboundForm, StatusForm
from recado.channels.twilio.models import KnownAddress, Orphan
from recado.channels.twilio.repository import Orphans
from recado.channels.twilio.signature import candidate_urls, first_fitting
from recado.conversation.accept import Accepted, AcceptService, Duplicate, Inbound
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids
from recado.core.queue.crash import CrashPoint, never

log = structlog.get_logger(__name__)


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
    """Signed by an account we know, to a number nobody has: kept for an operator, given to no agent."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A status callback was stored, or spoke of an attempt that is gone; `status` is Twilio's word (`delivered`)."""

    status: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """The signature fits no token that could have made it. `why` is for our log, never for the caller.

    `account` is set only if it is one that is stored: what an unsigned form says of itself counts nowhere.
    """

    why: str
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Unusable:
    """It was truly signed, but it cannot be a message: somebody should look at it."""

    problem: FormProblem


Reception: TypeAlias = Accepted | Duplicate | Orphaned | Reported | Forbidden | Unusable

_OPT_OUT_ERROR = "21610"


class TwilioWebhookService:
    """Receives what Twilio posts."""

    def __init__(
        self,
        directory: Directory,
        acceptance: AcceptService,
        reports: DeliveryReports,
        database: Database,
        clock: Clock,
        ids: Ids,
        public_url: str,
        callback_key: bytes,
        *,
        crash: CrashPoint = never,
    ) -> None:
        self._directory = directory
        self._acceptance = acceptance
        self._reports = reports
        self._clock = clock
        self._ids = ids
        self._public_url = public_url
        self._callback_key = callback_key
        self._crash = crash
        self._keep_orphan = database.batched(self._keep_orphans, refusable=True)

    async def receive_message(self, request: SignedRequest) -> Reception:
        """A customer's message. Raises `Busy` or `StorageUnavailable` when it could not be stored."""
        pairs = forms.parse(request.raw)
        if isinstance(pairs, forms.TooManyFields):
            return Forbidden(f"{pairs.count} fields")
        address = await self._signed_for(request, pairs)
        if isinstance(address, Forbidden):
            return self._refuse(address, pairs)
        form = InboundForm.parse(pairs)
        if isinstance(form, FormProblem):
            log.error("webhook.unusable", field=form.field, why=form.why)
            return Unusable(form)
        if address is None:
            return await self._keep_orphan(self._orphan(form, request.raw))
        if not address.had_webhook:
            await self._directory.mark_webhook(address)
        inbound = inbound_of(form, address, self._ids, self._clock, request.raw, trace=request.trace)
        accepted = await self._acceptance.accept(inbound)
        self._crash("after_accept")
        return accepted

    def trace_of(self, ref: str, query: bytes) -> str | None:
        """The trace that a callback goes on with; of a reference of ours only, for the signature is looked at later."""
        return None if attempt_of(ref, self._callback_key) is None else trace_in(query)

    async def receive_status(self, request: SignedRequest, ref: str) -> Reception:
        """What became of a message of ours."""
        pairs = forms.parse(request.raw)
        attempt_id = attempt_of(ref, self._callback_key)
        if isinstance(pairs, forms.TooManyFields) or attempt_id is None:
            return Forbidden("no attempt of ours bears this reference")
        tokens = await self._directory.tokens_of(_field(pairs, "AccountSid"))
        if not self._fits(tokens, request, pairs):
            account = _field(pairs, "AccountSid") if tokens else None
            return self._refuse(Forbidden("no token of the account made this signature", account), pairs)
        form = StatusForm.parse(pairs)
        if isinstance(form, FormProblem):
            log.error("webhook.unusable", field=form.field, why=form.why)
            return Unusable(form)
        report = Report(
            attempt_id,
            form.account_sid.value,
            form.sid.value,
            form.status,
            form.error_code,
            opted_out=form.error_code == _OPT_OUT_ERROR,
        )
        recorded = await self._reports.record(report)
        if not recorded.known:
            log.info("webhook.status_of_nothing", attempt=str(attempt_id))
        return Reported(form.status)

    # --- Verify and resolve -------------------------------------------------------------------------------------------

    async def _signed_for(self, request: SignedRequest, pairs: forms.Pairs) -> KnownAddress | Forbidden | None:
        """The number it was truly sent to; None for a number that nobody has, signed by an account that we know."""
        account_sid, to = _field(pairs, "AccountSid"), _field(pairs, "To")
        for fresh in (False, True):
            address = await self._directory.lookup(to, fresh=fresh)
            if address is None:
                break
            if address.account_sid == account_sid and self._fits(address.tokens, request, pairs):
                return address
        if address is not None:
            if address.account_sid != account_sid:
                return Forbidden("the number belongs to another account", address.account_sid)
            return Forbidden("no token of the number's account made this signature", address.account_sid)
        tokens = await self._directory.tokens_of(account_sid)
        if self._fits(tokens, request, pairs):
            return None
        return Forbidden("no token stored for this account made this signature", account_sid if tokens else None)

    def _fits(self, tokens: Sequence[str], request: SignedRequest, pairs: forms.Pairs) -> bool:
        if not tokens or not request.signature:
            return False
        urls = candidate_urls(self._public_url, request.path, request.query)
        return first_fitting(tokens, urls, pairs, request.signature) is not None

    def _refuse(self, forbidden: Forbidden, pairs: forms.Pairs) -> Forbidden:
        # A rise of these for one account is an alarm: a rotated token would lose mail in silence.
        log.warning("webhook.forbidden", account=_field(pairs, "AccountSid")[:34], why=forbidden.why)
        return forbidden

    # --- Orphans ------------------------------------------------------------------------------------------------------

    def _orphan(self, form: InboundForm, raw: bytes) -> Orphan:
        return Orphan(
            id=self._ids.new(),
            account_sid=form.account_sid.value,
            message_sid=form.message_sid.value,
            from_address=form.from_address.value,
            to_address=form.to_address.value,
            raw=raw,
            received_at=self._clock.now(),
            assigned_at=None,
            owner_id=None,
        )

    def _keep_orphans(self, uow: UnitOfWork, found: Sequence[Orphan]) -> list[Orphaned]:
        Orphans(uow).add_new(found)
        return [Orphaned() for _ in found]


def inbound_of(
    form: InboundForm, address: KnownAddress, ids: Ids, clock: Clock, raw: bytes, *, trace: str | None = None
) -> Inbound:
    """The form as the conversation takes it: what is no text is described in words, and the raw form is kept."""
    return Inbound(
        id=ids.new(),
        owner_id=address.owner_id,
        address_id=address.address_id,
        account_sid=form.account_sid.value,
        message_sid=form.message_sid.value,
        from_address=form.from_address,
        to_address=form.to_address,
        text=described(form, address.locale),
        kind=form.kind,
        received_at=clock.now(),
        raw=raw,
        opt_out_type=form.opt_out_type,
        profile_name=form.profile_name,
        hurried=form.button is not None,
        trace=trace,
    )


def _field(pairs: forms.Pairs, name: str) -> str:
    return next((value for key, value in pairs if key == name), "")
