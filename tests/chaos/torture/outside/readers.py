"""Programs of the shops that read what happens over the API, and come again whenever their connection ends.

One follows the stream and names its last event when it comes again, one asks for pages after its last event. Each notes
every event that it was given, in order and as often as it was given it.
"""

import json
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final

PATIENCE_SECONDS: Final = 5.0
"""A connection that is silent for so long is given up."""
PAGE: Final = 20
_PAUSE: Final = (0.1, 1.0)
_LEAVES: Final = 0.02
"""The share of events after which the reader of a stream hangs up by itself."""


class EventReader(threading.Thread):
    """Reads one shop's events from the first one on."""

    kind = ""

    def __init__(self, shop: str, port: int, key: str, seed: int) -> None:
        super().__init__(name=f"torture-{self.kind}-{shop}", daemon=True)
        self.shop = shop
        self.heard: list[str] = []
        self.connections = 0
        self.failure: Exception | None = None
        self._port, self._key = port, key
        self._chance = random.Random(f"{self.name} {seed}")  # noqa: S311 - no secret
        self._stopping = threading.Event()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._read()
                except (OSError, HTTPException, json.JSONDecodeError):
                    """The server was killed, or is slow: come again."""
                self._stopping.wait(self._chance.uniform(*_PAUSE))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear of it
            self.failure = error

    def close(self) -> None:
        self._stopping.set()
        self.join()

    def _read(self) -> None:
        """Read for a while, over one connection."""
        raise NotImplementedError

    def _page(self) -> None:
        """Read what comes after the last event, as much as one page holds."""
        after = f"&after={self.heard[-1]}" if self.heard else ""
        with closing(self._connection()) as connection:
            answer = self._asked(connection, f"/api/v1/events?limit={PAGE}{after}", {})
            if answer.status == 200:
                self.heard += [str(item["id"]) for item in json.loads(answer.read())["items"]]

    def _connection(self) -> HTTPConnection:
        self.connections += 1
        return HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)

    def _asked(self, connection: HTTPConnection, path: str, headers: Mapping[str, str]) -> HTTPResponse:
        connection.request("GET", path, headers={"Authorization": f"Bearer {self._key}", **headers})
        return connection.getresponse()


class PageReader(EventReader):
    """Asks for pages."""

    kind = "pages"

    def _read(self) -> None:
        self._page()


class StreamReader(EventReader):
    """Follows the stream. A stream without a last event begins now, so the first events come from a page."""

    kind = "stream"

    def _read(self) -> None:
        if not self.heard:
            self._page()
            return
        with closing(self._connection()) as connection:
            answer = self._asked(connection, "/api/v1/events/stream", {"Last-Event-ID": self.heard[-1]})
            if answer.status != 200:
                return
            for id_ in _ids(answer):
                self.heard.append(id_)
                if self._stopping.is_set() or self._chance.random() < _LEAVES:
                    return


def _ids(answer: HTTPResponse) -> Iterator[str]:
    """Yield the id of each event that has arrived whole."""
    id_ = ""
    while line := answer.readline():
        match line.rstrip(b"\r\n").partition(b": "):
            case (b"id", _, value):
                id_ = value.decode()
            case (b"", b"", b"") if id_:
                yield id_
                id_ = ""
