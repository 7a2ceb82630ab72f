"""The servers of others that an installation needs beside our processes: its database, its broker."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.chaos.torture.processes import POSTGRES, RedisTarget, ServerTarget, SqsTarget, Target
from tests.support.servers.brokers import RedisServer, SqsProcess, redis, strict_sqs
from tests.support.servers.postgres import PostgresServer, postgres
from tests.support.servers.sqs import ACCOUNT

_AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, slots=True)
class Servers:
    """Those that run."""

    postgres: PostgresServer | None = None
    redis: RedisServer | None = None
    sqs: SqsProcess | None = None
    sqs_queue_url: str = ""

    @property
    def broker_variables(self) -> Mapping[str, str]:
        """What tells our processes of the broker."""
        if self.redis is not None:
            return {"RECADO_REDIS_URL": self.redis.url}
        if self.sqs is not None:
            return {"RECADO_SQS_QUEUE_URL": self.sqs_queue_url, "RECADO_SQS_ENDPOINT_URL": self.sqs.url, **_AWS}
        return {}

    @property
    def targets(self) -> Mapping[str, Target]:
        found: dict[str, Target] = {}
        if self.postgres is not None:
            found[POSTGRES] = ServerTarget(POSTGRES, self.postgres)
        if self.redis is not None:
            found["redis"] = RedisTarget(self.redis)
        if self.sqs is not None:
            found["sqs"] = SqsTarget(self.sqs)
        return found


@contextmanager
def servers_for(backend: str, database: str, seed: int) -> Iterator[Servers]:
    """PostgreSQL syncs as in production, for it is killed too; Redis keeps nothing; SQS loses, repeats and delays."""
    with ExitStack() as stack:
        database_server = stack.enter_context(postgres(durable=True)) if database == "postgres" else None
        if backend == "bullmq":
            yield Servers(database_server, redis=stack.enter_context(redis()))
        elif backend == "sqs":
            name = "recado.fifo" if seed % 2 else "recado"
            sqs = stack.enter_context(strict_sqs(seed=seed, lose=0.03, repeat=0.1, delay=0.2, always=name))
            yield Servers(database_server, sqs=sqs, sqs_queue_url=f"{sqs.url}/{ACCOUNT}/{name}")
        else:
            yield Servers(database_server)
