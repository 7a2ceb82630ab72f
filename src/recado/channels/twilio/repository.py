"""Queries of Twilio's own table."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, exists, or_, select, update

from recado.channels.tables import channel_accounts, channel_addresses
from recado.channels.twilio.models import StoredCredentials
from recado.channels.twilio.tables import twilio_credentials
from recado.channels.twilio.values import PROVIDER
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.repository import column_names, entities
from recado.core.database.unit_of_work import UnitOfWork

_NAMES: Final = column_names(StoredCredentials)
_ALL = entities(twilio_credentials, StoredCredentials)
_OF_ACCOUNT = Prepared(_ALL.where(twilio_credentials.c.account_id == bindparam("account_id")))
_OF_SID = Prepared(
    _ALL.where(
        twilio_credentials.c.account_id.in_(
            select(channel_accounts.c.id).where(
                channel_accounts.c.provider == bindparam("provider"),
                channel_accounts.c.account_ref == bindparam("account_sid"),
            )
        )
    ).order_by(twilio_credentials.c.account_id)
)
_new = inserting(twilio_credentials, *_NAMES)
_STORE = Prepared(
    _new.on_conflict_do_update(
        index_elements=[twilio_credentials.c.account_id],
        set_={name: _new.excluded[name] for name in ("auth_token_sealed", "previous_token_sealed", "updated_at")},
    )
)


_HAD_NUMBER = exists().where(
    channel_addresses.c.account_id == twilio_credentials.c.account_id,
    or_(
        channel_addresses.c.removed_at.is_(None),
        channel_addresses.c.removed_at > param(channel_addresses.c.removed_at, "since"),
    ),
)
_WITHOUT_NUMBERS = Prepared(
    select(twilio_credentials.c.account_id, twilio_credentials.c.owner_id)
    .where(~_HAD_NUMBER)
    .order_by(twilio_credentials.c.account_id)
)
_FORGET_PREVIOUS = Prepared(
    update(twilio_credentials)
    .where(
        twilio_credentials.c.account_id == param(twilio_credentials.c.account_id, "of_account"),
        twilio_credentials.c.auth_token_sealed == bindparam("sealed"),
        twilio_credentials.c.previous_token_sealed.is_not(None),
    )
    .values(previous_token_sealed=None)
)
_FORGET = Prepared(delete(twilio_credentials).where(twilio_credentials.c.account_id == bindparam("of_account")))


class Credentials:
    """Sealed auth tokens of all owners: a webhook must be verified before its owner is known."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def of_account(self, account_id: UUID) -> StoredCredentials | None:
        found = self._uow.rows(_OF_ACCOUNT, account_id=account_id)
        return StoredCredentials(*found[0]) if found else None

    def with_sid(self, account_sid: str) -> list[StoredCredentials]:
        """Return the tokens of every account row with this SID, the oldest row first."""
        rows = self._uow.rows(_OF_SID, provider=PROVIDER, account_sid=account_sid)
        return [StoredCredentials(*row) for row in rows]

    def without_numbers(self, since: datetime) -> list[tuple[UUID, UUID]]:
        """Return account and owner of the tokens of accounts that have had no number in use since a moment."""
        found = self._uow.rows(_WITHOUT_NUMBERS, since=since)
        return [(account_id, owner_id) for account_id, owner_id in found]

    def forget(self, account_id: UUID) -> None:
        """Delete the tokens of an account."""
        self._uow.run(_FORGET, of_account=account_id)

    def forget_previous(self, account_id: UUID, sealed: bytes) -> bool:
        """Delete the previous token of an account whose current one is still this. Return whether there was one."""
        return bool(self._uow.run(_FORGET_PREVIOUS, of_account=account_id, sealed=sealed))

    def store(self, credentials: StoredCredentials) -> None:
        """Store the tokens of an account, and replace its old ones."""
        self._uow.run(_STORE, **{name: getattr(credentials, name) for name in _NAMES})
