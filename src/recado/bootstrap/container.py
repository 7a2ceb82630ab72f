"""Build the product: the only module that knows every concrete class.

API, worker, command line and demo start from this container, and nothing below imports it. Classes take what they need
in their constructors; no decorator injects anything. A test replaces a part with `container.clock.override(…)`.

Modules that take long to import (the HTTP client of the sender, the agents) are imported when they are first needed, so
that a process pays only for what it does.
"""

from recado.agents.reading import AgentsReading
from recado.bootstrap import providers
from recado.bootstrap.brokers import make_broker, make_delivery, make_dispatcher
from recado.bootstrap.databases import clock_of, database_wakeups_of, make_following, metadata, open_database
from recado.bootstrap.lazy import (
    LazyChannel,
    LazyPoster,
    LazyTwilio,
    make_agent_service,
    make_agent_trials,
    make_agents,
    make_channel,
    make_channels,
    make_endpoint_service,
    make_gap_sweep,
    make_knowledge,
    make_number_agents,
    make_number_checks,
    make_registry,
)
from recado.bootstrap.parts import (
    ORPHAN_READERS,
    PROVIDER_WORDS,
    SCHEDULES,
    make_burst_window,
    make_callbacks,
    make_every_handler,
    make_exposition,
    make_handlers,
    make_handoff,
    make_idle_limits,
    make_lease,
    make_link_mails,
    make_links,
    make_maintenance,
    make_queue,
    make_reply_handler,
    make_sealer,
    make_send_handler,
    make_send_rules,
    make_sweeps,
    make_traces,
    make_webhook_service,
    make_worker,
)
from recado.bootstrap.telling import make_disabled_mails, make_event_deliveries
from recado.channels.directory import Directory
from recado.channels.orphans import OrphanService
from recado.channels.reading import ChannelsReading
from recado.channels.repository import NumbersInUse
from recado.channels.twilio.accounts import NumberService
from recado.channels.twilio.removal import NumberRemoval
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.webhook.dtos import FAILED, advances
from recado.conversation.people.contacts import ContactService
from recado.conversation.people.messages import MessageService
from recado.conversation.reading.contacts import ContactReading
from recado.conversation.reading.conversations import ConversationReading
from recado.conversation.reading.drafts import DraftReading
from recado.conversation.reading.messages import Transcripts
from recado.conversation.replying.accept import AcceptService
from recado.conversation.sending.provider_messages import DeliveryReportService
from recado.conversation.sending.splitting import split
from recado.conversation.upkeep.expiry import IdleExpiry
from recado.conversation.upkeep.rescue import Rescue
from recado.core.clock import Clock
from recado.core.container import containers
from recado.core.database.changes import Changes
from recado.core.database.engine import Database
from recado.core.event_log.numbering import Numbering
from recado.core.event_log.reading import EventReading
from recado.core.ids import UuidV7, system_chance
from recado.core.metrics import Meters
from recado.core.queue.cron import Cron
from recado.core.queue.running.heartbeat import Heartbeat
from recado.core.queue.running.instrumentation import JobInstrumentation
from recado.core.queue.running.isolation import IsolatedRunner
from recado.core.queue.wakeups.contract import Broker, Delivery
from recado.core.tracing import Traces
from recado.events.fanout import Fanout
from recado.events.publishing import EventPublisher
from recado.events.reading import EndpointReading
from recado.identity.access.api_keys import ApiKeyService
from recado.identity.access.authenticator import Authenticator, KeysAndSessions
from recado.identity.access.own_sessions import OwnSessions
from recado.identity.access.sessions import SessionService
from recado.identity.access.sign_in import SignInService
from recado.identity.idempotency.service import IdempotencyService
from recado.identity.keys import KeyRing, SystemKeys
from recado.identity.owners import OwnerService
from recado.identity.passwords import Passwords
from recado.identity.reading import IdentityReading
from recado.identity.users import UserService
from recado.operations.dead_letters.bulk import BulkHandler
from recado.operations.dead_letters.reading import DeadLetterReading
from recado.operations.dead_letters.service import DeadLetterService
from recado.operations.gauges import Gauges
from recado.operations.organizations.export import OwnerExport
from recado.operations.organizations.purge import OwnerPurge
from recado.operations.pruning import Pruning
from recado.operations.readiness import BrokerMonitor
from recado.operations.restored import RestoredCopy
from recado.operations.usage.service import UsageService
from recado.operations.verify import Verifier
from recado.settings import Settings


class Container(containers.DeclarativeContainer):
    """One instance of each part. It takes `settings`; an entry point takes the parts that it needs."""

    settings: providers.Dependency[Settings] = providers.Dependency(instance_of=Settings)

    meters = providers.Singleton(Meters)
    traces: providers.Singleton[Traces] = providers.Singleton(make_traces, settings.provided.tracing)
    changes = providers.Singleton(Changes)
    database: providers.Singleton[Database] = providers.Singleton(
        open_database, settings.provided.database_url, meters, changes
    )
    clock: providers.Singleton[Clock] = providers.Singleton(clock_of, database)
    ids = providers.Singleton(UuidV7, clock)
    chance = providers.Singleton(system_chance)
    sealer = providers.Singleton(make_sealer, settings.provided.secret_key)
    key_ring = providers.Singleton(KeyRing, sealer)
    system_keys = providers.Singleton(SystemKeys, database, sealer, clock)
    callbacks = providers.Singleton(make_callbacks, system_keys)

    passwords = providers.Singleton(Passwords)
    owners = providers.Singleton(OwnerService, database, clock, ids, passwords, key_ring.provider)
    users = providers.Singleton(UserService, database, clock, ids, passwords)
    sessions = providers.Singleton(SessionService, database, clock)
    sign_in = providers.Singleton(SignInService, database, clock, ids, passwords, sessions)
    links = providers.Singleton(make_links, database, clock, ids, passwords, settings)
    link_mails = providers.Singleton(make_link_mails, database, clock, ids, settings)
    api_keys = providers.Singleton(ApiKeyService, database, clock, ids)
    identity_reading = providers.Singleton(IdentityReading, database)
    own_sessions = providers.Singleton(OwnSessions, database, clock, ids, identity_reading)
    authenticator: providers.Singleton[Authenticator] = providers.Singleton(KeysAndSessions, api_keys, sessions)

    idempotency = providers.Singleton(IdempotencyService, database, clock, ids)

    window = providers.Singleton(make_burst_window, settings)
    acceptance = providers.Singleton(AcceptService, database, ids, window, settings.provided.max_attempts)
    reports = providers.Singleton(
        DeliveryReportService, database, clock, ids, providers.Object(advances), providers.Object(FAILED)
    )

    directory = providers.Singleton(Directory, database, clock, key_ring)
    twilio_tokens = providers.Singleton(TwilioTokens, directory, database, key_ring, clock)
    numbers = providers.Singleton(NumberService, database, key_ring, clock, ids)
    number_removal = providers.Singleton(NumberRemoval, database, clock, ids)
    number_checks = providers.Singleton(make_number_checks, numbers, twilio_tokens, settings.provided.twilio_api_url)
    orphans = providers.Singleton(OrphanService, directory, ORPHAN_READERS, acceptance, database, clock, ids)
    channels_reading = providers.Singleton(ChannelsReading, database)
    twilio = providers.Singleton(LazyTwilio, settings.provided.twilio_api_url)
    channel = providers.Singleton(make_channel, twilio_tokens, twilio, callbacks, settings.provided.public_url)
    channels = providers.Singleton(make_channels, providers.Singleton(LazyChannel, channel.provider))
    gap_sweep = providers.Singleton(make_gap_sweep, directory, twilio_tokens, twilio, acceptance, database, clock, ids)
    webhooks = providers.Singleton(
        make_webhook_service, directory, twilio_tokens, acceptance, reports, database, clock, ids, callbacks, settings
    )

    registry = providers.Singleton(make_registry)
    knowledge = providers.Singleton(make_knowledge, database, clock, ids)
    agents_reading = providers.Singleton(AgentsReading, database)
    agent_service = providers.Singleton(make_agent_service, database, registry, key_ring, clock, ids)
    number_agents = providers.Singleton(
        make_number_agents, database, registry, agent_service, providers.Singleton(NumbersInUse), clock, ids
    )
    agents = providers.Singleton(make_agents, agent_service, registry, knowledge, clock)
    agent_trials = providers.Singleton(make_agent_trials, agents, clock, ids, settings)

    replies = providers.Singleton(
        make_reply_handler, database, clock, ids, chance, agents, channels, settings, meters, traces
    )
    sends = providers.Singleton(make_send_handler, database, clock, ids, chance, channels, settings, traces)
    send_rules = providers.Singleton(make_send_rules, channels, settings)
    handoff = providers.Singleton(make_handoff, database, clock, ids, send_rules, settings)
    contact_service = providers.Singleton(ContactService, database, clock, ids)
    messages = providers.Singleton(
        MessageService,
        database,
        clock,
        ids,
        providers.Object(split),
        send_rules,
        providers.Singleton(NumbersInUse),
        key_ring,
    )

    conversation_reading = providers.Singleton(ConversationReading, database)
    draft_reading = providers.Singleton(DraftReading, database)
    contact_reading = providers.Singleton(ContactReading, database)
    transcripts = providers.Singleton(Transcripts, database, clock, ids, providers.Object(PROVIDER_WORDS))

    rescue = providers.Singleton(Rescue, database, clock, ids, providers.Object(split), settings.provided.max_attempts)
    pruning = providers.Singleton(Pruning, database, clock)
    idle_expiry = providers.Singleton(
        IdleExpiry,
        database,
        clock,
        ids,
        channels,
        providers.Object(split),
        providers.Singleton(make_idle_limits, settings),
    )
    usage = providers.Singleton(UsageService, database, clock)
    sweeps = providers.Singleton(
        make_sweeps,
        rescue.provider,
        gap_sweep.provider,
        pruning.provider,
        idle_expiry.provider,
        number_removal.provider,
        usage.provider,
    )

    owner_export = providers.Singleton(OwnerExport, database, clock, ids, providers.Object(metadata))
    owner_purge = providers.Singleton(OwnerPurge, database, clock, ids, providers.Object(metadata))

    event_reading = providers.Singleton(EventReading, database)
    event_following = providers.Singleton(make_following, event_reading, database, changes)
    fanout = providers.Singleton(Fanout, database, clock, ids)
    event_publisher = providers.Singleton(EventPublisher, providers.Singleton(Numbering, database), fanout, changes)
    event_poster = providers.Singleton(LazyPoster, clock, chance)
    event_deliveries = providers.Singleton(
        make_event_deliveries, database, clock, ids, chance, key_ring.provider, event_poster, fanout, settings
    )
    disabled_mails = providers.Singleton(make_disabled_mails, database, settings)
    endpoints = providers.Singleton(make_endpoint_service, database, clock, ids, key_ring.provider, fanout)
    endpoint_reading = providers.Singleton(EndpointReading, database)

    single_handlers = providers.Singleton(
        make_handlers, replies, sends, event_deliveries, disabled_mails, link_mails, sweeps, owner_purge
    )
    bulk = providers.Singleton(BulkHandler, database, clock, ids, single_handlers)
    handlers = providers.Singleton(make_every_handler, single_handlers, bulk)
    lease = providers.Singleton(make_lease, settings)
    queue = providers.Singleton(make_queue, database, clock, ids, chance, handlers, lease)
    dead_letters = providers.Singleton(DeadLetterService, database, clock, ids, queue)
    dead_letter_reading = providers.Singleton(DeadLetterReading, database)
    broker: providers.Singleton[Broker | None] = providers.Singleton(make_broker, settings)
    database_wakeups: providers.Singleton[Delivery] = providers.Singleton(database_wakeups_of, database, clock)
    delivery: providers.Singleton[Delivery] = providers.Singleton(make_delivery, broker, database_wakeups.provider)
    dispatcher = providers.Singleton(
        make_dispatcher, database, broker, database_wakeups.provider, clock, chance, settings
    )
    cron = providers.Singleton(Cron, database, clock, ids, providers.Object(SCHEDULES))
    maintenance = providers.Singleton(make_maintenance, queue, cron, clock, dispatcher, event_publisher)
    heartbeat = providers.Singleton(Heartbeat, database, clock, lease)
    isolated_runner = providers.Singleton(IsolatedRunner, queue, heartbeat)
    instrumentation = providers.Singleton(JobInstrumentation, clock, meters, traces)
    worker = providers.Singleton(
        make_worker,
        queue,
        delivery,
        maintenance,
        heartbeat,
        isolated_runner,
        database,
        agents,
        settings,
        instrumentation,
    )

    restored_copy = providers.Singleton(RestoredCopy, database, clock, queue)
    verifier = providers.Singleton(
        Verifier, database, clock, settings.provided.answer_deadline_seconds, providers.Object(FAILED)
    )
    broker_monitor = providers.Singleton(BrokerMonitor, settings.provided.queue_backend, broker.provider, clock)
    gauges = providers.Singleton(Gauges, database, clock)
    exposition = providers.Singleton(make_exposition, meters, gauges.provider, settings, clock)
