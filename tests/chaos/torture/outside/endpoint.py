"""A server of the shops that is sent their events, and is as moody as servers are: slow, broken, gone.

What it is sent it writes down before it answers, also where it then answers an error, or nothing. It remembers nothing,
so it may be killed; its journal is appended to.

    python -m tests.chaos.torture.outside.endpoint PORT JOURNAL SECRETS SEED CALM

SECRETS is a file with the secret that signs what each shop is sent. While the file CALM exists it has no moods.
"""

import base64
import hashlib
import hmac
import json
import random
import sys
import threading
import time
from collections.abc import Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Final, TextIO

from recado.core.clock import SystemClock

HANG_SECONDS: Final = 20.0
"""Longer than Recado waits for an answer."""
PHASE_SECONDS: Final = (2.0, 10.0)
_PHASES: Final = {"well": 30, "moody": 40, "failing": 10, "hanging": 8, "slow": 12}
_MOODS: Final = {
    "take": 45,
    "slow": 15,
    "500": 10,
    "503": 3,
    "hang": 3,
    "take and hang": 3,
    "take and 500": 8,
    "301": 2,
}
_MOODS_OF_THE_WIRE: Final = {"take and reset": 6, "take and cut": 4, "reset": 1}
_GONE: Final = 0.004
"""The share of answers that are 410, in any phase but a good one."""
_ANSWERS: Final = {"500": 500, "503": 503, "301": 301, "gone": 410, "take and 500": 500, "hang": 500}


class Moods:
    """How the next answer goes. There are times in which nothing goes well."""

    def __init__(self, seed: str, calm: Path) -> None:
        # A server that comes back is in another mood; which one, the time decides.
        self._chance = random.Random(f"{seed}/{time.monotonic_ns()}")  # noqa: S311 - no secret
        self._calm = calm
        self._phase, self._until = "well", 0.0
        self._lock = threading.Lock()

    def next(self) -> tuple[str, float]:
        """Return the mood of the next answer, and the seconds that it takes."""
        with self._lock:
            if self._calm.exists():
                return "take", 0.0
            if time.monotonic() >= self._until:
                self._phase = self._drawn(_PHASES)
                self._until = time.monotonic() + self._chance.uniform(*PHASE_SECONDS)
            return self._mood(), self._chance.uniform(0.2, 2.0)

    def _mood(self) -> str:
        if self._phase != "well" and self._chance.random() < _GONE:
            return "gone"
        match self._phase:
            case "moody":
                return self._drawn({**_MOODS, **_MOODS_OF_THE_WIRE})
            case "failing":
                return "500"
            case "hanging":
                return self._drawn({"hang": 1, "take and hang": 1})
            case "slow":
                return "slow"
        return "take"

    def _drawn(self, weights: Mapping[str, int]) -> str:
        return self._chance.choices(list(weights), list(weights.values()))[0]


class Received:
    """What was received, written down."""

    def __init__(self, journal: TextIO, secrets: Mapping[str, str]) -> None:
        self._journal = journal
        self._secrets = {shop: base64.b64decode(secret.removeprefix("whsec_")) for shop, secret in secrets.items()}
        self._lock = threading.Lock()

    def note(self, shop: str, headers: Message, body: bytes, mood: str) -> None:
        """Write an event down, and whether it is signed and will be answered as taken."""
        record = {
            "event": "received",
            "at": SystemClock().now().timestamp(),
            "shop": shop,
            "id": str(json.loads(body)["id"]),
            "mood": mood,
            "taken": mood.startswith(("take", "slow")),
            "signed": self._is_signed(shop, headers, body),
        }
        with self._lock:
            self._journal.write(json.dumps(record) + "\n")
            self._journal.flush()

    def _is_signed(self, shop: str, headers: Message, body: bytes) -> bool:
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(self._secrets[shop], content, hashlib.sha256)).decode()
        return headers["webhook-signature"] == f"v1,{expected}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    moods: ClassVar[Moods]
    received: ClassVar[Received]

    def do_POST(self) -> None:
        """Take an event. The path is the shop's name."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        mood, takes = self.moods.next()
        if mood == "reset":
            self.close_connection = True
            return
        self.received.note(self.path.strip("/"), self.headers, body, mood)
        match mood:
            case "slow":
                time.sleep(takes)
            case "hang" | "take and hang":
                time.sleep(HANG_SECONDS)
            case "take and reset":
                self.close_connection = True
                return
            case "take and cut":
                self._cut()
                return
        self._say(_ANSWERS.get(mood, 204))

    def _cut(self) -> None:
        """Say 200 and end in the middle of the answer."""
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"well")
        self.close_connection = True

    def _say(self, status: int) -> None:
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "2")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """The journal says it all."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """The process that sent it was killed."""


def main(port: str, journal: str, secrets: str, seed: str, calm: str) -> None:
    """Serve until killed."""
    with Path(journal).open("a", encoding="utf-8") as file:
        _Handler.moods = Moods(seed, Path(calm))
        _Handler.received = Received(file, json.loads(Path(secrets).read_text()))
        with _Server(("127.0.0.1", int(port)), _Handler) as server:
            server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
