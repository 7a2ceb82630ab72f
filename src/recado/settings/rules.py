"""What is checked of settings before anything starts."""

import base64
import importlib.util
import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from recado.core.queue.crash import CRASH_POINTS
from recado.settings.values import PREFIX, Purpose, Settings

_CLIENTS: Final[Mapping[str, str]] = {"bullmq": "bullmq", "sqs": "aiobotocore"}
"""The package that a broker needs. It is in the extra with the broker's name."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the settings: the variable that fixes it, and a sentence that begins with its name."""

    variable: str
    sentence: str


Given: TypeAlias = Mapping[str, str]


def check(settings: Settings, given: Given, purpose: Purpose) -> Iterator[Problem]:
    for rule in (_storage, _broker, _required, _addresses, _mail, _secret, _numbers, _deadline, _tracing, _crash):
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


_ORIGIN: Final = re.compile(r"https?://[a-z0-9.\[\]:-]+")


def _addresses(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    if settings.public_url is not None and (why := _bad_address(settings.public_url, http_anywhere=False)):
        yield _problem("PUBLIC_URL", why)
    for origin in settings.allowed_origins:
        if not _ORIGIN.fullmatch(origin):
            yield _problem("CORS_ORIGINS", f"must name origins like https://app.example, and {origin[:40]!r} is none.")
    for proxy in settings.proxies:
        if not _is_network(proxy):
            yield _problem("TRUSTED_PROXIES", f"must name addresses like 10.0.0.5 or 10.0.0.0/8, not {proxy[:40]!r}.")
    # An emulator in another container may have no https.
    if why := _bad_address(settings.twilio_api_url, http_anywhere=True):
        yield _problem("TWILIO_API_URL", why)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


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


def _mail(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    url, sender = settings.smtp_url, settings.smtp_from
    if url is not None and not _names_a_mail_server(url):
        yield _problem("SMTP_URL", "is not a mail server: write it as smtp://user:password@mail.example.com:587.")
    if url is not None and sender is None:
        yield _problem("SMTP_FROM", "is not set: give the sender of mails, as Recado <recado@example.com>.")
    if sender is not None and not _is_sender(sender):
        yield _problem("SMTP_FROM", "is not a sender: write it as Recado <recado@example.com>.")


def _names_a_mail_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return parts.scheme in {"smtp", "smtps"} and host is not None and parts.path in {"", "/"} and url.isprintable()


def _is_sender(text: str) -> bool:
    _, address = parseaddr(text)
    name, _, domain = address.rpartition("@")
    return text.isprintable() and name != "" and domain != "" and address.isascii() and " " not in address


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_MAKE_A_KEY: Final = (
    "it must be 32 bytes in base64url; `recado init` writes one to recado.env, or make one with "
    "python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'."
)


def _secret(settings: Settings, _given: Given, _purpose: Purpose) -> Iterator[Problem]:
    if settings.secret_key is not None and decode_key(settings.secret_key) is None:
        yield _problem("SECRET_KEY", f"cannot be used: {_MAKE_A_KEY}")


_ENCODED_KEY: Final = re.compile(rb"[A-Za-z0-9_-]{43}=?")


def decode_key(text: bytes | None) -> bytes | None:
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


def check_opentelemetry(given: Given) -> Iterator[Problem]:
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
