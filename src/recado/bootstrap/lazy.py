"""Parts of the container that are imported, or connected, when they are first needed."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from recado.bootstrap.parts import require_public_url
from recado.channels.directory import Directory
from recado.channels.router import ChannelRouter, InstalledChannel
from recado.channels.twilio.accounts import NumberService
from recado.channels.twilio.callbacks import CallbackRefs
from recado.channels.twilio.rules import rules_for
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER
from recado.conversation.ports import Numbers, OutboundText, Pull, SendResult
from recado.conversation.replying.accept import AcceptService
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.event_log.models import Event
from recado.core.ids import Chance, Ids
from recado.events.fanout import Fanout
from recado.events.models import Endpoint, PostResult
from recado.identity.keys import KeyRing
from recado.settings import Settings

if TYPE_CHECKING:
    from recado.agents.knowledge.service import KnowledgeService
    from recado.agents.numbers.service import NumberAgentService
    from recado.agents.registry import AgentRegistry
    from recado.agents.runner import AgentRunner
    from recado.agents.service import AgentService
    from recado.agents.trials.service import AgentTrials
    from recado.channels.twilio.checking import NumberChecks
    from recado.channels.twilio.reconcile import GapSweep
    from recado.channels.twilio.sending.client import TwilioApi
    from recado.channels.twilio.sending.sender import TwilioSender
    from recado.events.service import EndpointService
    from recado.events.wire.posting import Poster


class LazyTwilio:
    """Connections to Twilio, opened when they are first used."""

    def __init__(self, twilio_api_url: str) -> None:
        self._url = twilio_api_url
        self._api: TwilioApi | None = None

    def api(self) -> "TwilioApi":
        from recado.channels.twilio.sending.client import TwilioApi
        from recado.channels.twilio.sending.transport import Transport

        self._api = self._api or TwilioApi(Transport(self._url))
        return self._api

    async def aclose(self) -> None:
        if self._api is not None:
            await self._api.aclose()


def make_channel(
    tokens: TwilioTokens, twilio: LazyTwilio, callbacks: CallbackRefs, public_url: str | None
) -> "TwilioSender":
    from recado.channels.twilio.sending.sender import TwilioSender

    return TwilioSender(tokens, twilio.api(), callbacks, require_public_url(public_url))


class LazyChannel:
    """Twilio as a channel, built when something is sent first. Processes that send nothing need no HTTP client.

    Therefore commands that only read the queue need no public URL.
    """

    def __init__(self, make: "Callable[[], TwilioSender]") -> None:
        self._make = make

    async def send(self, message: OutboundText) -> SendResult:
        return (await self._make().send(message)).result

    async def find(self, message: OutboundText, *, created_after: datetime, created_before: datetime) -> Pull:
        return await self._make().find(message, created_after=created_after, created_before=created_before)


def make_channels(twilio: LazyChannel) -> ChannelRouter:
    return ChannelRouter({PROVIDER: InstalledChannel(twilio, rules_for, finder=twilio)})


def make_gap_sweep(
    directory: Directory,
    tokens: TwilioTokens,
    twilio: LazyTwilio,
    acceptance: AcceptService,
    database: Database,
    clock: Clock,
    ids: Ids,
) -> "GapSweep":
    from recado.channels.twilio.reconcile import GapSweep

    return GapSweep(directory, tokens, twilio.api(), acceptance, database, clock, ids)


def make_number_checks(numbers: NumberService, tokens: TwilioTokens, twilio_api_url: str) -> "NumberChecks":
    from recado.channels.twilio.checking import NumberChecks

    return NumberChecks(numbers, tokens, twilio_api_url)


class LazyPoster:
    """Connections to owners' endpoints, opened when an event is sent first."""

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._clock = clock
        self._chance = chance
        self._poster: Poster | None = None

    async def post(self, endpoint: Endpoint, event: Event, secrets: Sequence[str]) -> PostResult:
        from recado.core.outbound.http_clients import HttpClients
        from recado.events.wire.posting import Poster

        self._poster = self._poster or Poster(HttpClients(), self._clock, self._chance)
        return await self._poster.post(endpoint, event, secrets)

    async def aclose(self) -> None:
        if self._poster is not None:
            await self._poster.aclose()


def make_endpoint_service(
    database: Database, clock: Clock, ids: Ids, keys: Callable[[], KeyRing], fanout: Fanout
) -> "EndpointService":
    from recado.events.service import EndpointService

    return EndpointService(database, clock, ids, keys, fanout)


def make_registry() -> "AgentRegistry":
    from recado.agents.registry import AgentRegistry

    return AgentRegistry()


def make_knowledge(database: Database, clock: Clock, ids: Ids) -> "KnowledgeService":
    from recado.agents.knowledge.service import KnowledgeService

    return KnowledgeService(database, clock, ids)


def make_agent_service(
    database: Database, registry: "AgentRegistry", keys: KeyRing, clock: Clock, ids: Ids
) -> "AgentService":
    from recado.agents.service import AgentService

    return AgentService(database, registry, keys, clock, ids)


def make_number_agents(
    database: Database, registry: "AgentRegistry", agents: "AgentService", numbers: Numbers, clock: Clock, ids: Ids
) -> "NumberAgentService":
    from recado.agents.numbers.service import NumberAgentService

    return NumberAgentService(database, registry, agents, numbers, clock, ids)


def make_agents(
    service: "AgentService", registry: "AgentRegistry", knowledge: "KnowledgeService", clock: Clock
) -> "AgentRunner":
    from recado.agents.runner import AgentRunner

    return AgentRunner(service, registry, knowledge, clock)


def make_agent_trials(agents: "AgentRunner", clock: Clock, ids: Ids, settings: Settings) -> "AgentTrials":
    from recado.agents.trials.service import AgentTrials

    return AgentTrials(agents, clock, ids, settings.agent_timeout_seconds)
