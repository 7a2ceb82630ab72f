"""Every setting, with its default."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

PREFIX: Final = "RECADO_"

Purpose: TypeAlias = Literal["serve", "worker", "cli", "demo"]
QueueBackend: TypeAlias = Literal["sqlite", "postgres", "bullmq", "sqs"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Each field is read from `RECADO_` and its name in capitals. Secrets are not in the repr."""

    database_url: str = field(default="sqlite:///recado.db", repr=False)
    """The database: `sqlite:///` and a file, or `postgresql://…`. Default: `recado.db` in the working folder."""

    queue_backend: QueueBackend = "sqlite"
    """Where wake-ups for workers come from. Default: `sqlite`, or `postgres` when the database is."""

    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    """The Redis of BullMQ. Default: the Redis of this machine."""

    queue_name: str = "recado"
    """The name of the queue in BullMQ. Default: `recado`."""

    sqs_queue_url: str | None = None
    """The SQS queue. AWS credentials come from AWS's own variables. No default."""

    sqs_endpoint_url: str | None = None
    """Another address of SQS, for an emulator. No default."""

    public_url: str | None = None
    """The URL that Twilio calls, without a slash at the end, for signatures and callbacks. serve and worker need it."""

    secret_key: bytes | None = field(default=None, repr=False)
    """32 bytes, written in base64url: seals stored credentials, signs cookies and callback ids. Demo needs none."""

    internal_api_key: str | None = field(default=None, repr=False)
    """The key for `/internal/*` and `/metrics`. Without it the former refuse every caller, and the latter nobody."""

    cors_origins: str = ""
    """The origins of pages that may call the API from a browser, separated by commas. No default: none may."""

    trusted_proxies: str = ""
    """The addresses or networks of proxies whose X-Forwarded-For is believed, separated by commas. Default: none."""

    twilio_api_url: str = "https://api.twilio.com"
    """The URL of Twilio's API or of an emulator, without a slash at the end. Default: Twilio."""

    smtp_url: str | None = field(default=None, repr=False)
    """The mail server: `smtp://user:password@host` or `smtps://…`. Without it links are printed. No default."""

    smtp_from: str | None = None
    """The sender of mails: `Recado <recado@example.com>`. Needed with a mail server. No default."""

    quiet_seconds: float = 1.5
    """Seconds without a further message that end a burst. Default 1.5; 0 answers each message at once."""

    max_wait_seconds: float = 8.0
    """Seconds after which a burst is answered even if it continues. Default 8; 0 never waits."""

    agent_timeout_seconds: float = 60.0
    """Seconds one agent run may take. Default 60."""

    max_attempts: int = 3
    """Runs of the agent for one turn before the customer gets the apology. Default 3."""

    lease_seconds: float = 30.0
    """Seconds after which the jobs of a dead worker are requeued. Default 30, at least 1."""

    answer_deadline_seconds: float = 300.0
    """Seconds from a turn's first claim to its answer. Default 300; must exceed all attempts and their delays."""

    idle_minutes: float = 15.0
    """Minutes of silence after which a conversation is idle. Default 15."""

    expire_hours: float = 24.0
    """Hours of silence after which a conversation is closed. Default 24."""

    apology_quiet_minutes: float = 10.0
    """Minutes in which a customer gets at most one apology. Default 10."""

    worker_concurrency: int = 64
    """Jobs one worker runs at a time. Default 64."""

    metrics_port: int = 0
    """The port at which a worker shows its metrics. Default 0: none."""

    metrics_host: str = "127.0.0.1"
    """The address that a worker's metrics port listens on. Default: this machine only."""

    tracing: bool = False
    """Whether traces are sent to the OpenTelemetry collector of OTEL_EXPORTER_OTLP_ENDPOINT. Default 0."""

    log_level: LogLevel = "info"
    """The lowest level that is logged: debug, info, warning or error. Default info."""

    crash_at: str | None = None
    """Tests only: the crash point at which the process kills itself. No default; refused unless testing."""

    testing: bool = False
    """Whether this is a test. Default 0."""

    @property
    def proxies(self) -> tuple[str, ...]:
        """The addresses and networks of `trusted_proxies`."""
        return tuple(each.strip() for each in self.trusted_proxies.split(",") if each.strip())

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins of `cors_origins`."""
        origins = (each.strip().rstrip("/") for each in self.cors_origins.split(","))
        return tuple(each for each in origins if each)
