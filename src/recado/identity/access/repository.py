"""The queries for sessions and API keys."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, delete

from recado.core.database.prepared import Prepared
from recado.core.database.repository import OwnedRepository, Repository, entities, of_owner, owned
from recado.identity.access.models import IssuedKey, Session
from recado.identity.tables import api_keys, sessions

_OF_TOKEN = Prepared(entities(sessions, Session).where(sessions.c.token_hash == bindparam("token_hash")))
_END = Prepared(delete(sessions).where(of_owner(sessions), sessions.c.id == bindparam("id")))
_END_OF_USER = Prepared(delete(sessions).where(of_owner(sessions), sessions.c.user_id == bindparam("user_id")))
_KEYS = Prepared(owned(api_keys, IssuedKey).order_by(api_keys.c.id))


class Sessions(OwnedRepository[Session]):
    """The sessions of one owner's users."""

    table = sessions
    entity = Session
    noun = "session"

    def used(self, id_: UUID, now: datetime) -> None:
        self.change(id_, last_used_at=now)

    def end(self, id_: UUID) -> bool:
        """End a session; return whether it was there."""
        return self._run(_END, id=id_) == 1

    def end_of_user(self, user_id: UUID) -> int:
        """End all sessions of a user; return their number."""
        return self._run(_END_OF_USER, user_id=user_id)


class AllSessions(Repository[Session]):
    """The sessions of all owners: the owner is known only when the session is."""

    table = sessions
    entity = Session
    noun = "session"

    def of_token(self, token_hash: bytes) -> Session | None:
        return self._one(_OF_TOKEN, token_hash=token_hash)


class ApiKeys(OwnedRepository[IssuedKey]):
    """The API keys of one owner."""

    table = api_keys
    entity = IssuedKey
    noun = "API key"

    def in_order(self) -> Sequence[IssuedKey]:
        return self._many(_KEYS)


class AllApiKeys(Repository[IssuedKey]):
    """The API keys of all owners: a key names itself, and its row names the owner."""

    table = api_keys
    entity = IssuedKey
    noun = "API key"
