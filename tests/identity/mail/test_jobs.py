"""A job makes a link and mails it; the queue never holds one."""

import json
import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import SYSTEM_OWNER, UuidV7, system_chance
from recado.core.queue.job import ReplayRefused
from recado.core.queue.service import QueueService
from recado.core.queue.storage.tables import lanes, message_queue
from recado.identity.access.links import LinkOver, LinkService
from recado.identity.mail.jobs import LinkMailHandler, MailSettings, put_link_mail
from recado.identity.mail.letters import Delivered, Letter, NotDelivered
from recado.identity.models import User
from recado.identity.owners import OwnerChanges, OwnerService, Registered
from recado.identity.passwords import Passwords
from recado.identity.principal import Principal, operator_of
from recado.identity.tables import audit_entries
from recado.identity.users import NewUser, UserService

ON_BOTH_DATABASES = True

ANA = "ana@padaria.example"
HOME = "8.8.4.4"
NEW_PASSWORD = "cavalo correto bateria"


class PostOffice:
    """Keeps the mails, unless it is closed."""

    def __init__(self) -> None:
        self.mails: list[Letter] = []
        self.closed = False

    async def send(self, letter: Letter) -> Delivered | NotDelivered:
        self.mails.append(letter)
        return NotDelivered("the mail server answered 451") if self.closed else Delivered()

    @property
    def token(self) -> str:
        """The token in the newest mail."""
        found = re.search(r"https://recado\.example/links/([\w-]{43})\n", self.mails[-1].body)
        assert found is not None
        return found[1]


class Post:
    """The queue with the handler of mails, and what a worker does."""

    def __init__(self, database: Database, clock: FrozenClock, ids: UuidV7, office: PostOffice | None) -> None:
        settings = MailSettings(office, "https://recado.example")
        handler = LinkMailHandler(database, clock, ids, settings)
        lease = timedelta(seconds=30)
        self.queue = QueueService(database, clock, ids, system_chance(), (handler,), lease=lease)
        self._handler = handler
        self._clock = clock

    async def work(self, runs: int = 1) -> None:
        """Run the job so many times, each time when it is due again."""
        for _ in range(runs):
            [claim] = await self.queue.claim(1, max_isolated=0)
            await self.queue.finish(claim, await self._handler.run(claim))
            self._clock.advance(timedelta(hours=1))


@pytest.fixture
def office() -> PostOffice:
    return PostOffice()


@pytest.fixture
def post(database: Database, clock: FrozenClock, ids: UuidV7, office: PostOffice) -> Post:
    return Post(database, clock, ids, office)


@pytest.fixture
def links(database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords) -> LinkService:
    return LinkService(database, clock, ids, passwords, put_link_mail)


async def jobs(database: Database) -> list[str]:
    rows = await database.read(lambda uow: uow.all(select(message_queue).order_by(message_queue.c.id)), owner=None)
    return [row["status"] for row in rows]


async def test_an_invitation_arrives_in_the_language_of_the_organisation(
    post: Post, office: PostOffice, links: LinkService, service: OwnerService, ana: Principal
) -> None:
    await service.set_owner(ana, OwnerChanges(locale="es", name="Panadería"))
    await links.invite(ana, NewUser("bia@padaria.example", "viewer"))
    await post.work()
    [mail] = office.mails
    assert (mail.to, mail.subject) == ("bia@padaria.example", "Invitación a Panadería")
    assert "de Panadería en Recado, con el correo bia@padaria.example" in mail.body
    user = await links.redeem(office.token, NEW_PASSWORD, None)
    assert isinstance(user, User)
    assert user.can_enter


async def test_what_waits_in_the_queue_lets_nobody_in(
    post: Post, office: PostOffice, links: LinkService, database: Database, bakery: Registered
) -> None:
    await links.request_reset(ANA, None)
    [row] = await database.read(lambda uow: uow.all(select(message_queue)), owner=None)
    assert row["payload"] == {"user_id": str(bakery.user_id), "purpose": "reset", "asked_from": None}
    assert (row["owner_id"], row["name"]) == (bakery.owner_id, "identity.link_mail")
    await post.work()
    rows = await database.read(lambda uow: uow.all(select(message_queue)), owner=None)
    assert office.token not in json.dumps([dict(row) for row in rows], default=str)


async def test_an_address_that_no_user_has_is_as_much_work_as_one_that_somebody_has(
    post: Post, office: PostOffice, links: LinkService, database: Database, bakery: Registered
) -> None:
    """Who asks could tell them apart by the time otherwise."""
    for email in (ANA, "nobody@padaria.example"):
        await links.request_reset(email, HOME)
    rows = await database.read(lambda uow: uow.all(select(message_queue).order_by(message_queue.c.id)), owner=None)
    assert [row["owner_id"] for row in rows] == [bakery.owner_id, SYSTEM_OWNER]
    assert len({tuple(row["payload"]) for row in rows}) == 1
    await post.work(2)
    assert (await jobs(database), len(office.mails)) == (["done", "done"], 1)


async def test_who_asked_is_in_the_audit_once(
    post: Post, office: PostOffice, links: LinkService, database: Database, bakery: Registered
) -> None:
    await links.request_reset(ANA, HOME)
    office.closed = True
    await post.work(3)
    asked = select(audit_entries).where(audit_entries.c.action == "user.link_requested")
    [entry] = await database.read(lambda uow: uow.all(asked), owner=None)
    assert (entry["actor_id"], entry["source"]) == (bakery.user_id, HOME)


@pytest.mark.usefixtures("bakery")
async def test_an_unknown_address_makes_no_dead_letter(
    links: LinkService, database: Database, clock: FrozenClock, ids: UuidV7
) -> None:
    await links.request_reset("nobody@padaria.example", HOME)
    await Post(database, clock, ids, None).work()
    assert await jobs(database) == ["done"]


@pytest.mark.usefixtures("bakery")
async def test_a_mail_that_does_not_get_out_is_tried_again_with_another_link(
    post: Post, office: PostOffice, links: LinkService, database: Database
) -> None:
    await links.request_reset(ANA, None)
    office.closed = True
    await post.work(2)
    tokens = [re.findall(r"/links/(\S+)", mail.body)[0] for mail in office.mails]
    office.closed = False
    [claim] = await post.queue.claim(1, max_isolated=0)
    assert claim.job.last_error == "the mail server answered 451"
    await post.queue.finish(claim, await post.queue.handler(claim.job.name).run(claim))
    assert await jobs(database) == ["done"]
    assert len({*tokens, office.token}) == 3
    for token in tokens:
        assert await links.user_of(token) == LinkOver()
    assert isinstance(await links.user_of(office.token), User)


@pytest.mark.usefixtures("bakery")
async def test_after_five_tries_it_is_a_dead_letter_that_can_be_retried(
    post: Post, office: PostOffice, links: LinkService, database: Database
) -> None:
    await links.request_reset(ANA, None)
    office.closed = True
    await post.work(5)
    [dead] = await post.queue.dead()
    assert (dead.attempts, dead.last_error) == (5, "the mail server answered 451")
    office.closed = False
    assert not isinstance(await post.queue.retry(dead.id), ReplayRefused)
    await post.work()
    assert (len(office.mails), await post.queue.dead()) == (6, [])
    left = await database.read(lambda uow: uow.all(select(lanes)), owner=None)
    assert left == [], "the lane of the retry went with it"


async def test_a_user_who_was_disabled_meanwhile_gets_none(
    post: Post,
    office: PostOffice,
    links: LinkService,
    people: UserService,
    ana: Principal,
    database: Database,
) -> None:
    user = (await links.invite(ana, NewUser("bia@padaria.example", "viewer"))).user
    await people.disable(ana, user.id)
    await post.work()
    assert (office.mails, await jobs(database)) == ([], ["discarded"])


async def test_a_slow_mail_server_does_not_get_all_of_a_worker(
    post: Post, links: LinkService, bakery: Registered
) -> None:
    """Customers wait for answers that the same worker gives."""
    operator = operator_of(bakery.owner_id, "rita")
    for _ in range(8):
        await links.renew(operator, bakery.user_id)
    assert len(await post.queue.claim(8, max_isolated=0, max_background=4)) == 4


@pytest.mark.usefixtures("bakery")
async def test_a_worker_without_a_mail_server_says_so(
    links: LinkService, database: Database, clock: FrozenClock, ids: UuidV7
) -> None:
    await links.request_reset(ANA, None)
    without = Post(database, clock, ids, None)
    await without.work(5)
    [dead] = await without.queue.dead()
    assert dead.last_error == "RECADO_SMTP_URL is not set for this worker"


@pytest.mark.usefixtures("bakery")
async def test_one_that_waits_can_be_discarded(post: Post, links: LinkService, database: Database) -> None:
    await links.request_reset(ANA, None)
    [row] = await database.read(lambda uow: uow.all(select(message_queue)), owner=None)
    await post.queue.discard(row["id"])
    assert await jobs(database) == ["discarded"]
