"""The questions this channel asks of its tables."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, select, update

from recado.channels.twilio.models import ChannelAddress, Orphan, TwilioAccount
from recado.channels.twilio.tables import channel_addresses, orphans, twilio_accounts
from recado.core.database.prepared import Prepared, given
from recado.core.database.repository import OwnedRepository, Repository, entities, owned
from recado.core.database.unit_of_work import UnitOfWork

_HAS_SID = twilio_accounts.c.account_sid == bindparam("account_sid")
_HAS_ADDRESS = channel_addresses.c.address == bindparam("address")

_ACCOUNT = Prepared(owned(twilio_accounts, TwilioAccount).where(_HAS_SID))
_ADDRESSES = owned(channel_addresses, ChannelAddress)
_ADDRESS = Prepared(_ADDRESSES.where(_HAS_ADDRESS))
_IN_ORDER = Prepared(_ADDRESSES.order_by(channel_addresses.c.address))


class TwilioAccounts(OwnedRepository[TwilioAccount]):
    """One owner's accounts."""

    table, entity, noun = twilio_accounts, TwilioAccount, "Twilio account"

    def by_sid(self, account_sid: str) -> TwilioAccount | None:
        return self._one(_ACCOUNT, account_sid=account_sid)


class ChannelAddresses(OwnedRepository[ChannelAddress]):
    """One owner's numbers."""

    table, entity, noun = channel_addresses, ChannelAddress, "number"

    def by_address(self, address: str) -> ChannelAddress | None:
        return self._one(_ADDRESS, address=address)

    def all(self) -> list[ChannelAddress]:
        return self._many(_IN_ORDER)


_BEARING = Prepared(entities(twilio_accounts, TwilioAccount).where(_HAS_SID))
_EVERY_ADDRESS = entities(channel_addresses, ChannelAddress)
_WHOSE_ADDRESS = Prepared(_EVERY_ADDRESS.where(_HAS_ADDRESS))
_WITH_WEBHOOKS = Prepared(_EVERY_ADDRESS.where(channel_addresses.c.first_webhook_at.is_not(None)))
_MARK_WEBHOOK = Prepared(
    update(channel_addresses)
    .where(channel_addresses.c.id == given(channel_addresses.c.id, "of_id"))
    .where(channel_addresses.c.first_webhook_at.is_(None))
    .values(first_webhook_at=given(channel_addresses.c.first_webhook_at, "at"))
)


class EveryAccount(Repository[TwilioAccount]):
    """Accounts of all owners: who signed a webhook is asked before anybody knows whose it is."""

    table, entity, noun = twilio_accounts, TwilioAccount, "Twilio account"

    def bearing(self, account_sid: str) -> list[TwilioAccount]:
        return self._many(_BEARING, account_sid=account_sid)


class EveryAddress(Repository[ChannelAddress]):
    """Numbers of all owners, likewise."""

    table, entity, noun = channel_addresses, ChannelAddress, "number"

    def by_address(self, address: str) -> ChannelAddress | None:
        return self._one(_WHOSE_ADDRESS, address=address)

    def with_webhooks(self) -> list[ChannelAddress]:
        return self._many(_WITH_WEBHOOKS)

    def mark_webhook(self, id_: UUID, at: datetime) -> None:
        """Remember the first verified webhook of a number: from here on its gaps are ours to find."""
        self._run(_MARK_WEBHOOK, of_id=id_, at=at)


_ORPHANS = entities(orphans, Orphan)
_WAITING = Prepared(
    _ORPHANS.where(orphans.c.assigned_at.is_(None)).order_by(orphans.c.received_at).limit(bindparam("most"))
)
_ORPHANS_BEARING = Prepared(_ORPHANS.where(orphans.c.message_sid == bindparam("message_sid")))


class Orphans(Repository[Orphan]):
    """Messages that belong to nobody; they have no owner, so only operators see them."""

    table, entity, noun = orphans, Orphan, "orphan"

    def add_new(self, entities: Sequence[Orphan]) -> set[UUID]:
        """Store those that are new; their ids."""
        insert = self._uow.insert(orphans).on_conflict_do_nothing().returning(orphans.c.id)
        return {row[0] for row in self._uow.execute(insert, [self._values(entity) for entity in entities]).all()}

    def waiting(self, *, limit: int = 1000) -> list[Orphan]:
        return self._many(_WAITING, most=limit)

    def bearing(self, message_sid: str) -> list[Orphan]:
        return self._many(_ORPHANS_BEARING, message_sid=message_sid)

    def assign(self, id_: UUID, owner_id: UUID, at: datetime) -> None:
        self.change(id_, assigned_at=at, owner_id=owner_id)


_ACCOUNT_OF = select(channel_addresses.c.account_id).where(
    channel_addresses.c.id == given(channel_addresses.c.id, "address_id")
)
_PAUSED = Prepared(select(twilio_accounts.c.paused_until).where(twilio_accounts.c.id == _ACCOUNT_OF.scalar_subquery()))
_PAUSE = Prepared(
    update(twilio_accounts)
    .where(twilio_accounts.c.id == _ACCOUNT_OF.scalar_subquery())
    .values(paused_until=given(twilio_accounts.c.paused_until, "until"), paused_why=bindparam("why"))
)


class AccountPauses:
    """Accounts that may not send for a while, asked inside the send's own transaction."""

    def paused_for(self, uow: UnitOfWork, address_id: UUID, now: datetime) -> timedelta | None:
        """How long the account behind an address of ours is still paused."""
        found = uow.rows(_PAUSED, address_id=address_id)
        until: datetime | None = found[0][0] if found else None
        return until - now if until is not None and until > now else None

    def pause(self, uow: UnitOfWork, address_id: UUID, until: datetime, why: str) -> None:
        uow.run(_PAUSE, address_id=address_id, until=until, why=why)
