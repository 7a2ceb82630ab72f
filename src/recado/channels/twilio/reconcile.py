"""The gap sweep: accept messages from Twilio's list whose webhooks never arrived.

Twilio calls at most twice and then gives up, but it lists every message that it received. The sweep reads the list of
each number from its last sweep on, with an hour of overlap. Missing messages are handled like any other message. A
number is swept only from its first verified webhook on: earlier messages belong to the system before. So is
one that was removed and added again: the owner that had it meanwhile has answered what came then.

Messages younger than two minutes are left to their webhook. A webhook that arrives after the sweep adds the raw form,
and creates no second job.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from recado.channels.directory import Directory
from recado.channels.models import ChannelAddress, KnownAddress
from recado.channels.repository import EveryAddress
from recado.channels.twilio.models import NoCredentials, TwilioCredentials
from recado.channels.twilio.rules import rules_for
from recado.channels.twilio.sending.client import MessageRecord, MessagesPage, TwilioApi
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER
from recado.channels.twilio.webhook.describing import describe_attachments
from recado.conversation.replying.accept import Accepted, AcceptService, InboundMessage
from recado.conversation.values import Address, customer_lane
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput
from recado.core.ids import Ids

log = structlog.get_logger(__name__)

OVERLAP: Final = timedelta(hours=1)
WEBHOOK_GRACE: Final = timedelta(seconds=120)
BATCH_SIZE: Final = 100
"""The number of messages accepted at once. They share a commit, and webhooks still get their turn."""
MAX_PAGES: Final = 1_000
"""The most pages of a list: a million messages of one number in a day and an hour. The sweep runs in the background."""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """The result of a sweep: numbers checked, messages that were missed, numbers whose list could not be read."""

    numbers: int = 0
    found: int = 0
    failed: int = 0


class GapSweep:
    """Sweeps every number that has ever had a webhook."""

    def __init__(
        self,
        directory: Directory,
        tokens: TwilioTokens,
        api: TwilioApi,
        acceptance: AcceptService,
        database: Database,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._api = api
        self._acceptance = acceptance
        self._database = database
        self._clock = clock
        self._ids = ids

    async def sweep(self) -> SweepReport:
        """Sweep all numbers once. A number whose list cannot be read now is swept again next time."""
        addresses = await self._database.read(lambda uow: EveryAddress(uow).with_webhooks(PROVIDER), owner=None)
        found = failed = 0
        for address in addresses:
            missed = await self._sweep_number(address)
            if missed is None:
                failed += 1
            else:
                found += missed
        if found or failed:
            log.warning("twilio.gaps", numbers=len(addresses), found=found, failed=failed)
        return SweepReport(len(addresses), found, failed)

    async def _sweep_number(self, address: ChannelAddress) -> int | None:
        """Return the number of messages that were missed; None when the list could not be read to its end."""
        now = self._clock.now()
        since = max(filter(None, (address.first_webhook_at, address.swept_until)), default=now)
        since = max(since - OVERLAP, address.first_webhook_at or now)
        credentials = await self._tokens.account_for(address.account_id)
        if isinstance(credentials, NoCredentials):
            return None
        records = await self._list_messages(credentials, address, since)
        if records is None:
            return None
        if not await self._is_as_read(address):
            return 0
        due = [record for record in records if since <= record.created_at <= now - WEBHOOK_GRACE]
        missed = await self._accept_all(address, due, now)
        swept_until = now - WEBHOOK_GRACE
        await self._database.write(
            lambda uow: EveryAddress(uow).change(address.id, swept_until=swept_until), owner=None
        )
        return missed

    async def _is_as_read(self, address: ChannelAddress) -> bool:
        """Return whether a number is in use as it was before its list was read, which may take minutes."""
        now = await self._database.read(lambda uow: EveryAddress(uow).get(address.id), owner=None)
        return now is not None and replace(now, swept_until=address.swept_until) == address

    async def _list_messages(
        self, credentials: TwilioCredentials, address: ChannelAddress, since: datetime
    ) -> Sequence[MessageRecord] | None:
        records: list[MessageRecord] = []
        next_url: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._api.list_messages(
                credentials, to=address.address, sent_after=since - timedelta(days=1), next_url=next_url
            )
            if not isinstance(page, MessagesPage):
                return None
            records += [record for record in page.records if record.direction == "inbound" and _arrived(record)]
            next_url = page.next_url
            if next_url is None:
                return sorted(records, key=lambda record: record.created_at)
        return None

    async def _accept_all(self, address: ChannelAddress, records: Sequence[MessageRecord], now: datetime) -> int:
        """Accept messages, the oldest first, many in one commit. Return the number of new ones."""
        known = await self._directory.lookup(address.address)
        if known is None or known.address_id != address.id:  # It was removed meanwhile.
            return 0
        missed = 0
        for at in range(0, len(records), BATCH_SIZE):
            inbounds = [self._inbound(known, record, now) for record in records[at : at + BATCH_SIZE]]
            accepted = await asyncio.gather(*(self._acceptance.accept(each) for each in inbounds if each is not None))
            missed += sum(isinstance(each, Accepted) for each in accepted)
        return missed

    def _inbound(self, address: KnownAddress, record: MessageRecord, now: datetime) -> InboundMessage | None:
        try:
            sender = Address(record.from_address)
        except InvalidInput:
            return None
        return InboundMessage(
            id=self._ids.new(),
            owner_id=address.owner_id,
            address_id=address.address_id,
            lane=customer_lane(address.lane_salt, address.address_id, sender.match_key),
            provider=PROVIDER,
            account_ref=record.account_sid.value,
            provider_message_id=record.sid.value,
            from_address=sender,
            to_address=Address(address.address),
            text=f"{describe_attachments(record.num_media, address.locale)} {record.body}".strip(),
            kind="media" if record.num_media else "text",
            received_at=record.created_at,
            raw=b"",
            source="sweep",
            stale=rules_for(sender).is_too_old(record.created_at, now),
        )


def _arrived(record: MessageRecord) -> bool:
    return record.status in ("received", "receiving", "delivered", "")
