"""The questions this channel asks of its tables."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update

from recado.channels.twilio.models import ChannelAddress, Orphan, TwilioAccount
from recado.channels.twilio.tables import channel_addresses, orphans, twilio_accounts
from recado.core.database.repository import OwnedRepository, Repository
from recado.core.database.unit_of_work import UnitOfWork


class TwilioAccounts(OwnedRepository[TwilioAccount]):
    """One owner's accounts."""

    table, entity, noun = twilio_accounts, TwilioAccount, "Twilio account"

    def by_sid(self, account_sid: str) -> TwilioAccount | None:
        return self._one(self._select().where(twilio_accounts.c.account_sid == account_sid))


class ChannelAddresses(OwnedRepository[ChannelAddress]):
    """One owner's numbers."""

    table, entity, noun = channel_addresses, ChannelAddress, "number"

    def by_address(self, address: str) -> ChannelAddress | None:
        return self._one(self._select().where(channel_addresses.c.address == address))

    def all(self) -> list[ChannelAddress]:
        return self._many(self._select().order_by(channel_addresses.c.address))


class EveryAccount(Repository[TwilioAccount]):
    """Accounts of all owners: who signed a webhook is asked before anybody knows whose it is."""

    table, entity, noun = twilio_accounts, TwilioAccount, "Twilio account"

    def bearing(self, account_sid: str) -> list[TwilioAccount]:
        return self._many(self._select().where(twilio_accounts.c.account_sid == account_sid))


class EveryAddress(Repository[ChannelAddress]):
    """Numbers of all owners, likewise."""

    table, entity, noun = channel_addresses, ChannelAddress, "number"

    def by_address(self, address: str) -> ChannelAddress | None:
        return self._one(self._select().where(channel_addresses.c.address == address))

    def with_webhooks(self) -> list[ChannelAddress]:
        return self._many(self._select().where(channel_addresses.c.first_webhook_at.is_not(None)))

    def mark_webhook(self, id_: UUID, at: datetime) -> None:
        """Remember the first verified webhook of a number: from here on its gaps are ours to find."""
        first = update(channel_addresses).where(
            channel_addresses.c.id == id_, channel_addresses.c.first_webhook_at.is_(None)
        )
        self._uow.execute(first.values(first_webhook_at=at))


class Orphans(Repository[Orphan]):
    """Messages that belong to nobody; they have no owner, so only operators see them."""

    table, entity, noun = orphans, Orphan, "orphan"

    def add_new(self, entities: Sequence[Orphan]) -> set[UUID]:
        """Store those that are new; their ids."""
        insert = self._uow.insert(orphans).on_conflict_do_nothing().returning(orphans.c.id)
        return {row[0] for row in self._uow.execute(insert, [self._values(entity) for entity in entities]).all()}

    def waiting(self, *, limit: int = 1000) -> list[Orphan]:
        return self._many(
            self._select().where(orphans.c.assigned_at.is_(None)).order_by(orphans.c.received_at).limit(limit)
        )

    def bearing(self, message_sid: str) -> list[Orphan]:
        return self._many(self._select().where(orphans.c.message_sid == message_sid))

    def assign(self, id_: UUID, owner_id: UUID, at: datetime) -> None:
        self._uow.execute(update(orphans).where(orphans.c.id == id_).values(assigned_at=at, owner_id=owner_id))


class AccountPauses:
    """Accounts that may not send for a while, asked inside the send's own transaction."""

    def paused_for(self, uow: UnitOfWork, address_id: UUID, now: datetime) -> timedelta | None:
        """How long the account behind an address of ours is still paused."""
        until = uow.execute(
            select(twilio_accounts.c.paused_until)
            .join(channel_addresses, channel_addresses.c.account_id == twilio_accounts.c.id)
            .where(channel_addresses.c.id == address_id)
        ).scalar()
        return until - now if until is not None and until > now else None

    def pause(self, uow: UnitOfWork, address_id: UUID, until: datetime, why: str) -> None:
        account = select(channel_addresses.c.account_id).where(channel_addresses.c.id == address_id).scalar_subquery()
        statement = update(twilio_accounts).where(twilio_accounts.c.id == account)
        uow.execute(statement.values(paused_until=until, paused_why=why))
