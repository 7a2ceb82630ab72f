"""Choose the agent that answers an owner's turns, and store its settings.

Saving an agent makes it the active one; the owner's other agents stay stored. Keys are sealed with the owner's data
key, so a row that is copied to another tenant does not open.
"""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from uuid import UUID

from recado.agents.models import (
    DEFAULT_HISTORY,
    MAX_HISTORY,
    AgentCredentials,
    AgentForm,
    AgentSaved,
    AgentSettings,
)
from recado.agents.numbers.models import AgentsInForce
from recado.agents.numbers.repository import NumberAgents
from recado.agents.providers import check_provider
from recado.agents.registry import AgentRegistry
from recado.agents.repository import AgentSettingsRepository
from recado.agents.results import clean_text
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.ids import Ids
from recado.core.outbound.addresses import checked_url, names_metadata, names_private_address, origin
from recado.core.queue.transactions import Transactions, UnlockedTransaction
from recado.core.sealing import Sealer
from recado.identity import audit
from recado.identity.keys import KeyRing
from recado.identity.models import SealedOwnerKeys
from recado.identity.principal import Principal
from recado.identity.repository import OwnerKeyRows

MAX_PROMPT = 50_000
_API_KEY = "agent.api_key"
_SECRET = "agent.secret"  # noqa: S105 - the name of a field, not a secret


def any_agent(_stored: AgentSettings | None) -> None:
    """Accept whatever is stored."""


def changed_fields(form: AgentForm) -> list[JsonValue]:
    """Return the names of the fields that a form changes."""
    return [field.name for field in fields(form) if field.name != "agent" and getattr(form, field.name) is not None]


def new_secret() -> str:
    """Return a new secret for signing requests to an owner's own agent."""
    return f"whsec_{secrets.token_urlsafe(32)}"


class AgentService:
    """An owner's agents."""

    def __init__(
        self,
        database: Database,
        registry: AgentRegistry,
        keys: KeyRing,
        clock: Clock,
        ids: Ids,
        make_secret: Callable[[], str] = new_secret,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._registry = registry
        self._keys = keys
        self._make_secret = make_secret
        self._environment = environment
        self._listeners: list[Callable[[UUID], None]] = []

    async def set(
        self, principal: Principal, form: AgentForm, *, check: Callable[[AgentSettings | None], None] = any_agent
    ) -> AgentSaved:
        """Store the form and make its agent the active one. Raises `InvalidInput` with the correction.

        Only an operator, who is at the command line of this machine, may name private addresses, or leave out an API
        key so that the environment variable of the provider is used. `check` gets what is stored before the change.
        """
        self._registry.find(form.agent)
        secret = self.secret_for(form)

        def work(tx: UnlockedTransaction) -> AgentSaved:
            stored = AgentSettingsRepository(tx.uow)
            stored.hold()
            check(stored.named(form.agent))
            saved = self._set(tx.uow, form, secret, tx.now, operator=principal.kind == "operator")
            audit.record(tx, principal, "agent.set", "agent", form.agent, {"fields": changed_fields(form)})
            return saved

        return await self._transactions.write(work, owner=principal.owner_id)

    async def settings(self, owner_id: UUID) -> AgentSettings | None:
        """Return the settings of the active agent; None when the owner has none."""
        return await self._database.read(lambda uow: AgentSettingsRepository(uow).active(), owner=owner_id)

    async def in_force(self, owner_id: UUID) -> AgentsInForce:
        """Return the agents that answer an owner's customers, with the keys that open their credentials."""
        return await self._database.read(_in_force, owner=owner_id)

    async def all(self, owner_id: UUID) -> Sequence[AgentSettings]:
        """Return every agent that the owner has ever set. The active one is marked."""
        return await self._database.read(lambda uow: AgentSettingsRepository(uow).everything(), owner=owner_id)

    async def renew_secret(self, principal: Principal) -> AgentSaved:
        """Store and return a new signing secret for the owner's own agent.

        It is shown once, and the old one is invalid at once.
        """
        secret = self._make_secret()

        def work(tx: UnlockedTransaction) -> AgentSaved:
            AgentSettingsRepository(tx.uow).hold()
            saved = self._renew(tx.uow, secret, tx.now)
            audit.record(tx, principal, "agent.secret_renewed", "agent", saved.settings.agent)
            return saved

        return await self._transactions.write(work, owner=principal.owner_id)

    def credentials(self, settings: AgentSettings, keys: SealedOwnerKeys) -> AgentCredentials:
        """Return the secrets of an agent in clear. Raises `SealBroken` when a key is wrong."""
        owner, key, secret = settings.owner_id, settings.api_key_sealed, settings.secret_sealed
        if key is None and secret is None:
            return AgentCredentials(api_key=None, secret=None)
        sealer = self._keys.open(keys).sealer
        return AgentCredentials(
            api_key=None if key is None else sealer.open(key, owner=owner, field=_API_KEY),
            secret=None if secret is None else sealer.open(secret, owner=owner, field=_SECRET),
        )

    def on_change(self, listener: Callable[[UUID], None]) -> None:
        """Call `listener` with the owner after each change made through this service. It must be quick."""
        self._listeners.append(listener)

    def secret_for(self, form: AgentForm) -> str | None:
        """Return a new secret that an agent of this form may need."""
        return self._make_secret() if form.agent == "http" else None

    def merged(
        self,
        uow: UnitOfWork,
        stored: AgentSettings,
        form: AgentForm,
        secret: str | None,
        now: datetime,
        *,
        operator: bool,
    ) -> AgentSaved:
        """Return what a form makes of settings, which are not stored yet. Raises `InvalidInput`.

        They get the secret if they need one and have none.
        """
        _check_used(form)
        sealer = self._keys.of(uow, stored.owner_id).sealer
        settings = _merged(stored, form, now, sealer, operator=operator)
        _check(settings, operator=operator)
        if not operator and settings.agent == "llm" and _destination(settings) != _destination(stored):
            self._check_provider(settings)
        shown = secret if secret is not None and not settings.has_secret else None
        if shown is not None:
            settings = replace(settings, secret_sealed=sealer.seal(shown, owner=settings.owner_id, field=_SECRET))
        return AgentSaved(settings, shown)

    def resealed(self, uow: UnitOfWork, stored: AgentSettings, secret: str, now: datetime) -> AgentSettings:
        """Return settings with another secret, which are not stored yet."""
        sealer = self._keys.of(uow, stored.owner_id).sealer
        sealed = sealer.seal(secret, owner=stored.owner_id, field=_SECRET)
        return replace(stored, secret_sealed=sealed, updated_at=now)

    def announce(self, uow: UnitOfWork, owner_id: UUID) -> None:
        """Tell the listeners, after the commit, that an agent of an owner was changed."""
        for listener in self._listeners:
            uow.after_commit(partial(listener, owner_id))

    def _check_provider(self, settings: AgentSettings) -> None:
        if settings.base_url is None:
            check_provider(settings.model or "", self._environment)

    def _set(
        self, uow: UnitOfWork, form: AgentForm, secret: str | None, now: datetime, *, operator: bool
    ) -> AgentSaved:
        repository = AgentSettingsRepository(uow)
        stored = repository.named(form.agent) or blank_settings(repository.owner, form.agent, now)
        saved = self.merged(uow, stored, form, secret, now, operator=operator)
        self._store(uow, repository, saved.settings)
        return saved

    def _renew(self, uow: UnitOfWork, secret: str, now: datetime) -> AgentSaved:
        repository = AgentSettingsRepository(uow)
        stored = repository.named("http")
        if stored is None:
            raise InvalidInput("there is no agent of your own yet; set the http agent first")
        settings = self.resealed(uow, stored, secret, now)
        repository.put(settings)
        self.announce(uow, settings.owner_id)
        return AgentSaved(settings, secret)

    def _store(self, uow: UnitOfWork, repository: AgentSettingsRepository, settings: AgentSettings) -> None:
        repository.deactivate_all()
        repository.put(settings)
        self.announce(uow, settings.owner_id)


def _in_force(uow: UnitOfWork) -> AgentsInForce:
    repository = AgentSettingsRepository(uow)
    of_owner = repository.active()
    of_numbers = {each.address_id: each.settings for each in NumberAgents(uow).everything()}
    any_agent_is_on = of_owner is not None or of_numbers
    return AgentsInForce(of_owner, of_numbers, OwnerKeyRows(uow).require(repository.owner) if any_agent_is_on else None)


def _merged(old: AgentSettings, form: AgentForm, now: datetime, sealer: Sealer, *, operator: bool) -> AgentSettings:
    """Return the stored settings with the changes of the form."""
    # The command line has one option for addresses. For an agent over HTTP it can only mean the address of that agent.
    url = form.base_url if form.agent == "http" and form.url is None else form.url
    new = replace(
        old,
        active=True,
        model=_chosen(form.model, old.model),
        base_url=None if form.agent == "http" else _chosen(form.base_url, old.base_url),
        url=_chosen(url, old.url),
        prompt=_chosen(form.prompt, old.prompt),
        history_limit=old.history_limit if form.history_limit is None else form.history_limit,
        updated_at=now,
    )
    new = replace(new, allow_private=_may_go_private(old, new, form, operator=operator))
    return replace(new, api_key_sealed=_key(old, new, form, sealer))


def _key(old: AgentSettings, new: AgentSettings, form: AgentForm, sealer: Sealer) -> bytes | None:
    """Return the new key, or the stored one if it would be sent to the same place.

    A person who may change the address but never saw the key must not receive it by changing the address.
    """
    if form.api_key is not None:
        key = form.api_key.strip()
        if not key.isprintable() or len(key) > 2_000:
            raise InvalidInput("the API key has characters that no key has, or is too long")
        return sealer.seal(key, owner=new.owner_id, field=_API_KEY) if key else None
    return old.api_key_sealed if _destination(old) == _destination(new) else None


def blank_settings(owner: UUID, agent: str, now: datetime) -> AgentSettings:
    """Return an agent of which nothing was set yet."""
    return AgentSettings(
        owner_id=owner,
        agent=agent,
        active=True,
        model=None,
        base_url=None,
        url=None,
        prompt=None,
        history_limit=DEFAULT_HISTORY,
        allow_private=False,
        api_key_sealed=None,
        secret_sealed=None,
        created_at=now,
        updated_at=now,
    )


def _chosen(given: str | None, stored: str | None) -> str | None:
    return stored if given is None else given.strip() or None


def _destination(settings: AgentSettings) -> tuple[str, str]:
    """Return where an agent's key is sent: the origin of the base URL, else the provider's name."""
    provider = "" if settings.base_url else (settings.model or "").partition(":")[0]
    return (origin(settings.base_url or ""), provider)


def _may_go_private(old: AgentSettings, new: AgentSettings, form: AgentForm, *, operator: bool) -> bool:
    """Private addresses are accepted only when an operator set this URL, and only while the URL is unchanged."""
    unchanged = (old.base_url, old.url) == (new.base_url, new.url)
    if not operator:
        if form.allow_private:
            raise InvalidInput("private addresses are allowed by the operator only (`recado agents set`)")
        return old.allow_private and unchanged
    if form.allow_private is not None:
        return form.allow_private
    return (old.allow_private and unchanged) or any(names_private_address(u) for u in (new.base_url, new.url) if u)


_OPTIONS = ("model", "base_url", "url", "prompt", "api_key", "allow_private")
_USED: Mapping[str, frozenset[str]] = {
    "echo": frozenset(),
    "faq": frozenset(),
    "llm": frozenset({"model", "base_url", "prompt", "api_key", "allow_private"}),
    "http": frozenset({"base_url", "url", "allow_private"}),
}
"""The settings that built-in agents use. Those of other agents are not known."""


def _check_used(form: AgentForm) -> None:
    """Refuse settings that would be stored and then have no effect."""
    used = _USED.get(form.agent)
    idle = [name for name in _OPTIONS if used is not None and name not in used and getattr(form, name)]
    if idle:
        raise InvalidInput(f"the {form.agent} agent uses no {' and no '.join(idle)}; leave that out")
    if form.agent == "http" and form.url and form.base_url and form.url != form.base_url:
        raise InvalidInput("the http agent is at one address; give url or base_url, not both")


def _check(settings: AgentSettings, *, operator: bool) -> None:
    for name, url in (("base_url", settings.base_url), ("url", settings.url)):
        if url is None:
            continue
        checked_url(name, url, private=settings.allow_private)
        if names_metadata(url) and settings.allow_private:
            raise InvalidInput(f"{name} is where a cloud hands out this machine's own keys; no agent is there")
        if names_private_address(url) and not settings.allow_private:
            raise InvalidInput(f"{name} is a private address, which only the operator may allow (`recado agents set`)")
    if not 0 <= settings.history_limit <= MAX_HISTORY:
        raise InvalidInput(f"history_limit must be between 0 and {MAX_HISTORY}")
    if settings.agent == "faq" and settings.history_limit < 1:
        raise InvalidInput("the faq agent needs a history of at least 1: whether it has just offered a person")
    if settings.prompt is not None and len(settings.prompt) > MAX_PROMPT:
        raise InvalidInput(f"the prompt has {len(settings.prompt)} characters; {MAX_PROMPT} at most")
    if settings.prompt is not None and clean_text(settings.prompt) != settings.prompt.replace("\r\n", "\n"):
        raise InvalidInput("the prompt is no text: it has control characters or half characters")
    if settings.agent == "http" and settings.url is None:
        raise InvalidInput("the http agent needs the URL of your own agent")
    if settings.agent == "llm":
        _check_model(settings, operator=operator)


def _check_model(settings: AgentSettings, *, operator: bool) -> None:
    model = settings.model
    if model is None:
        raise InvalidInput("the llm agent needs a model: provider:name, or with a base URL the model's bare name")
    if len(model) > 200 or not model.isprintable():
        raise InvalidInput("that is not the name of a model")
    if settings.base_url is not None:
        return
    provider, separator, name = model.partition(":")
    if not separator or not provider or not name:
        raise InvalidInput(f"the model {model!r} needs its provider (openai:{model}), or give the base URL it is at")
    if not operator and not settings.has_api_key:
        # Otherwise a tenant could spend the operator's money with the key of our environment.
        raise InvalidInput("the llm agent needs an API key")
