"""A key is taken for a key and a session for a session."""

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.core.queue.transactions import Transactions
from recado.identity.access.api_keys import ApiKeyService, NewKey
from recado.identity.access.authenticator import KeysAndSessions
from recado.identity.access.sessions import SessionService, open_session
from recado.identity.owners import Registered
from recado.identity.principal import operator_of
from recado.identity.repository import Users


async def test_each_is_known_as_what_it_is(
    database: Database, clock: FrozenClock, ids: UuidV7, bakery: Registered
) -> None:
    keys, sessions = ApiKeyService(database, clock, ids), SessionService(database, clock)
    key = (await keys.create(operator_of(bakery.owner_id, "x"), NewKey("site"))).text
    token = sessions.new_token()
    await Transactions(database, clock, ids).write(
        lambda tx: open_session(tx, Users(tx.uow).require(bakery.user_id), token, None), owner=bakery.owner_id
    )
    known = KeysAndSessions(keys, sessions)
    by_key, by_session = await known.by_key(key, "192.0.2.7"), await known.by_session(token, "192.0.2.8")
    assert by_key is not None
    assert by_session is not None
    assert (by_key.kind, by_key.source) == ("key", "192.0.2.7")
    assert (by_session.kind, by_session.source) == ("user", "192.0.2.8")
    assert await known.by_key(token, None) is None
    assert await known.by_session(key, None) is None
