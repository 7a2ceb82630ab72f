import base64
import re
import subprocess
import sys

import pytest

from recado.core.errors import ConfigurationError
from recado.core.queue.crash import CRASH_POINTS
from recado.core.queue.service import Backoff
from recado.settings import InvalidSettings, Purpose, Settings, load_settings, seconds_of_all_attempts, variables

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
ENOUGH = {"RECADO_SECRET_KEY": KEY, "RECADO_PUBLIC_URL": "https://recado.example.com"}


def loaded(purpose: Purpose = "serve", **changes: str) -> Settings:
    return load_settings(ENOUGH | {f"RECADO_{name}": value for name, value in changes.items()}, purpose=purpose)


def refusal(purpose: Purpose = "serve", **changes: str) -> InvalidSettings:
    with pytest.raises(InvalidSettings) as raised:
        loaded(purpose, **changes)
    return raised.value


def blamed(purpose: Purpose = "serve", **changes: str) -> list[str]:
    return [problem.variable.removeprefix("RECADO_") for problem in refusal(purpose, **changes).problems]


class TestWhatIsRead:
    def test_a_key_and_an_address_are_enough_to_serve(self) -> None:
        settings = loaded()
        assert settings.secret_key == bytes(range(32))
        assert (settings.database_url, settings.queue_backend) == ("sqlite:///recado.db", "sqlite")
        assert (settings.quiet_seconds, settings.lease_seconds, settings.worker_concurrency) == (1.5, 30.0, 64)

    def test_fractions_of_seconds_are_allowed(self) -> None:
        assert loaded(QUIET_SECONDS="0.25", LEASE_SECONDS="1.5").quiet_seconds == 0.25

    def test_an_empty_variable_counts_as_not_set(self) -> None:
        assert loaded(QUIET_SECONDS="", SQS_QUEUE_URL=" ") == loaded()

    def test_the_variables_of_others_are_left_alone(self) -> None:
        assert load_settings(ENOUGH | {"PATH": "/bin", "LEASE_SECONDS": "0"}, purpose="serve") == loaded()

    def test_texts_that_look_like_json_stay_texts(self) -> None:
        assert loaded(INTERNAL_API_KEY='{"a": 1}', QUEUE_NAME="null").internal_api_key == '{"a": 1}'

    def test_addresses_lose_the_slash_at_their_end(self) -> None:
        settings = loaded(PUBLIC_URL="https://example.com/bot/", TWILIO_API_URL="http://emulator:9100/")
        assert (settings.public_url, settings.twilio_api_url) == ("https://example.com/bot", "http://emulator:9100")

    def test_the_other_name_of_postgresql_is_understood(self) -> None:
        settings = loaded(DATABASE_URL="postgres://u:p@h/n")
        assert (settings.database_url, settings.queue_backend) == ("postgresql://u:p@h/n", "postgres")
        assert blamed(DATABASE_URL="postgres://h") == ["DATABASE_URL"]

    def test_origins_are_a_list(self) -> None:
        settings = loaded(CORS_ORIGINS="https://app.example/, http://localhost:5173")
        assert settings.allowed_origins == ("https://app.example", "http://localhost:5173")
        assert loaded().allowed_origins == ()

    def test_traces_are_sent_where_they_are_wanted(self) -> None:
        assert (loaded().tracing, loaded(TRACING="1").tracing) == (False, True)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key s3cr3t"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ],
    )
    def test_what_would_keep_traces_from_being_sent_is_told_with_its_variable(self, name: str, value: str) -> None:
        with pytest.raises(InvalidSettings) as raised:
            load_settings(ENOUGH | {"RECADO_TRACING": "1", name: value}, purpose="serve")
        assert [problem.variable for problem in raised.value.problems] == [name]
        assert "s3cr3t" not in str(raised.value)
        assert load_settings(ENOUGH | {name: value}, purpose="serve") == loaded()

    def test_metrics_are_shown_where_they_are_wanted(self) -> None:
        settings = loaded("worker", METRICS_PORT="9464", METRICS_HOST="0.0.0.0")  # noqa: S104 - as in a container
        assert (settings.metrics_port, settings.metrics_host) == (9464, "0.0.0.0")  # noqa: S104
        assert (loaded().metrics_port, loaded().metrics_host) == (0, "127.0.0.1")

    def test_a_port_has_five_digits_at_most(self) -> None:
        assert blamed("worker", METRICS_PORT="65536") == ["METRICS_PORT"]

    def test_the_log_level_may_be_written_in_capitals(self) -> None:
        assert loaded(LOG_LEVEL="WARNING").log_level == "warning"

    def test_settings_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            setattr(loaded(), "lease_seconds", 1)  # noqa: B010 - the type checker would refuse the assignment

    @pytest.mark.parametrize("spelling", [KEY, KEY.rstrip("=")])
    def test_the_key_may_come_without_its_padding(self, spelling: str) -> None:
        assert loaded(SECRET_KEY=spelling).secret_key == bytes(range(32))


class TestWhatIsRequired:
    @pytest.mark.parametrize(
        ("purpose", "missing"),
        [
            ("serve", ["RECADO_PUBLIC_URL", "RECADO_SECRET_KEY"]),
            ("worker", ["RECADO_PUBLIC_URL", "RECADO_SECRET_KEY"]),
            ("cli", ["RECADO_SECRET_KEY"]),
        ],
    )
    def test_what_is_missing_is_named(self, purpose: Purpose, missing: list[str]) -> None:
        with pytest.raises(ConfigurationError) as raised:
            load_settings({}, purpose=purpose)
        assert re.findall(r"RECADO_\w+(?= is not set)", str(raised.value)) == missing

    def test_the_demo_needs_nothing(self) -> None:
        assert load_settings({}, purpose="demo").secret_key is None

    def test_the_sentence_says_how_to_make_a_key(self) -> None:
        with pytest.raises(InvalidSettings) as raised:
            load_settings({}, purpose="cli")
        command = re.search(r"python3 -c '(.+)'", str(raised.value))
        assert command is not None
        made = subprocess.run([sys.executable, "-c", command[1]], capture_output=True, text=True, check=True)
        assert len(loaded(SECRET_KEY=made.stdout).secret_key or b"") == 32

    def test_every_problem_is_told_at_once(self) -> None:
        assert blamed(LEASE_SECONDS="0.5", QUIET_SECONDS="soon", LEESE="1", PUBLIC_URL="ftp://x", SECRET_KEY="x") == [
            "LEESE",
            "QUIET_SECONDS",
            "PUBLIC_URL",
            "SECRET_KEY",
            "LEASE_SECONDS",
        ]


class TestWhatIsRefused:
    def test_an_unknown_variable_with_a_near_name(self) -> None:
        assert "RECADO_LEASE_SECOND is not a setting: did you mean RECADO_LEASE_SECONDS?" in str(
            refusal(LEASE_SECOND="3")
        )

    def test_an_unknown_variable_with_no_near_name(self) -> None:
        assert "did you mean" not in str(refusal(XYZZY="1"))

    @pytest.mark.parametrize(
        "address",
        [
            "recado.example.com",
            "ftp://recado.example.com",
            "https://",
            "https://recado.example.com:port",
            "https://recado.example.com/?a=1",
            "https://recado.example.com/?",
            "https://recado.example.com#top",
            "https://ana:secret@recado.example.com",
            "https://recado.example.com/a b",
            "https://recado.exa\nmple.com",
            "http://recado.example.com",
            "http://192.168.1.2",
            "http://localhost.example.com",
        ],
    )
    def test_a_public_address_twilio_cannot_call(self, address: str) -> None:
        assert blamed(PUBLIC_URL=address) == ["PUBLIC_URL"]

    @pytest.mark.parametrize(
        "address", ["http://localhost:8000", "http://127.0.0.1", "http://127.9.9.9:80/x", "http://[::1]:8000"]
    )
    def test_http_is_fine_on_this_machine(self, address: str) -> None:
        assert loaded(PUBLIC_URL=address).public_url == address

    @pytest.mark.parametrize("key", ["short", "é" * 43, KEY + "A", KEY[:-2], "+/" * 21 + "A="])
    def test_a_key_that_is_not_32_bytes_in_base64url(self, key: str) -> None:
        assert blamed(SECRET_KEY=key) == ["SECRET_KEY"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("LEASE_SECONDS", "0.99"),
            ("QUIET_SECONDS", "-1"),
            ("QUIET_SECONDS", "nan"),
            ("MAX_WAIT_SECONDS", "inf"),
            ("AGENT_TIMEOUT_SECONDS", "0"),
            ("MAX_ATTEMPTS", "0"),
            ("MAX_ATTEMPTS", "2.5"),
            ("WORKER_CONCURRENCY", "0"),
            ("IDLE_MINUTES", "0"),
            ("LOG_LEVEL", "loud"),
            ("TESTING", "perhaps"),
            ("QUEUE_BACKEND", "kafka"),
            ("TWILIO_API_URL", "api.twilio.com"),
            ("CORS_ORIGINS", "*"),
            ("CORS_ORIGINS", "https://app.example/page"),
            ("CORS_ORIGINS", "app.example"),
            ("TRUSTED_PROXIES", "*"),
            ("TRUSTED_PROXIES", "127.0.0.1, proxy"),
        ],
    )
    def test_a_value_that_makes_no_sense(self, name: str, value: str) -> None:
        assert blamed("serve", **{name: value}) == [name]

    @pytest.mark.parametrize("url", ["http://127.0.0.1:6379", "127.0.0.1:6379"])
    def test_a_redis_that_is_none(self, url: str) -> None:
        assert blamed("serve", QUEUE_BACKEND="bullmq", REDIS_URL=url) == ["REDIS_URL"]

    def test_a_queue_name_that_bullmq_takes_apart(self) -> None:
        assert blamed("serve", QUEUE_BACKEND="bullmq", QUEUE_NAME="recado:main") == ["QUEUE_NAME"]

    def test_sqs_without_its_queue(self) -> None:
        assert blamed("serve", QUEUE_BACKEND="sqs") == ["SQS_QUEUE_URL"]

    def test_sqs_at_something_that_is_no_address(self) -> None:
        queue = "https://sqs.sa-east-1.amazonaws.com/1/recado.fifo"
        assert blamed("serve", QUEUE_BACKEND="sqs", SQS_QUEUE_URL=queue, SQS_ENDPOINT_URL="localhost") == [
            "SQS_ENDPOINT_URL"
        ]

    @pytest.mark.parametrize("url", ["postgresql://ana@db", "postgresql://ana@db:port/recado"])
    def test_a_postgresql_without_a_database(self, url: str) -> None:
        [problem] = refusal(DATABASE_URL=url).problems
        assert problem.variable == "RECADO_DATABASE_URL"
        assert "must name a database" in problem.sentence

    @pytest.mark.parametrize(
        ("url", "backend", "right"),
        [("postgresql://ana@db/recado", "sqlite", "postgres"), ("sqlite:///recado.db", "postgres", "sqlite")],
    )
    def test_a_bell_of_the_other_database(self, url: str, backend: str, right: str) -> None:
        [problem] = refusal(DATABASE_URL=url, QUEUE_BACKEND=backend).problems
        assert problem.sentence.endswith(f"use {right}.")

    @pytest.mark.parametrize("url", ["mysql://db/x", "recado.db", "sqlite+aiosqlite:///recado.db"])
    def test_a_database_nobody_knows(self, url: str) -> None:
        assert blamed(DATABASE_URL=url) == ["DATABASE_URL"]

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///x?mode=memory"])
    def test_a_database_that_forgets(self, url: str) -> None:
        assert "must name a file" in str(refusal(DATABASE_URL=url))

    @pytest.mark.parametrize("url", ["sqlite:///x.db?mode=ro", "sqlite:///x.db?", "sqlite:///file:x.db", "sqlite://?x"])
    def test_a_database_with_more_than_a_path(self, url: str) -> None:
        assert "must name a file by its path only" in str(refusal(DATABASE_URL=url))

    def test_a_crash_point_outside_tests(self) -> None:
        assert blamed(CRASH_AT="after_accept") == ["CRASH_AT"]

    def test_a_crash_point_that_is_none(self) -> None:
        assert blamed(CRASH_AT="after_lunch", TESTING="1") == ["CRASH_AT"]

    @pytest.mark.parametrize("point", CRASH_POINTS)
    def test_a_crash_point_in_a_test_is_fine(self, point: str) -> None:
        assert loaded(CRASH_AT=point, TESTING="1").crash_at == point


class TestTheAnswerDeadline:
    def test_it_must_leave_room_for_every_attempt(self) -> None:
        assert blamed(ANSWER_DEADLINE_SECONDS="180") == ["ANSWER_DEADLINE_SECONDS"]
        assert blamed(MAX_ATTEMPTS="5") == ["ANSWER_DEADLINE_SECONDS"]
        assert loaded(AGENT_TIMEOUT_SECONDS="1", MAX_ATTEMPTS="2", ANSWER_DEADLINE_SECONDS="10").max_attempts == 2

    def test_one_attempt_needs_no_wait(self) -> None:
        assert blamed(AGENT_TIMEOUT_SECONDS="10", MAX_ATTEMPTS="1", ANSWER_DEADLINE_SECONDS="10") != []
        assert loaded(AGENT_TIMEOUT_SECONDS="10", MAX_ATTEMPTS="1", ANSWER_DEADLINE_SECONDS="10.1").max_attempts == 1

    def test_the_waits_are_those_of_the_queue(self) -> None:
        class AlwaysTheLongest:
            def random(self) -> float:
                return 1.0

        queued = sum(Backoff().after(failures, AlwaysTheLongest()).total_seconds() for failures in range(5))
        assert seconds_of_all_attempts(Settings(max_attempts=6, agent_timeout_seconds=0)) == pytest.approx(queued)


class TestSecrets:
    def test_none_is_in_the_repr(self) -> None:
        settings = loaded(
            INTERNAL_API_KEY="canary-internal", REDIS_URL="redis://:canary-redis@db/0", DATABASE_URL="sqlite:///canary"
        )
        assert "canary" not in repr(settings)
        assert "secret_key" not in repr(settings)

    def test_none_is_in_the_problems(self) -> None:
        assert "canary" not in str(refusal(SECRET_KEY="canary", INTERNAL_API_KEY="canary", LEASE_SECONDS="0"))


def test_settings_are_imported_without_the_libraries_that_read_them() -> None:
    program = "import sys, recado.settings; print({'pydantic', 'sqlalchemy', 'asyncio'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_every_variable_begins_with_the_prefix() -> None:
    assert "RECADO_DATABASE_URL" in variables()
    assert all(name == f"RECADO_{setting.upper()}" for name, setting in variables().items())


class TestTheMailServer:
    def test_is_read(self) -> None:
        settings = loaded(SMTP_URL="smtp://recado:p%40ss@mail.example.com:587", SMTP_FROM="Recado <r@example.com>")
        assert (settings.smtp_url, settings.smtp_from) == (
            "smtp://recado:p%40ss@mail.example.com:587",
            "Recado <r@example.com>",
        )
        assert "p%40ss" not in repr(settings)

    @pytest.mark.parametrize(
        "url", ["mail.example.com", "https://mail.example.com", "smtp://", "smtp://host:x", "smtp://a/b"]
    )
    def test_has_an_address(self, url: str) -> None:
        assert blamed(SMTP_URL=url, SMTP_FROM="r@example.com") == ["SMTP_URL"]

    @pytest.mark.parametrize("sender", ["Recado", "r@", "@example.com", "Recado <>", "é@example.com"])
    def test_has_a_sender(self, sender: str) -> None:
        assert blamed(SMTP_URL="smtps://mail.example.com", SMTP_FROM=sender) == ["SMTP_FROM"]

    def test_needs_a_sender(self) -> None:
        assert blamed(SMTP_URL="smtps://mail.example.com") == ["SMTP_FROM"]
