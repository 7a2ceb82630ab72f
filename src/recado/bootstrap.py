"""Build the product: the only module that knows every concrete class.

API, worker, command line and demo start from this container, and nothing below imports it. Classes take what they need
in their constructors; no decorator injects anything. A test replaces a part with `container.clock.override(…)`.

Modules that take long to import (the HTTP client of the sender, the agents) are imported when they are first needed, so
that a process pays only for what it does.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import MetaData

from recado.channels.directory import Directory
from recado.channels.orphans import OrphanReader, OrphanService
from recado.channels.repository import AccountPauses
from recado.channels.router import ChannelRouter, InstalledChannel
from recado.channels.twilio.accounts import NumberService
from recado.channels.twilio.callbacks import CallbackRefs
from recado.channels.twilio.rules import rules_for
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER
from recado.channels.twilio.webhook.dtos import FAILED, advances
from recado.channels.twilio.webhook.inbound import read_orphan
from recado.channels.twilio.webhook.service import TwilioWebhookService
from recado.conversation.handoff import HandOffService
from recado.conversation.ports import Agents, Channels, OutboundText, Pull, SendResult
from recado.conversation.reading import ConversationReading
from recado.conversation.replying.accept import AcceptService, BurstWindow
from recado.conversation.replying.handler import ReplyHandler
from recado.conversation.replying.open import ReplyLimits
from recado.conversation.sending.handler import SendHandler
from recado.conversation.sending.outbox import SEND
from recado.conversation.sending.provider_messages import DeliveryReportService
from recado.conversation.sending.splitting import split
from recado.conversation.upkeep.expiry import IdleExpiry, IdleLimits
from recado.conversation.upkeep.rescue import Rescue
from recado.core.clock import Clock, SystemClock
from recado.core.container import containers, providers
from recado.core.database.engine import Database, on_postgresql
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.errors import ConfigurationError
from recado.core.ids import Chance, Ids, UuidV7, system_chance
from recado.core.metrics import Meters
from recado.core.queue.crash import crash_at
from recado.core.queue.cron import Cron, Sweep
from recado.core.queue.job import Handler
from recado.core.queue.running.heartbeat import Heartbeat
from recado.core.queue.running.instrumentation import JobInstrumentation
from recado.core.queue.running.isolation import IsolatedRunner
from recado.core.queue.running.maintenance import Maintenance
from recado.core.queue.running.worker import GRACE_SECONDS, Worker
from recado.core.queue.schedules import Schedule
from recado.core.queue.service import QueueService
from recado.core.queue.wakeups.contract import Broker, Delivery
from recado.core.queue.wakeups.dispatcher import Dispatcher
from recado.core.queue.wakeups.sqlite import SqliteDelivery
from recado.core.sealing import Sealer
from recado.core.tracing import NoTraces, Traces
from recado.identity.keys import KeyRing, SystemKeys
from recado.identity.passwords import Passwords
from recado.identity.service import IdentityService
from recado.operations.exposition import Exposition
from recado.operations.gauges import Gauges
from recado.operations.pruning import Pruning
from recado.operations.readiness import BrokerMonitor
from recado.operations.restored import RestoredCopy
from recado.operations.verify import Verifier
from recado.settings import Settings

if TYPE_CHECKING:
    from recado.agents.knowledge.service import KnowledgeService
    from recado.agents.registry import AgentRegistry
    from recado.agents.runner import AgentRunner
    from recado.agents.service import AgentService
    from recado.channels.twilio.reconcile import GapSweep
    from recado.channels.twilio.sending.client import TwilioApi
    from recado.channels.twilio.sending.sender import TwilioSender


ORPHAN_READERS: Final[Mapping[str, OrphanReader]] = {PROVIDER: read_orphan}


def metadata() -> MetaData:
    """Return the metadata of all tables. Migrations compare it with the database."""
    import recado.agents.tables
    import recado.channels.tables
    import recado.channels.twilio.tables
    import recado.conversation.tables
    import recado.core.queue.storage.tables
    import recado.identity.tables  # noqa: F401 - importing registers the tables
    from recado.core.database.types import metadata as registered

    return registered


# --- Made when first needed -------------------------------------------------------------------------------------------


def open_database(url: str, meters: Meters | None = None) -> Database:
    """Return the database of a URL, not connected yet. `meters` count what is stored."""
    if not on_postgresql(url):
        return SqliteDatabase(url, meters)
    from recado.core.database.postgres.database import PostgresDatabase

    return PostgresDatabase(url, meters)


def clock_of(database: Database) -> Clock:
    """Return the clock of a database: that of the PostgreSQL server, or of this machine for SQLite."""
    if isinstance(database, SqliteDatabase):
        return SystemClock()
    from recado.core.database.postgres.database import PostgresDatabase

    return database.clock if isinstance(database, PostgresDatabase) else SystemClock()


def database_wakeups_of(database: Database, clock: Clock) -> Delivery:
    """Return the wake-up source of the database, which needs no broker."""
    if isinstance(database, SqliteDatabase):
        return SqliteDelivery(database, clock)
    from recado.core.database.postgres.database import PostgresDatabase
    from recado.core.queue.wakeups.postgres import PostgresDelivery

    if not isinstance(database, PostgresDatabase):
        raise ConfigurationError(
            f"no wake-up source is configured for {type(database).__name__}; this is a fault of Recado"
        )
    return PostgresDelivery(database, clock)


def _broker(settings: Settings) -> Broker | None:
    """Return the broker that the settings name, or None when wake-ups come from the database."""
    if settings.queue_backend == "bullmq":
        from recado.core.queue.wakeups.bullmq import BullmqDelivery

        return BullmqDelivery(settings.redis_url, settings.queue_name)
    if settings.queue_backend == "sqs":
        from recado.core.queue.wakeups.sqs import SqsDelivery

        if settings.sqs_queue_url is None:
            raise ConfigurationError("RECADO_SQS_QUEUE_URL is missing: the URL of the queue, as AWS shows it")
        return SqsDelivery(settings.sqs_queue_url, settings.sqs_endpoint_url)
    return None


def _delivery(broker: Broker | None, database_wakeups: Callable[[], Delivery]) -> Delivery:
    return database_wakeups() if broker is None else broker


WAKEUPS_EACH: Final = 4
"""Wake-ups that may be under way for each job that a worker runs at a time."""


def _dispatcher(
    database: Database,
    broker: Broker | None,
    database_wakeups: Callable[[], Delivery],
    clock: Clock,
    chance: Chance,
    settings: Settings,
) -> Dispatcher | None:
    if broker is None:
        return None
    limit = WAKEUPS_EACH * settings.worker_concurrency
    return Dispatcher(database, broker, database_wakeups(), clock, chance, limit=limit)


def _traces(tracing: bool) -> Traces:
    if not tracing:
        return NoTraces()
    from recado.core.otel import OtelTraces, to_collector

    return OtelTraces(to_collector())


def _sealer(secret_key: bytes | None) -> Sealer:
    if secret_key is None:
        raise ConfigurationError("RECADO_SECRET_KEY is missing; `recado doctor` shows how to make one")
    return Sealer(secret_key)


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


def _channel(
    tokens: TwilioTokens, twilio: LazyTwilio, callbacks: CallbackRefs, public_url: str | None
) -> "TwilioSender":
    from recado.channels.twilio.sending.sender import TwilioSender

    return TwilioSender(tokens, twilio.api(), callbacks, _require_public_url(public_url))


class _LazyChannel:
    """Twilio as a channel, built when something is sent first. Processes that send nothing need no HTTP client.

    Therefore commands that only read the queue need no public URL.
    """

    def __init__(self, make: "Callable[[], TwilioSender]") -> None:
        self._make = make

    async def send(self, message: OutboundText) -> SendResult:
        return (await self._make().send(message)).result

    async def find(self, message: OutboundText, *, created_after: datetime, created_before: datetime) -> Pull:
        return await self._make().find(message, created_after=created_after, created_before=created_before)


def _channels(twilio: _LazyChannel) -> ChannelRouter:
    return ChannelRouter({PROVIDER: InstalledChannel(twilio, rules_for, finder=twilio)})


def _gap_sweep(
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


def _registry() -> "AgentRegistry":
    from recado.agents.registry import AgentRegistry

    return AgentRegistry()


def _knowledge(database: Database, clock: Clock, ids: Ids) -> "KnowledgeService":
    from recado.agents.knowledge.service import KnowledgeService

    return KnowledgeService(database, clock, ids)


def _agent_service(database: Database, registry: "AgentRegistry", keys: KeyRing, clock: Clock) -> "AgentService":
    from recado.agents.service import AgentService

    return AgentService(database, registry, keys, clock)


def _agents(
    service: "AgentService", registry: "AgentRegistry", knowledge: "KnowledgeService", clock: Clock
) -> "AgentRunner":
    from recado.agents.runner import AgentRunner

    return AgentRunner(service, registry, knowledge, clock)


def _require_public_url(public_url: str | None) -> str:
    if public_url is None:
        raise ConfigurationError("RECADO_PUBLIC_URL is missing: the address at which Twilio reaches this server")
    return public_url


def _callbacks(keys: SystemKeys) -> CallbackRefs:
    return CallbackRefs(partial(keys.get, "twilio.callbacks"))


def _reply_limits(settings: Settings) -> ReplyLimits:
    return ReplyLimits(
        agent=timedelta(seconds=settings.agent_timeout_seconds),
        answer=timedelta(seconds=settings.answer_deadline_seconds),
        burst=timedelta(seconds=settings.max_wait_seconds),
    )


def _burst_window(settings: Settings) -> BurstWindow:
    return BurstWindow(timedelta(seconds=settings.quiet_seconds), timedelta(seconds=settings.max_wait_seconds))


def _lease(settings: Settings) -> timedelta:
    return timedelta(seconds=settings.lease_seconds)


def _idle_limits(settings: Settings) -> IdleLimits:
    return IdleLimits(timedelta(minutes=settings.idle_minutes), timedelta(hours=settings.expire_hours))


def _reply_handler(
    database: Database,
    clock: Clock,
    ids: Ids,
    chance: Chance,
    agents: Agents,
    channels: Channels,
    settings: Settings,
    meters: Meters,
    traces: Traces,
) -> ReplyHandler:
    return ReplyHandler(
        database,
        clock,
        ids,
        chance,
        agents,
        channels,
        split,
        _reply_limits(settings),
        crash=crash_at(settings.crash_at),
        meters=meters,
        traces=traces,
    )


def _handoff(database: Database, clock: Clock, ids: Ids, settings: Settings) -> HandOffService:
    return HandOffService(database, clock, ids, split, _reply_limits(settings).answer, settings.max_attempts)


def _send_handler(
    database: Database,
    clock: Clock,
    ids: Ids,
    chance: Chance,
    channels: Channels,
    settings: Settings,
    traces: Traces,
) -> SendHandler:
    return SendHandler(
        database,
        clock,
        ids,
        chance,
        channels,
        AccountPauses(),
        apology_quiet=timedelta(minutes=settings.apology_quiet_minutes),
        crash=crash_at(settings.crash_at),
        traces=traces,
    )


def _webhook_service(
    directory: Directory,
    tokens: TwilioTokens,
    acceptance: AcceptService,
    reports: DeliveryReportService,
    database: Database,
    clock: Clock,
    ids: Ids,
    callbacks: CallbackRefs,
    settings: Settings,
) -> TwilioWebhookService:
    return TwilioWebhookService(
        directory,
        tokens,
        acceptance,
        reports,
        database,
        clock,
        ids,
        _require_public_url(settings.public_url),
        callbacks,
        crash=crash_at(settings.crash_at),
    )


SCHEDULES = (
    Schedule("sweep.turns", timedelta(seconds=30)),
    Schedule("sweep.gaps", timedelta(minutes=5)),
    Schedule("sweep.prune", timedelta(hours=1)),
    Schedule("idle_conversations", timedelta(minutes=1)),
    Schedule("expired_conversations", timedelta(minutes=1)),
)
"""All schedules. Each name has its handler in `_sweeps`."""


def _sweeps(
    rescue: Callable[[], Rescue],
    gaps: Callable[[], "GapSweep"],
    pruning: Callable[[], Pruning],
    idle_expiry: Callable[[], IdleExpiry],
) -> Sequence[Handler]:
    return (
        Sweep("sweep.turns", lambda: rescue().run()),
        Sweep("sweep.gaps", lambda: gaps().sweep()),
        Sweep("sweep.prune", lambda: pruning().prune()),
        Sweep("idle_conversations", lambda: idle_expiry().mark_idle()),
        Sweep("expired_conversations", lambda: idle_expiry().close_expired()),
    )


def _handlers(replies: ReplyHandler, sends: SendHandler, sweeps: Sequence[Handler]) -> Sequence[Handler]:
    return (replies, sends, *sweeps)


def _queue(
    database: Database, clock: Clock, ids: Ids, chance: Chance, handlers: Sequence[Handler], lease: timedelta
) -> QueueService:
    return QueueService(database, clock, ids, chance, handlers, lease=lease, uncounted_crashes=(SEND,))


def _worker(
    queue: QueueService,
    delivery: Delivery,
    maintenance: Maintenance,
    heartbeat: Heartbeat,
    isolated_runner: IsolatedRunner,
    database: Database,
    agents: "AgentRunner",
    settings: Settings,
    instrumentation: JobInstrumentation,
    grace_seconds: float = GRACE_SECONDS,
) -> Worker:
    return Worker(
        queue,
        delivery,
        maintenance,
        heartbeat,
        isolated_runner,
        database,
        concurrency=settings.worker_concurrency,
        grace_seconds=grace_seconds,
        needs_recycling=lambda: agents.abandoned > 0,
        instrumentation=instrumentation,
        crash=crash_at(settings.crash_at),
    )


def _exposition(meters: Meters, gauges: Callable[[], Gauges], settings: Settings, clock: Clock) -> Exposition:
    return Exposition(meters, gauges, settings.internal_api_key, settings.answer_deadline_seconds, clock)


# --- The container ----------------------------------------------------------------------------------------------------


class Container(containers.DeclarativeContainer):
    """One instance of each part. It takes `settings`; an entry point takes the parts that it needs."""

    settings: providers.Dependency[Settings] = providers.Dependency(instance_of=Settings)

    meters = providers.Singleton(Meters)
    traces: providers.Singleton[Traces] = providers.Singleton(_traces, settings.provided.tracing)
    database: providers.Singleton[Database] = providers.Singleton(open_database, settings.provided.database_url, meters)
    clock: providers.Singleton[Clock] = providers.Singleton(clock_of, database)
    ids = providers.Singleton(UuidV7, clock)
    chance = providers.Singleton(system_chance)
    sealer = providers.Singleton(_sealer, settings.provided.secret_key)
    key_ring = providers.Singleton(KeyRing, sealer)
    system_keys = providers.Singleton(SystemKeys, database, sealer, clock)
    callbacks = providers.Singleton(_callbacks, system_keys)

    identity = providers.Singleton(
        IdentityService, database, clock, ids, providers.Singleton(Passwords), key_ring.provider
    )

    window = providers.Singleton(_burst_window, settings)
    acceptance = providers.Singleton(AcceptService, database, window, settings.provided.max_attempts)
    reports = providers.Singleton(DeliveryReportService, database, clock, ids, providers.Object(advances))

    directory = providers.Singleton(Directory, database, clock, key_ring)
    twilio_tokens = providers.Singleton(TwilioTokens, directory, database, key_ring, clock)
    numbers = providers.Singleton(NumberService, database, key_ring, clock, ids)
    orphans = providers.Singleton(OrphanService, directory, ORPHAN_READERS, acceptance, database, clock, ids)
    twilio = providers.Singleton(LazyTwilio, settings.provided.twilio_api_url)
    channel = providers.Singleton(_channel, twilio_tokens, twilio, callbacks, settings.provided.public_url)
    channels = providers.Singleton(_channels, providers.Singleton(_LazyChannel, channel.provider))
    gap_sweep = providers.Singleton(_gap_sweep, directory, twilio_tokens, twilio, acceptance, database, clock, ids)
    webhooks = providers.Singleton(
        _webhook_service, directory, twilio_tokens, acceptance, reports, database, clock, ids, callbacks, settings
    )

    registry = providers.Singleton(_registry)
    knowledge = providers.Singleton(_knowledge, database, clock, ids)
    agent_service = providers.Singleton(_agent_service, database, registry, key_ring, clock)
    agents = providers.Singleton(_agents, agent_service, registry, knowledge, clock)

    replies = providers.Singleton(
        _reply_handler, database, clock, ids, chance, agents, channels, settings, meters, traces
    )
    sends = providers.Singleton(_send_handler, database, clock, ids, chance, channels, settings, traces)
    handoff = providers.Singleton(_handoff, database, clock, ids, settings)

    conversation_reading = providers.Singleton(ConversationReading, database)

    rescue = providers.Singleton(Rescue, database, clock, ids, providers.Object(split), settings.provided.max_attempts)
    pruning = providers.Singleton(Pruning, database, clock)
    idle_expiry = providers.Singleton(
        IdleExpiry, database, clock, ids, channels, providers.Object(split), providers.Singleton(_idle_limits, settings)
    )
    sweeps = providers.Singleton(_sweeps, rescue.provider, gap_sweep.provider, pruning.provider, idle_expiry.provider)

    handlers = providers.Singleton(_handlers, replies, sends, sweeps)
    lease = providers.Singleton(_lease, settings)
    queue = providers.Singleton(_queue, database, clock, ids, chance, handlers, lease)
    broker: providers.Singleton[Broker | None] = providers.Singleton(_broker, settings)
    database_wakeups: providers.Singleton[Delivery] = providers.Singleton(database_wakeups_of, database, clock)
    delivery: providers.Singleton[Delivery] = providers.Singleton(_delivery, broker, database_wakeups.provider)
    dispatcher = providers.Singleton(_dispatcher, database, broker, database_wakeups.provider, clock, chance, settings)
    cron = providers.Singleton(Cron, database, clock, ids, providers.Object(SCHEDULES))
    maintenance = providers.Singleton(Maintenance, queue, cron, clock, dispatcher)
    heartbeat = providers.Singleton(Heartbeat, database, clock, lease)
    isolated_runner = providers.Singleton(IsolatedRunner, queue, heartbeat)
    instrumentation = providers.Singleton(JobInstrumentation, clock, meters, traces)
    worker = providers.Singleton(
        _worker, queue, delivery, maintenance, heartbeat, isolated_runner, database, agents, settings, instrumentation
    )

    restored_copy = providers.Singleton(RestoredCopy, database, clock, queue)
    verifier = providers.Singleton(
        Verifier, database, clock, settings.provided.answer_deadline_seconds, providers.Object(FAILED)
    )
    broker_monitor = providers.Singleton(BrokerMonitor, settings.provided.queue_backend, broker.provider, clock)
    gauges = providers.Singleton(Gauges, database, clock)
    exposition = providers.Singleton(_exposition, meters, gauges.provider, settings, clock)
