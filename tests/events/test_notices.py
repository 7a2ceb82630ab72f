"""Those who may do something about it are told by mail that an endpoint was switched off."""

import random

import pytest

from recado.core.queue.service import QueueService
from recado.events.delivering import EventDeliveryHandler
from recado.events.models import Endpoint, PostResult
from recado.events.notices import DisabledMailHandler, put_disabled_mails
from recado.identity.access.links import LinkService
from recado.identity.owners import OwnerChanges
from recado.identity.passwords import Passwords
from recado.identity.users import NewUser
from tests.events.test_delivering import happens, lane_of
from tests.identity.mail.test_jobs import PostOffice
from tests.support.keys import key_ring
from tests.world import LEASE, World

ON_BOTH_DATABASES = True

GONE = PostResult(410, "it answered 410 Gone")
OWNER = "dona@padaria.example"


@pytest.fixture
def office(world: World) -> PostOffice:
    """A mail server of the installation."""
    office, chance = PostOffice(), random.Random(7)  # noqa: S311 - jitter that repeats is the point
    database, clock, ids = world.database, world.clock, world.ids
    parts = (database, clock, ids, chance, key_ring, world.endpoint, world.fanout)
    deliveries = EventDeliveryHandler(*parts, put_disabled_mails)
    mails = DisabledMailHandler(database, office)
    handlers = (world.replies, world.sends, deliveries, mails)
    world.queue = QueueService(database, clock, ids, chance, handlers, lease=LEASE)
    return office


async def given_user(world: World, name: str, role: str) -> str:
    email = f"{name}@padaria.example"
    await world.users.add(world.operator, NewUser(email, role), "pão de queijo quente")
    return email


async def switched_off(world: World) -> None:
    world.endpoint.always = GONE
    await happens(world, lane_of(world))
    await world.passes(60)


async def test_owners_and_admins_are_told_in_the_language_of_the_organisation(
    world: World, endpoint: Endpoint, office: PostOffice
) -> None:
    admin = await given_user(world, "bia", "admin")
    await given_user(world, "caio", "operator")
    await world.owners.set_owner(world.operator, OwnerChanges(name="Padaria do Zé"))
    await switched_off(world)
    assert sorted(mail.to for mail in office.mails) == sorted([OWNER, admin])
    [mail] = [mail for mail in office.mails if mail.to == admin]
    assert mail.subject == "O envio de eventos de Padaria do Zé foi desligado"
    assert f"para {endpoint.url}, porque esse servidor respondeu 410 (Gone)" in mail.body
    assert f"recado events endpoints enable --owner {world.owner_id} {endpoint.id}" in mail.body


@pytest.mark.usefixtures("endpoint")
async def test_it_is_told_in_english_too(world: World, office: PostOffice) -> None:
    await world.owners.set_owner(world.operator, OwnerChanges(locale="en"))
    await switched_off(world)
    assert [mail.subject for mail in office.mails] == ["Events of Padaria are not sent any more"]


@pytest.mark.usefixtures("endpoint")
async def test_who_may_not_sign_in_is_not_told(world: World, office: PostOffice) -> None:
    email = await given_user(world, "bia", "admin")
    [bia] = [user for user in await world.users.users(world.owner_id) if user.email == email]
    await world.users.disable(world.operator, bia.id)
    await switched_off(world)
    assert [mail.to for mail in office.mails] == [OWNER]


@pytest.mark.usefixtures("endpoint")
async def test_who_was_only_invited_is_not_told(world: World, office: PostOffice) -> None:
    """An admin could have an address of their own choice mailed to anybody."""
    links = LinkService(world.database, world.clock, world.ids, Passwords(), None)
    for role in ("admin", "owner"):
        await links.invite(world.operator, NewUser(f"{role}@elsewhere.example", role))
    await switched_off(world)
    assert [mail.to for mail in office.mails] == [OWNER]


@pytest.mark.usefixtures("endpoint")
async def test_who_is_no_admin_any_more_when_the_mail_gets_out_is_not_told(world: World, office: PostOffice) -> None:
    email = await given_user(world, "bia", "admin")
    [bia] = [user for user in await world.users.users(world.owner_id) if user.email == email]
    office.closed = True
    await switched_off(world)
    tries = [mail.to for mail in office.mails].count(email)
    await world.users.change_role(world.operator, bia.id, "viewer")
    await world.passes(3_600)
    assert [mail.to for mail in office.mails].count(email) == tries > 0


async def test_a_mail_that_did_not_get_out_is_not_sent_when_the_endpoint_is_on_again(
    world: World, endpoint: Endpoint, office: PostOffice
) -> None:
    office.closed = True
    await switched_off(world)
    tries = len(office.mails)
    world.endpoint.always, office.closed = None, False
    await world.endpoints.enable(world.rita, endpoint.id)
    await world.passes(3_600)
    assert len(office.mails) == tries > 0


async def test_what_a_person_switches_off_is_no_news(world: World, endpoint: Endpoint, office: PostOffice) -> None:
    await world.endpoints.disable(world.rita, endpoint.id)
    await happens(world, lane_of(world))
    await world.passes(60)
    assert office.mails == []
