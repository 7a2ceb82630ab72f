"""Parts of the container that take settings."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from recado.channels.directory import Directory
from recado.channels.orphans import OrphanReader
from recado.channels.repository import AccountPauses
from recado.channels.twilio.callbacks import CallbackRefs
from recado.channels.twilio.removal import NumberRemoval
from recado.channels.twilio.sending.errors import meaning_of
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER
from recado.channels.twilio.webhook.dtos import FAILED, advances
from recado.channels.twilio.webhook.inbound import read_orphan
from recado.channels.twilio.webhook.service import TwilioWebhookService
from recado.conversation.people.handoff import HandOffService
from recado.conversation.ports import Agents, Channels
from recado.conversation.reading.messages import ProviderWords
from recado.conversation.replying.accept import AcceptService, BurstWindow
from recado.conversation.replying.handler import ReplyHandler
from recado.conversation.replying.open import ReplyLimits
from recado.conversation.sending.handler import SendHandler
from recado.conversation.sending.outbox import SEND
from recado.conversation.sending.provider_messages import DeliveryReportService
from recado.conversation.sending.results import SendRules
from recado.conversation.sending.splitting import split
from recado.conversation.upkeep.expiry import IdleExpiry, IdleLimits
from recado.conversation.upkeep.rescue import Rescue
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import ConfigurationError
from recado.core.event_log.models import DELIVER
from recado.core.ids import Chance, Ids
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
from recado.core.queue.wakeups.contract import Delivery
from recado.core.queue.wakeups.dispatcher import Dispatcher
from recado.core.sealing import Sealer
from recado.core.tracing import NoTraces, Traces
from recado.events.delivering import EventDeliveryHandler
from recado.events.notices import DisabledMailHandler
from recado.events.publishing import EventPublisher
from recado.identity.access.links import LinkService
from recado.identity.keys import SystemKeys
from recado.identity.mail.jobs import LinkMailHandler, MailSettings, put_link_mail
from recado.identity.mail.letters import Mailer
from recado.identity.passwords import Passwords
from recado.operations.dead_letters.bulk import BulkHandler
from recado.operations.exposition import Exposition
from recado.operations.gauges import Gauges
from recado.operations.organizations.purge import OwnerPurge
from recado.operations.pruning import Pruning
from recado.operations.usage.service import UsageService
from recado.settings import Settings

if TYPE_CHECKING:
    from recado.agents.runner import AgentRunner
    from recado.channels.twilio.reconcile import GapSweep


_CALLBACKS: Final = "twilio.callbacks"
PROVIDER_WORDS: Final = ProviderWords(advances, FAILED, meaning_of)
ORPHAN_READERS: Final[Mapping[str, OrphanReader]] = {PROVIDER: read_orphan}


def make_traces(tracing: bool) -> Traces:
    if not tracing:
        return NoTraces()
    from recado.core.otel import OtelTraces, to_collector

    return OtelTraces(to_collector())


def make_sealer(secret_key: bytes | None) -> Sealer:
    if secret_key is None:
        raise ConfigurationError("RECADO_SECRET_KEY is missing; `recado doctor` shows how to make one")
    return Sealer(secret_key)


def make_maintenance(
    queue: QueueService, cron: Cron, clock: Clock, dispatcher: Dispatcher | None, events: EventPublisher
) -> Maintenance:
    return Maintenance(queue, cron, clock, dispatcher, events.step)


def require_public_url(public_url: str | None) -> str:
    if public_url is None:
        raise ConfigurationError("RECADO_PUBLIC_URL is missing: the address at which Twilio reaches this server")
    return public_url


def make_callbacks(keys: SystemKeys) -> CallbackRefs:
    return CallbackRefs(partial(keys.get, _CALLBACKS), partial(keys.get_or_make, _CALLBACKS))


def make_reply_limits(settings: Settings) -> ReplyLimits:
    return ReplyLimits(
        agent=timedelta(seconds=settings.agent_timeout_seconds),
        answer=timedelta(seconds=settings.answer_deadline_seconds),
        burst=timedelta(seconds=settings.max_wait_seconds),
    )


def make_burst_window(settings: Settings) -> BurstWindow:
    return BurstWindow(timedelta(seconds=settings.quiet_seconds), timedelta(seconds=settings.max_wait_seconds))


def make_lease(settings: Settings) -> timedelta:
    return timedelta(seconds=settings.lease_seconds)


def make_idle_limits(settings: Settings) -> IdleLimits:
    return IdleLimits(timedelta(minutes=settings.idle_minutes), timedelta(hours=settings.expire_hours))


def make_reply_handler(
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
        make_reply_limits(settings),
        crash=crash_at(settings.crash_at),
        meters=meters,
        traces=traces,
    )


def make_send_rules(channels: Channels, settings: Settings) -> SendRules:
    return SendRules(channels, AccountPauses(), timedelta(minutes=settings.apology_quiet_minutes))


def make_handoff(
    database: Database, clock: Clock, ids: Ids, send_rules: SendRules, settings: Settings
) -> HandOffService:
    answer_within = make_reply_limits(settings).answer
    return HandOffService(database, clock, ids, split, send_rules, answer_within, settings.max_attempts)


def make_send_handler(
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


def make_links(database: Database, clock: Clock, ids: Ids, passwords: Passwords, settings: Settings) -> LinkService:
    return LinkService(database, clock, ids, passwords, None if settings.smtp_url is None else put_link_mail)


def make_link_mails(database: Database, clock: Clock, ids: Ids, settings: Settings) -> LinkMailHandler:
    return LinkMailHandler(database, clock, ids, MailSettings(make_mailer(settings), settings.public_url))


def make_mailer(settings: Settings) -> Mailer | None:
    if settings.smtp_url is None or settings.smtp_from is None:
        return None
    from recado.identity.mail.smtp import SmtpMailer

    return SmtpMailer(settings.smtp_url, settings.smtp_from)


def make_webhook_service(
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
        require_public_url(settings.public_url),
        callbacks,
        crash=crash_at(settings.crash_at),
    )


SCHEDULES = (
    Schedule("sweep.turns", timedelta(seconds=30)),
    Schedule("sweep.gaps", timedelta(minutes=5)),
    Schedule("sweep.prune", timedelta(hours=1)),
    Schedule("sweep.tokens", timedelta(minutes=10)),
    Schedule("sweep.usage", timedelta(hours=1)),
    Schedule("idle_conversations", timedelta(minutes=1)),
    Schedule("expired_conversations", timedelta(minutes=1)),
)
"""All schedules. Each name has its handler in `make_sweeps`."""


def make_sweeps(
    rescue: Callable[[], Rescue],
    gaps: Callable[[], "GapSweep"],
    pruning: Callable[[], Pruning],
    idle_expiry: Callable[[], IdleExpiry],
    number_removal: Callable[[], NumberRemoval],
    usage: Callable[[], UsageService],
) -> Sequence[Handler]:
    return (
        Sweep("sweep.turns", lambda: rescue().run()),
        Sweep("sweep.gaps", lambda: gaps().sweep()),
        Sweep("sweep.prune", lambda: pruning().prune()),
        Sweep("sweep.tokens", lambda: number_removal().forget_tokens()),
        Sweep("sweep.usage", lambda: usage().count()),
        Sweep("idle_conversations", lambda: idle_expiry().mark_idle()),
        Sweep("expired_conversations", lambda: idle_expiry().close_expired()),
    )


def make_handlers(
    replies: ReplyHandler,
    sends: SendHandler,
    events: EventDeliveryHandler,
    disabled_mails: DisabledMailHandler,
    link_mails: LinkMailHandler,
    sweeps: Sequence[Handler],
    owner_purge: OwnerPurge,
) -> Sequence[Handler]:
    return (replies, sends, events, disabled_mails, link_mails, *sweeps, owner_purge)


def make_every_handler(single: Sequence[Handler], bulk: BulkHandler) -> Sequence[Handler]:
    """Return the handlers of all jobs: those of one thing each, and the one of many dead letters."""
    return (*single, bulk)


def make_queue(
    database: Database, clock: Clock, ids: Ids, chance: Chance, handlers: Sequence[Handler], lease: timedelta
) -> QueueService:
    return QueueService(database, clock, ids, chance, handlers, lease=lease, uncounted_crashes=(SEND, DELIVER))


def make_worker(
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


def make_exposition(meters: Meters, gauges: Callable[[], Gauges], settings: Settings, clock: Clock) -> Exposition:
    return Exposition(meters, gauges, settings.internal_api_key, settings.answer_deadline_seconds, clock)
