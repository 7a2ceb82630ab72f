import io
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from recado.core.clock import FrozenClock
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.errors import ConfigurationError, InvalidInput
from recado.core.telemetry import configure_logging, scrub

PHONE = "+5511987654321"
CANARY = "canary"
TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = "AC" + TOKEN


class Screen(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Logs:
    """The log as text and as the fields of its lines."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[Mapping[str, object]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def last(self) -> Mapping[str, object]:
        return self.lines[-1]


@pytest.fixture
def logs(clock: FrozenClock) -> Iterator[Logs]:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    stream = io.StringIO()
    configure_logging("info", stream, clock)
    yield Logs(stream)
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def log(logs: Logs) -> structlog.typing.FilteringBoundLogger:
    assert logs.text == ""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger("recado.test")
    return logger


def scrubbed(**fields: object) -> str:
    return json.dumps(scrub(None, "info", {"event": "e", **fields}), ensure_ascii=False)


class TestALogLine:
    def test_it_is_one_json_object_with_the_time_of_the_clock(
        self, logs: Logs, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        log.info("turn.claimed", turn=UUID(int=7), waited=1.5, tries=[1, None, True], why="two\nlines")
        assert logs.lines == [
            {
                "at": "2026-03-14T12:00:00.000+00:00",
                "level": "info",
                "event": "turn.claimed",
                "logger": "recado.test",
                "turn": "00000000-0000-0000-0000-000000000007",
                "waited": 1.5,
                "tries": [1, None, True],
                "why": "two\nlines",
            }
        ]

    def test_what_is_below_the_level_is_not_even_processed(
        self, logs: Logs, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        class Untouchable:
            def __str__(self) -> str:
                raise AssertionError("somebody looked")

        log.debug("quiet %s", Untouchable(), value=Untouchable())
        assert logs.text == ""

    def test_every_line_has_the_context(self, logs: Logs, log: structlog.typing.FilteringBoundLogger) -> None:
        with structlog.contextvars.bound_contextvars(trace_id=TOKEN):
            log.info("x")
        assert logs.last["trace_id"] == TOKEN

    def test_other_libraries_go_the_same_way(self, logs: Logs) -> None:
        library = logging.getLogger("a.library")  # A logger whose level no earlier test has changed.
        library.info("call from %s", PHONE)
        library.debug("hidden by the level")
        assert [(line["logger"], line["level"], line["event"]) for line in logs.lines] == [
            ("a.library", "info", "call from +…4321")
        ]

    def test_a_terminal_gets_a_line_for_people(self, logs: Logs, clock: FrozenClock) -> None:
        screen = Screen()
        configure_logging("info", screen, clock)
        problem = InvalidInput(f"{PHONE} is a problem")
        structlog.get_logger("recado.test").error("turn.failed", sender=PHONE, body=CANARY, exc_info=problem)
        assert "turn.failed" in screen.getvalue()
        assert "InvalidInput: +…4321 is a problem" in screen.getvalue()
        assert PHONE not in screen.getvalue()
        assert CANARY not in screen.getvalue()
        assert logs.text == ""

    def test_a_closed_stream_raises_nothing(self, logs: Logs, clock: FrozenClock) -> None:
        stream = io.StringIO()
        configure_logging("info", stream, clock)
        stream.close()
        structlog.get_logger("recado.test").info("into the void")
        assert logs.text == ""

    def test_an_unknown_level_is_refused(self, clock: FrozenClock) -> None:
        with pytest.raises(ConfigurationError, match="RECADO_LOG_LEVEL"):
            configure_logging("loud", io.StringIO(), clock)


def test_whole_urls_of_other_libraries_are_not_logged(logs: Logs) -> None:
    logging.getLogger("httpx2").info("HTTP Request: POST https://fn.example/turn?code=s3cr3t")
    logging.getLogger("opentelemetry.util.re").warning("Header format invalid! x-key s3cr3t")
    assert "s3cr3t" not in logs.text


class TestPhoneNumbers:
    @pytest.mark.parametrize(
        "written",
        [
            PHONE,
            f"whatsapp:{PHONE}",
            "+55 11 98765-4321",
            "+55 (11) 98765.4321",
            "From=whatsapp%3A%2B5511987654321&x",
            "%2b55%2011%2098765%204321",
            "5511987654321",
            "whatsapp:5511987654321",
        ],
    )
    def test_keep_their_last_four_digits_only(self, written: str) -> None:
        told = scrubbed(sender=written)
        assert "+…4321" in told
        assert "98765" not in told

    @given(
        digits=st.from_regex(r"[0-9]{8,15}", fullmatch=True), around=st.sampled_from(["%s", "x%sy", "<%s>", "['%s']"])
    )
    def test_are_never_logged_whole(self, digits: str, around: str) -> None:
        assert digits not in scrubbed(sender=around % f"+{digits}")

    @pytest.mark.parametrize(
        "harmless",
        [
            "2026-03-14T12:00:00.000000+00:00",
            "0192f7a0-0000-7000-8000-123456789012",
            "SM" + "1" * 32,
            "0.12345678901234",
            "error 63016, attempt 3",
            "+1234567",
        ],
    )
    def test_are_not_found_where_there_are_none(self, harmless: str) -> None:
        assert harmless in scrubbed(value=harmless)

    def test_are_masked_in_every_corner(self) -> None:
        told = scrubbed(event=f"from {PHONE}", deep={"list": [(PHONE, {PHONE: {PHONE}})]}, error=ValueError(PHONE))
        assert "98765" not in told


class TestTextsAndSecrets:
    @pytest.mark.parametrize(
        "key",
        [
            *("body", "Body", "text", "message_body", "token", "auth_token", "AuthToken", "password", "signature"),
            *(
                "X-Twilio-Signature",
                "authorization",
                "Authorization",
                "api_key",
                "secret_key",
                "WaId",
                "cookie",
                "form",
            ),
        ],
    )
    def test_are_dropped_with_their_key(self, key: str) -> None:
        assert scrubbed(**{key: CANARY}) == '{"event": "e"}'
        assert CANARY not in scrubbed(headers={key: CANARY}, items=[{key: CANARY}])

    @pytest.mark.parametrize("key", ["context", "input_tokens", "text_length", "body_bytes", "lane_key", "author"])
    def test_keys_that_are_only_similar_stay(self, key: str) -> None:
        assert CANARY in scrubbed(**{key: CANARY})

    @pytest.mark.parametrize(
        "sentence",
        [
            f"Incoming(text='{CANARY} it\\'s me', kind='text')",
            f'{{"body": "{CANARY}", "n": 1}}',
            f"Body={CANARY}+there&To=x",
            f"the body: {CANARY}, and {CANARY}",
            f"authorization: Basic {CANARY}",
            f"sent Bearer {CANARY}",
            f"auth_token={CANARY}",
        ],
    )
    def test_are_hidden_inside_sentences(self, sentence: str) -> None:
        assert CANARY not in scrubbed(event=sentence)

    def test_a_token_that_stands_alone_is_hidden_but_ids_are_not(self) -> None:
        assert TOKEN not in scrubbed(value=f"tried {TOKEN}")
        assert ACCOUNT in scrubbed(value=ACCOUNT)

    def test_objects_are_logged_as_their_repr_without_their_texts(self) -> None:
        @dataclass(frozen=True)
        class Incoming:
            text: str
            kind: str

        told = scrubbed(message=Incoming(CANARY, "image"))
        assert CANARY not in told
        assert "image" in told

    def test_bytes_are_counted(self) -> None:
        assert scrubbed(raw=CANARY.encode()) == '{"event": "e", "raw": "<6 bytes>"}'

    def test_a_thing_that_contains_itself_ends(self) -> None:
        endless: list[object] = []
        endless.append(endless)
        assert "<list>" in scrubbed(value=endless)


class TestExceptions:
    def told(self, logs: Logs, error: BaseException) -> str:
        try:
            raise error
        except type(error):
            structlog.get_logger("recado.test").exception("it.failed")
        assert CANARY not in logs.text
        assert PHONE not in logs.text
        return str(logs.last["exception"])

    def test_are_logged_with_their_type_and_place(self, logs: Logs) -> None:
        told = self.told(logs, ValueError("too long"))
        assert told.startswith("ValueError: too long\n")
        assert "test_telemetry.py:" in told
        assert " in told" in told

    def test_of_ours_keep_their_sentence(self, logs: Logs) -> None:
        assert "InvalidInput: '+…4321' is not an address" in self.told(
            logs, InvalidInput(f"{PHONE!r} is not an address")
        )

    def test_of_the_system_keep_their_sentence(self, logs: Logs) -> None:
        assert "No such file: 'x.db'" in self.told(logs, FileNotFoundError(2, "No such file", "x.db"))

    @pytest.mark.parametrize(
        "error",
        [
            KeyError(CANARY),
            ValueError(f"invalid literal for int() with base 10: '{CANARY} it\\'s'"),
            ValueError(f"cannot read {CANARY.encode()!r}"),
            ValueError(f"1 validation error\n  input_value={CANARY}"),
            ValueError(f"can't parse body={CANARY}"),
            ExceptionGroup("several", [KeyError(CANARY), ExceptionGroup("more", [ValueError(f"'{CANARY}'")])]),
        ],
    )
    def test_of_others_quote_nothing(self, logs: Logs, error: Exception) -> None:
        self.told(logs, error)

    def test_are_logged_with_their_cause(self, logs: Logs) -> None:
        error = RuntimeError(f"no number {PHONE}")
        error.__cause__ = KeyError(CANARY)
        told = self.told(logs, error)
        assert "RuntimeError: no number +…4321" in told
        assert "from:\nKeyError: '…'" in told

    def test_of_the_database_contain_no_parameters(self, logs: Logs) -> None:
        engine = create_engine("sqlite://", module=sqlite_module())
        with engine.connect() as connection, pytest.raises(Exception, match="no such table") as raised:
            connection.execute(text("INSERT INTO messages VALUES (:what)"), {"what": CANARY})
        engine.dispose()
        assert "no such table: messages" in self.told(logs, raised.value)

    def test_of_other_libraries_go_the_same_way(self, logs: Logs) -> None:
        logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=KeyError(CANARY))
        assert CANARY not in logs.text
        assert "KeyError: '…'" in str(logs.last["exception"])
