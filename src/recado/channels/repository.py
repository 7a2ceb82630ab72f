"""The questions that channels ask of their neutral tables."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, func, select, text, tuple_, update

from recado.channels.models import ChannelAddress, Orphan, OrphanSigner, SignedOrphan
from recado.channels.tables import channel_addresses, directory_generation, orphan_signers, orphans
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.repository import OwnedRepository, Repository, entities, owned
from recado.core.database.unit_of_work import UnitOfWork

_HAS_ADDRESS = channel_addresses.c.address == bindparam("address")
_ADDRESSES = owned(channel_addresses, ChannelAddress)
_ADDRESS = Prepared(_ADDRESSES.where(_HAS_ADDRESS))
_IN_ORDER = Prepared(_ADDRESSES.order_by(channel_addresses.c.address))


class ChannelAddresses(OwnedRepository[ChannelAddress]):
    """One owner's numbers."""

    table, entity, noun = channel_addresses, ChannelAddress, "number"

    def by_address(self, address: str) -> ChannelAddress | None:
        return self._one(_ADDRESS, address=address)

    def all(self) -> list[ChannelAddress]:
        return self._many(_IN_ORDER)


_EVERY_ADDRESS = entities(channel_addresses, ChannelAddress)
_WHOSE_ADDRESS = Prepared(_EVERY_ADDRESS.where(_HAS_ADDRESS))
_WITH_WEBHOOKS = Prepared(_EVERY_ADDRESS.where(channel_addresses.c.first_webhook_at.is_not(None)))
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
    """Counts the changes of numbers and tokens; the announcement that every process looks for."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def current(self) -> int:
        found = self._uow.rows(_GENERATION)
        generation: int = found[0][0] if found else 0
        return generation

    def advance(self) -> int:
        """The next one. Its row is held until the commit, so generations become visible in their order."""
        [(generation,)] = self._uow.rows(_RAISE_GENERATION, id=1, generation=1)
        found: int = generation
        return found


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


ORPHANS_PAGE: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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
_ORPHANS_BEARING = Prepared(_ORPHANS.where(orphans.c.message_sid == bindparam("message_sid")).order_by(orphans.c.id))
_NEW_ORPHAN = Prepared(
    inserting(
        orphans, "id", "account_sid", "message_sid", "from_address", "to_address", "raw", "received_at", "assigned_at",
        "owner_id", "signed_by",
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


class Orphans(Repository[Orphan]):
    """Messages without an owner; only operators see them all, and each may go to an owner that may have signed it."""

    table, entity, noun = orphans, Orphan, "orphan"

    def add_new(self, found: Sequence[SignedOrphan]) -> None:
        """Store those that are new, and who may have signed them."""
        rows = self._uow.rows_of_many(_NEW_ORPHAN, [self._values(each.orphan) for each in found])
        stored = {id_ for (id_,) in rows}
        signers = [signer for each in found if each.orphan.id in stored for signer in each.signers]
        if signers:
            self._uow.run_many(_NEW_SIGNER, [asdict(signer) for signer in signers])

    def waiting(self, *, after: Orphan | None = None, limit: int = ORPHANS_PAGE) -> list[SignedOrphan]:
        """A page of those that are not assigned, the oldest first: those after one."""
        at, id_ = (_EPOCH, UUID(int=0)) if after is None else (after.received_at, after.id)
        return [self._signed(orphan) for orphan in self._many(_WAITING, after=at, after_id=id_, most=limit)]

    def count_waiting(self) -> int:
        [(count,)] = self._uow.rows(_HOW_MANY_WAIT)
        return int(count)

    def bearing(self, message_sid: str) -> list[SignedOrphan]:
        """The oldest first."""
        return [self._signed(orphan) for orphan in self._many(_ORPHANS_BEARING, message_sid=message_sid)]

    def _signed(self, orphan: Orphan) -> SignedOrphan:
        rows = self._uow.rows(_SIGNERS_OF, orphan_id=orphan.id)
        return SignedOrphan(orphan, tuple(OrphanSigner(*row) for row in rows))

    def assign(self, id_: UUID, owner_id: UUID, at: datetime) -> None:
        self.change(id_, assigned_at=at, owner_id=owner_id)
