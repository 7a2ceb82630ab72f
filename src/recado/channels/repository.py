"""Queries of the tables that all channels share."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, exists, func, select, text, tuple_, update

from recado.channels.models import AccountKey, ChannelAccount, ChannelAddress, Orphan, OrphanSigner, SignedOrphan
from recado.channels.tables import channel_accounts, channel_addresses, directory_generation, orphan_signers, orphans
from recado.conversation.ports import NumberOfOurs, SendingAccount
from recado.conversation.values import Address
from recado.core.database.pages import FIRST_PLACE
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.repository import OwnedRepository, Repository, entities, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotFound
from recado.core.queue.storage.claiming import LEEWAY

_HAS_REF = and_(
    channel_accounts.c.provider == bindparam("provider"),
    channel_accounts.c.account_ref == bindparam("account_ref"),
)
_ACCOUNT = Prepared(owned(channel_accounts, ChannelAccount).where(_HAS_REF))


class ChannelAccounts(OwnedRepository[ChannelAccount]):
    """One owner's accounts at providers."""

    table, entity, noun = channel_accounts, ChannelAccount, "account"

    def by_ref(self, provider: str, account_ref: str) -> ChannelAccount | None:
        return self._one(_ACCOUNT, provider=provider, account_ref=account_ref)


_EVERY_ACCOUNT = entities(channel_accounts, ChannelAccount)
_WITH_REF = Prepared(_EVERY_ACCOUNT.where(_HAS_REF).order_by(channel_accounts.c.id))
_EVERY_REF = Prepared(select(channel_accounts.c.provider, channel_accounts.c.account_ref).distinct())
_CHANGED = Prepared(
    select(channel_accounts.c.id, channel_accounts.c.provider, channel_accounts.c.account_ref).where(
        channel_accounts.c.changed_in > bindparam("since")
    )
)


class EveryAccount(Repository[ChannelAccount]):
    """Accounts of all owners: a webhook must be verified before its owner is known."""

    table, entity, noun = channel_accounts, ChannelAccount, "account"

    def with_ref(self, provider: str, account_ref: str) -> list[ChannelAccount]:
        return self._many(_WITH_REF, provider=provider, account_ref=account_ref)

    def every_ref(self) -> list[AccountKey]:
        return [(provider, account_ref) for provider, account_ref in self._uow.rows(_EVERY_REF)]

    def changed_since(self, generation: int) -> dict[UUID, AccountKey]:
        """Return provider and reference, by id, of the accounts that changed after a generation of the directory."""
        return {id_: (provider, ref) for id_, provider, ref in self._uow.rows(_CHANGED, since=generation)}


_HAS_ADDRESS = channel_addresses.c.address == bindparam("address")
_IN_USE = channel_addresses.c.removed_at.is_(None)
_ADDRESSES = owned(channel_addresses, ChannelAddress)
_ADDRESS = Prepared(_ADDRESSES.where(_HAS_ADDRESS, _IN_USE))
_REMOVED_ADDRESS = Prepared(
    _ADDRESSES.where(_HAS_ADDRESS, channel_addresses.c.removed_at.is_not(None)).order_by(channel_addresses.c.id.desc())
)
_REMOVED_OF_ACCOUNT = Prepared(
    select(channel_addresses.c.id).where(
        channel_addresses.c.account_id == bindparam("account_id"), channel_addresses.c.removed_at.is_not(None)
    )
)
_IN_ORDER = Prepared(_ADDRESSES.where(_IN_USE).order_by(channel_addresses.c.address))


class ChannelAddresses(OwnedRepository[ChannelAddress]):
    """One owner's numbers. By its id a removed number is found as well."""

    table, entity, noun = channel_addresses, ChannelAddress, "number"

    def require_in_use(self, id_: UUID) -> ChannelAddress:
        """Return a number that is not removed. Raises `NotFound`."""
        found = self.get(id_)
        if found is None or found.removed_at is not None:
            raise NotFound(f"there is no number {id_}")
        return found

    def by_address(self, address: str) -> ChannelAddress | None:
        return self._one(_ADDRESS, address=address)

    def removed(self, address: str) -> ChannelAddress | None:
        """Return the number of this address that was removed last."""
        return self._one(_REMOVED_ADDRESS, address=address)

    def removed_of(self, account_id: UUID) -> list[UUID]:
        """Return the ids of an account's removed numbers."""
        return [id_ for (id_,) in self._uow.rows(_REMOVED_OF_ACCOUNT, account_id=account_id)]

    def all(self) -> list[ChannelAddress]:
        return self._many(_IN_ORDER)


_EVERY_ADDRESS = entities(channel_addresses, ChannelAddress).where(_IN_USE)
_WHOSE_ADDRESS = Prepared(_EVERY_ADDRESS.where(_HAS_ADDRESS))
_EVERY_WITH_WEBHOOKS = Prepared(_EVERY_ADDRESS.where(channel_addresses.c.first_webhook_at.is_not(None)))
_WITH_WEBHOOKS = Prepared(
    _EVERY_ADDRESS.where(
        channel_addresses.c.first_webhook_at.is_not(None),
        channel_addresses.c.account_id.in_(
            select(channel_accounts.c.id).where(channel_accounts.c.provider == bindparam("provider"))
        ),
    )
)
_MARK_WEBHOOK = Prepared(
    update(channel_addresses)
    .where(channel_addresses.c.id == param(channel_addresses.c.id, "of_id"))
    .where(channel_addresses.c.first_webhook_at.is_(None))
    .values(first_webhook_at=param(channel_addresses.c.first_webhook_at, "at"))
)
_THE_ONE = directory_generation.c.id == text("1")
_GENERATION = Prepared(select(directory_generation.c.generation).where(_THE_ONE))
_RAISE_GENERATION = Prepared(
    inserting(directory_generation, "id", "generation")
    .on_conflict_do_update(
        index_elements=[directory_generation.c.id],
        set_={"generation": directory_generation.c.generation + text("1")},
    )
    .returning(directory_generation.c.generation)
)


class DirectoryGeneration:
    """Counts the changes of numbers and tokens. Every process polls this number."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def current(self) -> int:
        found = self._uow.rows(_GENERATION)
        generation: int = found[0][0] if found else 0
        return generation

    def advance(self) -> int:
        """Return the next generation. Its row is locked until the commit, so generations become visible in order."""
        [(generation,)] = self._uow.rows(_RAISE_GENERATION, id=1, generation=1)
        found: int = generation
        return found


class EveryAddress(Repository[ChannelAddress]):
    """Numbers of all owners that are in use: a webhook must be verified before its owner is known."""

    table, entity, noun = channel_addresses, ChannelAddress, "number"

    def by_address(self, address: str) -> ChannelAddress | None:
        return self._one(_WHOSE_ADDRESS, address=address)

    def every_with_webhooks(self) -> list[ChannelAddress]:
        """Return the addresses at all providers that have had a verified webhook."""
        return self._many(_EVERY_WITH_WEBHOOKS)

    def with_webhooks(self, provider: str) -> list[ChannelAddress]:
        """Return the addresses at a provider that have had a verified webhook."""
        return self._many(_WITH_WEBHOOKS, provider=provider)

    def mark_webhook(self, id_: UUID, at: datetime) -> None:
        """Store the time of a number's first verified webhook. From then on the gap sweep covers the number."""
        self._run(_MARK_WEBHOOK, of_id=id_, at=at)


ORPHANS_PAGE: Final = 500
_ORPHANS = entities(orphans, Orphan)
_UNASSIGNED = orphans.c.assigned_at.is_(None)
_WAITING = Prepared(
    _ORPHANS.where(
        _UNASSIGNED,
        tuple_(orphans.c.received_at, orphans.c.id)
        > tuple_(param(orphans.c.received_at, "after"), param(orphans.c.id, "after_id")),
    )
    .order_by(orphans.c.received_at, orphans.c.id)
    .limit(bindparam("most"))
)
_HOW_MANY_WAIT = Prepared(select(func.count()).select_from(orphans).where(_UNASSIGNED))
_ORPHANS_BEARING = Prepared(
    _ORPHANS.where(orphans.c.provider_message_id == bindparam("provider_message_id")).order_by(orphans.c.id)
)
_NEW_ORPHAN = Prepared(
    inserting(
        orphans, "id", "provider", "account_ref", "provider_message_id", "from_address", "to_address", "raw",
        "received_at", "assigned_at", "owner_id", "signed_by",
    )
    .on_conflict_do_nothing()
    .returning(orphans.c.id)
)  # fmt: skip
_NEW_SIGNER = Prepared(inserting(orphan_signers, "orphan_id", "account_id", "owner_id"))
_SIGNERS_OF = Prepared(
    entities(orphan_signers, OrphanSigner)
    .where(orphan_signers.c.orphan_id == bindparam("orphan_id"))
    .order_by(orphan_signers.c.account_id)
)


_OF_OWNER = Prepared(
    select(orphans.c.id)
    .where(orphans.c.owner_id == bindparam("purged"))
    .union(select(orphan_signers.c.orphan_id).where(orphan_signers.c.owner_id == bindparam("purged")))
    .limit(bindparam("most"))
)
_ASSIGNED_TO = Prepared(select(orphans.c.owner_id).where(orphans.c.id == bindparam("id")))
_SIGNED = delete(orphan_signers).where(orphan_signers.c.orphan_id == bindparam("id"))
_FORGET_SIGNERS = Prepared(_SIGNED)
_FORGET_SIGNER = Prepared(_SIGNED.where(orphan_signers.c.owner_id == bindparam("signer")))
_ASSIGN = Prepared(
    update(orphans)
    .where(orphans.c.id == param(orphans.c.id, "of_id"), orphans.c.assigned_at.is_(None))
    .values(owner_id=param(orphans.c.owner_id, "to"), assigned_at=param(orphans.c.assigned_at, "at"))
)
_FORGET_ORPHAN = Prepared(
    delete(orphans).where(orphans.c.id == bindparam("id"), ~exists().where(orphan_signers.c.orphan_id == orphans.c.id))
)


class Orphans(Repository[Orphan]):
    """Messages without an owner.

    Only operators see all of them, and an orphan may go to an owner that may have signed it.
    """

    table, entity, noun = orphans, Orphan, "orphan"

    def add_new(self, found: Sequence[SignedOrphan]) -> set[UUID]:
        """Store new orphans, and who may have signed them. Return the ids of the new ones."""
        rows = self._uow.rows_of_many(_NEW_ORPHAN, [self._values(each.orphan) for each in found])
        stored = {id_ for (id_,) in rows}
        signers = [signer for each in found if each.orphan.id in stored for signer in each.signers]
        if signers:
            self._uow.run_many(_NEW_SIGNER, [asdict(signer) for signer in signers])
        return stored

    def waiting(self, *, after: Orphan | None = None, limit: int = ORPHANS_PAGE) -> list[SignedOrphan]:
        """Return a page of orphans that are not assigned, the oldest first, after a given one."""
        at, id_ = FIRST_PLACE if after is None else (after.received_at, after.id)
        return [self._signed(orphan) for orphan in self._many(_WAITING, after=at, after_id=id_, most=limit)]

    def count_waiting(self) -> int:
        [(count,)] = self._uow.rows(_HOW_MANY_WAIT)
        return int(count)

    def signed(self, id_: UUID) -> SignedOrphan | None:
        found = self.get(id_)
        return None if found is None else self._signed(found)

    def with_message_id(self, provider_message_id: str) -> list[SignedOrphan]:
        """The oldest first."""
        return [
            self._signed(orphan) for orphan in self._many(_ORPHANS_BEARING, provider_message_id=provider_message_id)
        ]

    def _signed(self, orphan: Orphan) -> SignedOrphan:
        rows = self._uow.rows(_SIGNERS_OF, orphan_id=orphan.id)
        return SignedOrphan(orphan, tuple(OrphanSigner(*row) for row in rows))

    def purge(self, owner_id: UUID, limit: int) -> int:
        """Delete orphans that were assigned to an owner, or that nobody but the owner may have signed.

        Return the number of orphans looked at, at most `limit`; call it until it returns 0.
        """
        of_owner = [id_ for (id_,) in self._uow.rows(_OF_OWNER, purged=owner_id, most=limit)]
        for id_ in of_owner:
            assigned_to = next((owner for (owner,) in self._uow.rows(_ASSIGNED_TO, id=id_)), None)
            if assigned_to == owner_id:
                self._uow.run(_FORGET_SIGNERS, id=id_)
            else:
                self._uow.run(_FORGET_SIGNER, id=id_, signer=owner_id)
            if assigned_to in {None, owner_id}:
                self._uow.run(_FORGET_ORPHAN, id=id_)
        return len(of_owner)

    def assign(self, id_: UUID, owner_id: UUID, at: datetime) -> bool:
        """Store to whom an orphan was assigned. Return False when it was assigned before."""
        return self._uow.run(_ASSIGN, of_id=id_, to=owner_id, at=at) == 1


_ACCOUNT_OF = select(channel_addresses.c.account_id).where(
    channel_addresses.c.id == param(channel_addresses.c.id, "address_id")
)
_BEHIND = Prepared(
    select(channel_accounts.c.id, channel_accounts.c.provider).where(
        channel_accounts.c.id == _ACCOUNT_OF.scalar_subquery()
    )
)
_PROVIDER = Prepared(select(channel_accounts.c.provider).where(channel_accounts.c.id == bindparam("account_id")))
_PAUSED = Prepared(
    select(channel_accounts.c.paused_until, channel_accounts.c.updated_at).where(
        channel_accounts.c.id == _ACCOUNT_OF.scalar_subquery()
    )
)
_PAUSE = Prepared(
    update(channel_accounts)
    .where(channel_accounts.c.id == param(channel_accounts.c.id, "of_id"))
    .values(
        paused_until=param(channel_accounts.c.paused_until, "until"),
        paused_why=bindparam("why"),
        updated_at=param(channel_accounts.c.updated_at, "now"),
    )
)


class NumbersInUse:
    """Numbers that messages are sent from, for the transactions of sending."""

    def in_use(self, uow: UnitOfWork, address: Address) -> NumberOfOurs | None:
        """Return the owner's number of this address, unless it was removed."""
        found = ChannelAddresses(uow).by_address(address.value)
        return None if found is None else NumberOfOurs(found.id, found.address)

    def with_id(self, uow: UnitOfWork, number_id: UUID) -> NumberOfOurs | None:
        """Return the owner's number with this id, unless it was removed."""
        found = ChannelAddresses(uow).get(number_id)
        return None if found is None or found.removed_at is not None else NumberOfOurs(found.id, found.address)


class AccountPauses:
    """Accounts that send, and their pauses, for the transactions of sending."""

    def behind(self, uow: UnitOfWork, address_id: UUID) -> SendingAccount:
        """Return the account of an address of ours. Its attempts are made with this account."""
        [(account_id, provider)] = uow.rows(_BEHIND, address_id=address_id)
        return SendingAccount(account_id, provider)

    def of(self, uow: UnitOfWork, account_id: UUID) -> SendingAccount:
        """Return the account that an attempt was made with."""
        [(provider,)] = uow.rows(_PROVIDER, account_id=account_id)
        return SendingAccount(account_id, provider)

    def paused_for(self, uow: UnitOfWork, address_id: UUID, now: datetime) -> timedelta | None:
        """Return how long the account of an address of ours is still paused, or None.

        A pause that began in the future was set by a clock that has been set back since. It counts as over: the
        provider says again whether it takes messages.
        """
        found = uow.rows(_PAUSED, address_id=address_id)
        until: datetime | None = found[0][0] if found else None
        if until is None or until <= now or found[0][1] > now + LEEWAY:
            return None
        return until - now

    def pause(self, uow: UnitOfWork, account_id: UUID, now: datetime, span: timedelta, why: str) -> None:
        uow.run(_PAUSE, of_id=account_id, now=now, until=now + span, why=why)
