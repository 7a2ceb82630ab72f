"""Read models of accounts, for the lists and pages that people and programs see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, select

from recado.channels.tables import channel_accounts
from recado.core.database.prepared import Prepared
from recado.core.database.unit_of_work import UnitOfWork

_NEWEST = Prepared(
    select(
        channel_accounts.c.id,
        channel_accounts.c.owner_id,
        channel_accounts.c.provider,
        channel_accounts.c.account_ref,
        channel_accounts.c.paused_until,
        channel_accounts.c.paused_why,
    )
    .order_by(channel_accounts.c.id.desc())
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class AccountItem:
    """An account of an owner at a provider. It sends nothing before `paused_until`."""

    id: UUID
    owner_id: UUID
    provider: str
    account_ref: str
    paused_until: datetime | None
    paused_why: str | None

    def is_paused(self, now: datetime) -> bool:
        """Return whether the account may not send now."""
        return self.paused_until is not None and self.paused_until > now


def newest_accounts(uow: UnitOfWork, limit: int) -> Sequence[AccountItem]:
    """Return the accounts of all owners, the newest first."""
    return [AccountItem(*row) for row in uow.rows(_NEWEST, most=limit)]
