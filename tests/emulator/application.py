"""An application of Twilio's customer, reduced to what tests ask: what did it receive, and what shall it answer."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from tests.support.patience import PATIENCE

EMPTY_TWIML = b"<Response/>"


@dataclass(frozen=True)
class Received:
    path: str
    headers: Mapping[str, str]
    pairs: list[tuple[str, str]]

    @property
    def form(self) -> dict[str, str]:
        return dict(self.pairs)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    content_type: str = "text/xml"
    body: bytes = EMPTY_TWIML


class Application:
    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, Answer] = {}
        self.gate = threading.Event()
        """Closed, it holds every answer; requests are recorded all the same."""
        self.gate.set()
        self._news = threading.Condition()
        self.url = ""

    def answer(self, path: str, answer: Answer) -> None:
        self.answers[path] = answer

    def take(self, request: Received) -> Answer:
        with self._news:
            self.received.append(request)
            self._news.notify_all()
        self.gate.wait(PATIENCE)
        return self.answers.get(request.path, Answer())

    def wait_for(self, number: int) -> list[Received]:
        with self._news:
            assert self._news.wait_for(lambda: len(self.received) >= number, PATIENCE), self.received
            return list(self.received)


@contextmanager
def running_application() -> Iterator[Application]:
    application = Application()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            answer = application.take(_received(self.path, self.headers, raw))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        application.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield application
        finally:
            application.gate.set()
            server.shutdown()
            thread.join(PATIENCE)


def _received(path: str, headers: Message, raw: bytes) -> Received:
    return Received(path, dict(headers.items()), parse_qsl(raw.decode(), keep_blank_values=True))
