"""Brokers by the settings, and what publishes to them."""

from collections.abc import Callable
from typing import Final

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import ConfigurationError
from recado.core.ids import Chance
from recado.core.queue.wakeups.contract import Broker, Delivery
from recado.core.queue.wakeups.dispatcher import Dispatcher
from recado.settings import Settings


def make_broker(settings: Settings) -> Broker | None:
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


def make_delivery(broker: Broker | None, database_wakeups: Callable[[], Delivery]) -> Delivery:
    return database_wakeups() if broker is None else broker


WAKEUPS_EACH: Final = 4
"""Wake-ups that may be under way for each job that a worker runs at a time."""


def make_dispatcher(
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
