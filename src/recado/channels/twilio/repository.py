"""The questions this channel asks of its tables."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, select, update

from recado.channels.tables import channel_addresses
from recado.channels.twilio.models import TwilioAccount
from recado.channels.twilio.tables import twilio_accounts
from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import OwnedRepository, Repository, entities, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.storage.claiming import LEEWAY

_HAS_SID = twilio_accounts.c.account_sid == bindparam("account_sid")
_ACCOUNT = Prepared(owned(twilio_accounts, TwilioAccount).where(_HAS_SID))


class TwilioAccounts(OwnedRepository[TwilioAccount]):
    """One owner's accounts."""

    table, entity, noun = twilio_accounts, TwilioAccount, "Twilio account"

    def by_sid(self, account_sid: str) -> TwilioAccount | None:
        return self._one(_ACCOUNT, account_sid=account_sid)


_BEARING = Prepared(entities(twilio_accounts, TwilioAccount).where(_HAS_SID).order_by(twilio_accounts.c.id))
_EVERY_SID = Prepared(select(twilio_accounts.c.account_sid).distinct())
_CHANGED = Prepared(
    select(twilio_accounts.c.id, twilio_accounts.c.account_sid).where(twilio_accounts.c.changed_in > bindparam("since"))
)


class EveryAccount(Repository[TwilioAccount]):
    """Accounts of all owners: who signed a webhook is asked before anybody knows whose it is."""

    table, entity, noun = twilio_accounts, TwilioAccount, "Twilio account"

    def bearing(self, account_sid: str) -> list[TwilioAccount]:
        return self._many(_BEARING, account_sid=account_sid)

    def every_sid(self) -> list[str]:
        return [sid for (sid,) in self._uow.rows(_EVERY_SID)]

    def changed_since(self, generation: int) -> dict[UUID, str]:
        """The accounts that changed after a generation of the directory: their ids and SIDs."""
        return dict(self._uow.rows(_CHANGED, since=generation))


_ACCOUNT_OF = select(channel_addresses.c.account_id).where(
    channel_addresses.c.id == param(channel_addresses.c.id, "address_id")
)
_BEHIND = Prepared(_ACCOUNT_OF)
_PAUSED = Prepared(
    select(twilio_accounts.c.paused_until, twilio_accounts.c.updated_at).where(
        twilio_accounts.c.id == _ACCOUNT_OF.scalar_subquery()
    )
)
_PAUSE = Prepared(
    update(twilio_accounts)
    .where(twilio_accounts.c.id == param(twilio_accounts.c.id, "of_id"))
    .values(
        paused_until=param(twilio_accounts.c.paused_until, "until"),
        paused_why=bindparam("why"),
        updated_at=param(twilio_accounts.c.updated_at, "now"),
    )
)


class AccountPauses:
    """Which account sends, and whether it may not for a while; asked inside the send's own transaction."""

    def behind(self, uow: UnitOfWork, address_id: UUID) -> UUID:
        """The account of an address of ours: the one that an attempt is made with."""
        [(account_id,)] = uow.rows(_BEHIND, address_id=address_id)
        found: UUID = account_id
        return found

    def paused_for(self, uow: UnitOfWork, address_id: UUID, now: datetime) -> timedelta | None:
        """How long the account behind an address of ours is still paused.

        A pause that began in the future is one of a clock that was set back since: it is over, and the provider says
        anew whether it takes messages.
        """
        found = uow.rows(_PAUSED, address_id=address_id)
        until: datetime | None = found[0][0] if found else None
        if until is None or until <= now or found[0][1] > now + LEEWAY:
            return None
        return until - now

    def pause(self, uow: UnitOfWork, account_id: UUID, now: datetime, span: timedelta, why: str) -> None:
        uow.run(_PAUSE, of_id=account_id, now=now, until=now + span, why=why)
