"""An owner who has one of everything, for requests about things: each call makes a new one.

The names are those of path parameters of the API, and of parameters of services.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import select

from recado.agents.models import AgentForm
from recado.bootstrap import Container, metadata
from recado.channels.models import Orphan, OrphanSigner, SignedOrphan
from recado.channels.repository import Orphans
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.values import PROVIDER
from recado.conversation.errors import AgentFailed
from recado.conversation.values import Address
from recado.core.queue.transactions import Transactions
from recado.events.service import NewEndpoint
from recado.identity.access.api_keys import NewKey
from recado.identity.access.sessions import open_session
from recado.identity.principal import Principal, user_principal
from recado.identity.users import NewUser
from recado.operations.dead_letters.models import BulkOrder
from tests.world import ACCOUNT, World

Maker: TypeAlias = Callable[["Scene"], Awaitable[UUID]]


@dataclass(slots=True)
class Scene:
    """The world of the owner whose things others ask for."""

    world: World
    container: Container
    _made: int = 0

    async def furnish(self) -> None:
        """Give the owner what has no id: agents."""
        agents = self.container.agent_service()
        await agents.set(self.world.operator, AgentForm("http", url="https://agent.example"))
        await agents.set(self.world.operator, AgentForm("echo"))

    async def first_user(self) -> Principal:
        """Return the user who was registered with the owner, and may do everything."""
        [user, *_] = await self.container.users().users(self.world.owner_id)
        return user_principal(user)

    async def make(self, name: str) -> UUID:
        """Return the id of a new thing of the owner; `name` is that of a path parameter."""
        return await MAKERS[name](self)

    def number(self) -> int:
        """Return a number that was not given before."""
        self._made += 1
        return self._made

    def customer(self) -> Address:
        """Return the address of somebody who has not written before."""
        return Address(f"whatsapp:+55119{50_000_000 + self.number():08}")

    async def everything(self) -> Mapping[str, frozenset[tuple[object, ...]]]:
        """Return every row of every table."""
        return await self.world.database.read(
            lambda uow: {
                table.name: frozenset(tuple(map(repr, row)) for row in uow.execute(select(table)))
                for table in metadata().sorted_tables
            },
            owner=None,
        )


async def _owner(scene: Scene) -> UUID:
    return scene.world.owner_id


async def _number(scene: Scene) -> UUID:
    address = Address(f"whatsapp:+55114{40_000_000 + scene.number():08}")
    return (await scene.world.numbers.add(scene.world.operator, NewNumber(ACCOUNT, "token", address))).id


async def _number_with_agent(scene: Scene) -> UUID:
    """A number with an agent of its own, over HTTP."""
    number_id = await _number(scene)
    form = AgentForm("http", url="https://agent.example")
    await scene.container.number_agents().set(scene.world.operator, number_id, form)
    return number_id


async def _document(scene: Scene) -> UUID:
    name = f"{scene.number()}.md"
    return (await scene.container.knowledge().add(scene.world.operator, name, "Abrimos às seis.")).document_id


async def _conversation(scene: Scene) -> UUID:
    """A conversation in which the agent has answered."""
    customer = scene.customer()
    await scene.world.says("oi", customer)
    return (await scene.world.conversation(customer)).id


async def _held_conversation(scene: Scene) -> UUID:
    """A conversation that a person has taken."""
    conversation_id = await _conversation(scene)
    await scene.world.handoff.take(scene.world.rita, conversation_id)
    return conversation_id


async def _contact(scene: Scene) -> UUID:
    customer = scene.customer()
    await scene.world.says("oi", customer)
    return (await scene.world.conversation(customer)).contact_id


async def _user(scene: Scene) -> UUID:
    form = NewUser(f"pessoa{scene.number()}@padaria.example", "operator")
    return (await scene.container.users().add(scene.world.operator, form, "pão de queijo às seis")).id


async def _key(scene: Scene) -> UUID:
    created = await scene.container.api_keys().create(scene.world.operator, NewKey("loja", ["owner.read"]))
    return created.key.id


async def _dead_letter(scene: Scene) -> UUID:
    before = {job.id for job in await scene.world.dead()}
    scene.world.agents.will(AgentFailed("the model is on fire", retryable=False))
    await scene.world.says("oi", scene.customer())
    [dead] = {job.id for job in await scene.world.dead()} - before
    return dead


async def _operation(scene: Scene) -> UUID:
    """Many dead letters to be discarded."""
    order = BulkOrder("discard", job_name="nothing")
    return (await scene.container.dead_letters().begin(scene.world.operator, order)).id


async def _orphan(scene: Scene) -> UUID:
    """A message to a number that was added afterwards."""
    world, number = scene.world, scene.number()
    to = Address(f"whatsapp:+55116{60_000_000 + number:08}")
    added = await world.numbers.add(world.operator, NewNumber(ACCOUNT, "token", to))
    sid, sender = f"SM{0xDEF0000 + number:032x}", scene.customer().value
    form = {"AccountSid": ACCOUNT.value, "MessageSid": sid, "From": sender, "To": to.value, "Body": "oi?"}
    orphan = Orphan(
        world.ids.new(),
        PROVIDER,
        ACCOUNT.value,
        sid,
        sender,
        to.value,
        urlencode(form).encode(),
        world.clock.now(),
        None,
        None,
        added.account_id,
    )
    signed = SignedOrphan(orphan, (OrphanSigner(orphan.id, added.account_id, world.owner_id),))
    await world.database.write(lambda uow: Orphans(uow).add_new([signed]), owner=None)
    return orphan.id


async def _endpoint(scene: Scene) -> UUID:
    form = NewEndpoint(f"https://crm.example/{scene.number()}")
    return (await scene.container.endpoints().add(scene.world.operator, form)).endpoint.id


async def _session(scene: Scene) -> UUID:
    """A place where the owner's first user is signed in."""
    [user, *_] = await scene.container.users().users(scene.world.owner_id)
    transactions = Transactions(scene.world.database, scene.world.clock, scene.world.ids)
    token = scene.container.sessions().new_token()
    opened = await transactions.write(lambda tx: open_session(tx, user, token, None), owner=user.owner_id)
    return opened.id


MAKERS: Final[Mapping[str, Maker]] = {
    "owner_id": _owner,
    "number_id": _number,
    "number_with_agent_id": _number_with_agent,
    "document_id": _document,
    "conversation_id": _conversation,
    "held_conversation_id": _held_conversation,
    "contact_id": _contact,
    "user_id": _user,
    "key_id": _key,
    "session_id": _session,
    "dead_letter_id": _dead_letter,
    "operation_id": _operation,
    "orphan_id": _orphan,
    "endpoint_id": _endpoint,
}
"""Who adds a route or a service about another kind of thing adds the kind here."""
