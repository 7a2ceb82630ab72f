"""What `recado init` stores: the schema, an organisation with its first user and agent, and a number."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from recado.entrypoints.cli.demo.emulator import ACCOUNT_SID, AUTH_TOKEN
from recado.entrypoints.cli.output import Json
from recado.entrypoints.cli.running import operator, operator_name, run, settings_for
from recado.entrypoints.cli.setup.asking import InitForm, name_from
from recado.entrypoints.cli.waiting import waiting

if TYPE_CHECKING:
    from recado.bootstrap import Container


@dataclass(frozen=True, slots=True)
class Opened:
    """What is there now. `password` is set only if it was made here."""

    database: str
    webhook: str
    owner_id: UUID | None = None
    user_id: UUID | None = None
    number_id: UUID | None = None
    password: str | None = field(default=None, repr=False)

    def document(self) -> dict[str, Json]:
        found: dict[str, Json] = {"webhook": self.webhook}
        for name in ("owner_id", "user_id", "number_id", "password"):
            value: UUID | str | None = getattr(self, name)
            if value is not None:
                found[name] = str(value)
        return found


def check_number(answers: InitForm) -> None:
    """Raise `InvalidInput` for a number or an account that is none, before anything is written."""
    from recado.channels.twilio.values import AccountSid
    from recado.conversation.values import Address

    if answers.number is not None:
        Address.parse(answers.number)
        AccountSid(answers.account_sid or ACCOUNT_SID)


def open_shop(answers: InitForm, *, secret_names: Collection[str | None] = ()) -> Opened:
    """Bring the database to this release's schema, and store what the answers name and is not there yet."""
    settings = settings_for("cli", secret_names=secret_names)
    from recado.bootstrap import metadata
    from recado.channels.twilio.webhook.routes import MESSAGES_PATH
    from recado.migrations.startup import migrate

    with waiting():
        migrate(settings.database_url, metadata)
    shown = settings.database_url.removeprefix("sqlite:///") if "@" not in settings.database_url else "PostgreSQL"
    base = Opened(shown, f"{settings.public_url}{MESSAGES_PATH}")
    if answers.email is None:
        return base
    return run(lambda container: _store(container, answers, base), secret_names=secret_names)


async def _store(container: "Container", answers: InitForm, base: Opened) -> Opened:
    owner_id, user_id, password = await _organisation(container, answers)
    await _agent(container, owner_id, answers.agent)
    number_id = None if answers.number is None else await _number(container, owner_id, answers)
    return Opened(base.database, base.webhook, owner_id, user_id, number_id, password)


async def _organisation(container: "Container", answers: InitForm) -> tuple[UUID, UUID | None, str | None]:
    """Register the organisation, unless one with this address is there. Return the password if it was made here."""
    from recado.identity.models import normalized_email
    from recado.identity.owners import Registration

    email = answers.email or ""
    for owner in await container.owners().owners():
        if owner.email == normalized_email(email):
            return owner.id, None, None
    made = None if answers.password else secrets.token_urlsafe(12)
    form = Registration(answers.name or name_from(email), email, answers.password or made or "", answers.locale)
    registered = await container.owners().register_organization(form, operator=operator_name())
    return registered.owner_id, registered.user_id, made


async def _agent(container: "Container", owner_id: UUID, agent: str) -> None:
    from recado.agents.models import AgentForm

    if await container.agent_service().settings(owner_id) is None:
        await container.agent_service().set(operator(owner_id), AgentForm(agent))


async def _number(container: "Container", owner_id: UUID, answers: InitForm) -> UUID:
    from recado.channels.twilio.accounts import NewNumber
    from recado.channels.twilio.values import AccountSid
    from recado.conversation.values import Address

    account, token = answers.account_sid or ACCOUNT_SID, answers.token or AUTH_TOKEN
    number = NewNumber(AccountSid(account), token, Address.parse(answers.number or ""))
    return (await container.numbers().add(operator(owner_id), number)).id
