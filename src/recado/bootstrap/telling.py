"""How an owner's programs and people are told what happens."""

from collections.abc import Callable

from recado.bootstrap.lazy import LazyPoster
from recado.bootstrap.parts import make_mailer
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.ids import Chance, Ids
from recado.events.delivering import EventDeliveryHandler
from recado.events.fanout import Fanout
from recado.events.notices import DisabledMailHandler, put_disabled_mails
from recado.identity.keys import KeyRing
from recado.settings import Settings


def make_event_deliveries(
    database: Database,
    clock: Clock,
    ids: Ids,
    chance: Chance,
    keys: Callable[[], KeyRing],
    poster: LazyPoster,
    fanout: Fanout,
    settings: Settings,
) -> EventDeliveryHandler:
    more = () if settings.smtp_url is None else (put_disabled_mails,)
    return EventDeliveryHandler(database, clock, ids, chance, keys, poster, fanout, *more)


def make_disabled_mails(database: Database, settings: Settings) -> DisabledMailHandler:
    return DisabledMailHandler(database, make_mailer(settings))
