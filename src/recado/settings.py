"""The settings, read from environment variables and checked together before anything starts.

`load_settings` reports all problems at once, each with the variable that fixes it. There are no unsafe defaults: a
missing secret stops the start in every environment.

pydantic-settings reads the variables. It is imported only when settings are loaded, because the import takes a quarter
of a second that `recado --help` does not need.
"""

import base64
import difflib
import functools
import importlib.util
import ipaddress
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from recado.core.errors import ConfigurationError
from recado.core.queue.crash import CRASH_POINTS

PREFIX: Final = "RECADO_"

Purpose: TypeAlias = Literal["serve", "worker", "cli", "demo"]
QueueBackend: TypeAlias = Literal["sqlite", "postgres", "bullmq", "sqs"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_CLIENTS: Final[Mapping[str, str]] = {"bullmq": "bullmq", "sqs": "aiobotocore"}
"""The package that a broker needs. It is in the extra with the broker's name."""


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

    twilio_api_url: str = "https://api.twilio.com"
    """The URL of Twilio's API or of an emulator, without a slash at the end. Default: Twilio."""

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


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the settings: the variable that fixes it, and a sentence that begins with its name."""

    variable: str
    sentence: str


class InvalidSettings(ConfigurationError):
    """The settings do not allow a start. Each problem names the variable that fixes it."""

    code = "settings.invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        sentences = [problem.sentence for problem in problems]
        if len(sentences) > 1:
            sentences.insert(0, f"{len(problems)} settings must be fixed:")
        super().__init__("\n  - ".join(sentences))
        self.problems = tuple(problems)


def load_settings(environ: Mapping[str, str], *, purpose: Purpose) -> Settings:
    """Return the settings in `environ`. Raises one `InvalidSettings` with every problem for this purpose."""
    given = {name: value.strip() for name, value in environ.items() if name.startswith(PREFIX) and value.strip()}
    problems = list(_unknown(given))
    others = {name: value.strip() for name, value in environ.items() if name.startswith("OTEL_") and value.strip()}
    read, unreadable = _read({name: value for name, value in given.items() if name in variables()})
    problems += unreadable
    settings = _settled(read, given)
    if settings.tracing:
        problems += _opentelemetry(others)
    wrong = {problem.variable for problem in problems}
    problems += [problem for problem in _check(settings, given, purpose) if problem.variable not in wrong]
    if problems:
        raise InvalidSettings(problems)
    return replace(settings, secret_key=_decoded(settings.secret_key))


@functools.cache
def variables() -> Mapping[str, str]:
    """Return every variable with the field that it sets."""
    return {PREFIX + setting.name.upper(): setting.name for setting in fields(Settings)}


def _unknown(given: Mapping[str, str]) -> Iterator[Problem]:
    for name in given:
        if name not in variables():
            near = difflib.get_close_matches(name.upper(), variables(), n=1, cutoff=0.75)
            hint = f"did you mean {near[0]}?" if near else "see docs/reference/settings.md, or remove it."
            yield Problem(name, f"{name} is not a setting: {hint}")


# --- Reading ----------------------------------------------------------------------------------------------------------


def _read(given: Mapping[str, str]) -> tuple[Settings, list[Problem]]:
    """Return the settings, with defaults for values that cannot be read, and the problems of those."""
    from pydantic import ValidationError

    try:
        return _parsed(given), []
    except ValidationError as error:
        bad = {PREFIX + str(each["loc"][-1]).upper(): each["msg"] for each in error.errors(include_input=False)}
    problems = [_unreadable(variable, given[variable], why) for variable, why in bad.items()]
    return _parsed({name: value for name, value in given.items() if name not in bad}), problems


def _parsed(given: Mapping[str, str]) -> Settings:
    from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

    class Reader(BaseSettings):
        """Reads RECADO_LEASE_SECONDS into `recado.lease_seconds`, from the given variables only."""

        model_config = SettingsConfigDict(env_nested_delimiter="_", env_nested_max_split=1)
        recado: Settings = Settings()

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the names are pydantic-settings' own
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            source = EnvSettingsSource(settings_cls)
            source.env_vars = {name.lower(): _plain(name, value) for name, value in given.items()}
            return (source,)

    return Reader().recado


def _plain(variable: str, value: str) -> str:
    return value.lower() if variable == PREFIX + "LOG_LEVEL" else value


def _unreadable(variable: str, text: str, why: str) -> Problem:
    return Problem(variable, f"{variable} cannot be read from {text[:40]!r}: {why[:1].lower()}{why[1:]}.")


def _settled(read: Settings, given: Mapping[str, str]) -> Settings:
    """Apply the defaults that depend on other settings, and normalise URLs."""
    if PREFIX + "QUEUE_BACKEND" not in given and read.database_url.startswith("postgresql"):
        read = replace(read, queue_backend="postgres")
    public_url = read.public_url.rstrip("/") if read.public_url else None
    return replace(read, public_url=public_url, twilio_api_url=read.twilio_api_url.rstrip("/"))


# --- Rules ------------------------------------------------------------------------------------------------------------

Given: TypeAlias = Mapping[str, str]


def _check(settings: Settings, given: Given, purpose: Purpose) -> Iterator[Problem]:
    for rule in (_storage, _broker, _required, _addresses, _secret, _numbers, _deadline, _tracing, _crash):
        yield from rule(settings, given, purpose)


def _extra(name: str) -> str:
    return f"install the extra {name} (in the checkout: pip install '.[{name}]')"


def _problem(name: str, says: str) -> Problem:
    return Problem(PREFIX + name, f"{PREFIX}{name} {says}")


_BY_ITS_PATH: Final = "by its path only, without ?… after it and file: before it"


def _storage(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    url, backend = settings.database_url, settings.queue_backend
    postgresql = url.startswith("postgresql:")
    if postgresql:
        yield from _postgresql(url)
    elif not url.startswith("sqlite://"):
        yield _problem("DATABASE_URL", "must be sqlite:/// and the path of a file, or postgresql://user@host/name.")
    elif "?" in url or url.removeprefix("sqlite:///").startswith("file:"):
        yield _problem("DATABASE_URL", f"must name a file {_BY_ITS_PATH}: sqlite:///recado.db.")
    elif not _names_a_file(url):
        yield _problem("DATABASE_URL", "must name a file, because memory loses every message: sqlite:///recado.db.")
    if backend == ("sqlite" if postgresql else "postgres"):
        other = "postgres" if postgresql else "sqlite"
        yield _problem("QUEUE_BACKEND", f"is {backend}, which does not fit DATABASE_URL: use {other}.")


_QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def _broker(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    backend = settings.queue_backend
    client = _CLIENTS.get(backend)
    if client is not None and importlib.util.find_spec(client) is None:
        yield _problem("QUEUE_BACKEND", f"is {backend}, whose client is missing: {_extra(backend)}.")
    if backend == "bullmq":
        if not settings.redis_url.startswith(("redis://", "rediss://", "unix://")):
            yield _problem("REDIS_URL", "must be redis://host:port/number (rediss:// with TLS).")
        if not _QUEUE_NAME.fullmatch(settings.queue_name):
            yield _problem("QUEUE_NAME", "may have letters, digits, dots, hyphens and underscores only.")
    if backend == "sqs" and settings.sqs_queue_url is None:
        yield _problem("SQS_QUEUE_URL", "is not set: give the URL of the queue, as AWS shows it.")
    for name, url in (("SQS_QUEUE_URL", settings.sqs_queue_url), ("SQS_ENDPOINT_URL", settings.sqs_endpoint_url)):
        if backend == "sqs" and url is not None and (why := _bad_address(url, http_anywhere=True)):
            yield _problem(name, why)


def _postgresql(url: str) -> Iterator[Problem]:
    if importlib.util.find_spec("psycopg") is None:
        yield _problem("DATABASE_URL", f"names PostgreSQL, whose driver is missing: {_extra('postgres')}.")
    try:
        parts = urlsplit(url)
        named = parts.port is None or parts.port > 0
    except ValueError:
        named = False
    if not named or not parts.path.strip("/"):
        yield _problem("DATABASE_URL", "must name a database: postgresql://user@host/name.")


def _names_a_file(url: str) -> bool:
    path = url.removeprefix("sqlite://")
    return len(path) > 1 and path.startswith("/") and path != "/:memory:"


def _required(settings: Settings, _given: Given, purpose: Purpose) -> Iterator[Problem]:
    if settings.public_url is None and purpose in {"serve", "worker"}:
        yield _problem("PUBLIC_URL", "is not set: give the https:// address at which Twilio reaches this server.")
    if settings.secret_key is None and purpose != "demo":
        yield _problem("SECRET_KEY", f"is not set: {_MAKE_A_KEY}")


def _addresses(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    if settings.public_url is not None and (why := _bad_address(settings.public_url, http_anywhere=False)):
        yield _problem("PUBLIC_URL", why)
    # An emulator in another container may have no https.
    if why := _bad_address(settings.twilio_api_url, http_anywhere=True):
        yield _problem("TWILIO_API_URL", why)


def _bad_address(url: str, *, http_anywhere: bool) -> str | None:
    """Return why `url` cannot be used as a base URL, or None."""
    if len(url) > 2_000:
        return "is too long for an address."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"} or not url.isprintable() or " " in url:
        return "is not an address: write it as https://recado.example.com."
    if "?" in url or "#" in url:
        return "must have no query and no fragment (nothing from ? or # on)."
    if "@" in parts.netloc:
        return "must hold no user name and no password."
    if parts.scheme == "http" and not http_anywhere and not _is_loopback(host):
        return "must begin with https://; http:// is for this machine only (localhost, 127.0.0.1)."
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_MAKE_A_KEY: Final = (
    "it must be 32 bytes in base64url; make one with "
    "python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'."
)


def _secret(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    if settings.secret_key is not None and _decoded(settings.secret_key) is None:
        yield _problem("SECRET_KEY", f"cannot be used: {_MAKE_A_KEY}")


_ENCODED_KEY: Final = re.compile(rb"[A-Za-z0-9_-]{43}=?")


def _decoded(text: bytes | None) -> bytes | None:
    """Return the 32 bytes that `text` encodes (the = at its end may be missing), or None."""
    if text is None or not _ENCODED_KEY.fullmatch(text):
        return None
    return base64.urlsafe_b64decode(text[:43] + b"=")


_ABOVE_ZERO: Final = ("agent_timeout_seconds", "answer_deadline_seconds", "idle_minutes", "expire_hours")
_AT_LEAST: Final[Mapping[str, float]] = {
    "quiet_seconds": 0,
    "max_wait_seconds": 0,
    "apology_quiet_minutes": 0,
    "lease_seconds": 1,
    "max_attempts": 1,
    "worker_concurrency": 1,
    "metrics_port": 0,
}
_MOST: Final[Mapping[str, float]] = {"metrics_port": 65_535}


def _numbers(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    for name in (*_ABOVE_ZERO, *_AT_LEAST):
        number = float(getattr(settings, name))
        if not math.isfinite(number):
            yield _problem(name.upper(), f"is {number:g}, but must be a number.")
        elif name in _ABOVE_ZERO and number <= 0:
            yield _problem(name.upper(), f"is {number:g}, but must be more than 0.")
        elif name in _AT_LEAST and number < _AT_LEAST[name]:
            yield _problem(name.upper(), f"is {number:g}, but must be at least {_AT_LEAST[name]:g}.")
        elif name in _MOST and number > _MOST[name]:
            yield _problem(name.upper(), f"is {number:g}, but must be at most {_MOST[name]:g}.")


def _deadline(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    needed = seconds_of_all_attempts(settings)
    if settings.answer_deadline_seconds <= needed:
        yield _problem(
            "ANSWER_DEADLINE_SECONDS",
            f"is {settings.answer_deadline_seconds:g}, but must be more than {needed:g}: {PREFIX}MAX_ATTEMPTS "
            f"({settings.max_attempts}) times {PREFIX}AGENT_TIMEOUT_SECONDS ({settings.agent_timeout_seconds:g}) "
            "and the delays between them.",
        )


def seconds_of_all_attempts(settings: Settings) -> float:
    """Return the longest time of all attempts of one turn and the delays between them."""
    # These are the delays of the queue's `Backoff` with the largest jitter. A test compares the two, because importing
    # the queue for three numbers would slow every start.
    waits = sum(min(2.0 * 3.0 ** min(failures, 10), 300) * 1.2 for failures in range(settings.max_attempts - 1))
    return settings.max_attempts * settings.agent_timeout_seconds + waits


def _tracing(settings: Settings, _given: Given, purpose: Purpose) -> Iterator[Problem]:
    if settings.tracing and purpose in {"serve", "worker"} and not _installed("opentelemetry.exporter.otlp.proto.http"):
        yield _problem("TRACING", f"is on, but OpenTelemetry is not installed: {_extra('otel')}.")


def _opentelemetry(given: Given) -> Iterator[Problem]:
    """Check variables whose mistakes would make OpenTelemetry end the process or log secrets."""
    for name, value in given.items():
        match name:
            case "OTEL_EXPORTER_OTLP_ENDPOINT" | "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":
                if not value.startswith(("http://", "https://")):
                    yield Problem(name, f"{name} must be an address: write it as http://collector:4318.")
            case "OTEL_EXPORTER_OTLP_PROTOCOL" | "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL":
                if value != "http/protobuf":
                    yield Problem(name, f"{name} must be http/protobuf, the only supported protocol, or be removed.")
            case "OTEL_EXPORTER_OTLP_HEADERS" | "OTEL_EXPORTER_OTLP_TRACES_HEADERS":
                if not all("=" in header for header in value.strip(",").split(",")):
                    yield Problem(name, f"{name} must be name=value pairs, separated by commas.")
            case _ if name.startswith("OTEL_BSP_") and not (value.isascii() and value.isdigit() and int(value) > 0):
                yield Problem(name, f"{name} must be a whole number above 0.")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # A parent package is missing.
        return False


def _crash(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    if settings.crash_at is None:
        return
    if not settings.testing:
        yield _problem("CRASH_AT", f"is for tests only: remove it, or set {PREFIX}TESTING=1.")
    elif settings.crash_at not in CRASH_POINTS:
        yield _problem("CRASH_AT", f"must be one of {', '.join(CRASH_POINTS)}.")
