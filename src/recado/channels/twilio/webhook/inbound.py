"""Turn a verified form into the conversation's message."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from recado.channels.models import KnownAddress, Orphan
from recado.channels.twilio.rules import rules_for
from recado.channels.twilio.values import PROVIDER
from recado.channels.twilio.webhook import form as forms
from recado.channels.twilio.webhook.describing import describe
from recado.channels.twilio.webhook.dtos import FormProblem, InboundForm
from recado.conversation.replying.accept import InboundMessage
from recado.conversation.values import customer_lane


def inbound_of(
    form: InboundForm, address: KnownAddress, message_id: UUID, now: datetime, raw: bytes, *, trace: str | None = None
) -> InboundMessage:
    """Return the message. Everything that is not text is described in words, and the raw form is kept."""
    return InboundMessage(
        id=message_id,
        owner_id=address.owner_id,
        address_id=address.address_id,
        lane=customer_lane(address.lane_salt, address.address_id, form.from_address.match_key),
        provider=PROVIDER,
        account_ref=form.account_sid.value,
        provider_message_id=form.message_sid.value,
        from_address=form.from_address,
        to_address=form.to_address,
        text=describe(form, address.locale),
        kind=form.kind,
        received_at=now,
        raw=raw,
        opt_out_type=form.opt_out_type,
        profile_name=form.profile_name,
        due_at_once=form.button is not None,
        trace=trace,
    )


def read_orphan(orphan: Orphan, address: KnownAddress, message_id: UUID, now: datetime) -> InboundMessage | None:
    """Return the message of an orphan, or None when its form cannot be read any more (see `OrphanReader`)."""
    pairs = forms.parse(orphan.raw)
    form = None if isinstance(pairs, forms.TooManyFields) else InboundForm.parse(pairs)
    if form is None or isinstance(form, FormProblem):
        return None
    return replace(
        inbound_of(form, address, message_id, orphan.received_at, orphan.raw),
        source="orphan",
        stale=rules_for(form.from_address).is_too_old(orphan.received_at, now),
    )
