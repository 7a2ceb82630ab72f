"""A server that speaks as a language model does, and is as moody as one: slow, broken, gone.

It answers with the order numbers of the messages it is asked to answer now, so that every reply can be matched with
what it replies to. It remembers nothing, so it may be killed; its journal is appended to.

    python -m tests.chaos.torture.outside.model PORT JOURNAL SEED CALM

While the file CALM exists it has no moods.
"""

import json
import random
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, TextIO

from recado.core.clock import SystemClock
from tests.chaos.torture.outside.texts import PERSON, POISON, numbers_in

_NOW = re.compile(r"<now>")
_HANG_SECONDS = 20.0
_HANDS_OVER = 0.7
_MOODS = (("hang", 0.01), ("500", 0.03), ("rubbish", 0.02), ("reset", 0.02))


class Model:
    """What is said to what, and what is written down about it."""

    def __init__(self, journal: TextIO, seed: str, calm: Path) -> None:
        self._journal = journal
        self._seed = seed
        self._calm = calm
        self._asked = 0
        self._lock = threading.Lock()

    def mood(self, asked: str) -> tuple[str, float]:
        """How the next answer goes, and how long it takes.

        Who wants a person does not get one every time, so that a conversation that was given back can be answered.
        """
        with self._lock:
            self._asked += 1
            chance = random.Random(f"{self._seed}/{asked}/{self._asked}")  # noqa: S311 - no secret
        takes = chance.uniform(0.05, 0.8)
        fine = "hand over" if PERSON in asked and chance.random() < _HANDS_OVER else "answer"
        if self._calm.exists():
            return fine, min(takes, 0.2)
        drawn = chance.random()
        for mood, share in _MOODS:
            drawn -= share
            if drawn < 0:
                return mood, takes
        return fine, takes

    def note(self, numbers: list[str], mood: str) -> None:
        record = {"event": "asked", "at": SystemClock().now().timestamp(), "numbers": numbers, "mood": mood}
        with self._lock:
            self._journal.write(json.dumps(record) + "\n")
            self._journal.flush()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: ClassVar[Model]

    def do_POST(self) -> None:
        """Chat Completions, whatever the path."""
        asked = _latest(json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0")))))
        numbers = numbers_in(asked)
        mood, takes = self.model.mood(asked)
        mood = "400" if POISON in asked else mood
        self.model.note(numbers, mood)
        time.sleep(takes)
        match mood:
            case "hang":
                time.sleep(_HANG_SECONDS)
                self._say(500, {"error": {"message": "too late"}})
            case "400" | "500":
                self._say(int(mood), {"error": {"message": "no"}})
            case "rubbish":
                self._say(200, {"choices": "none"})
            case "reset":
                self.close_connection = True
            case _:
                self._say(200, _completion(numbers, hands_over=mood == "hand over"))

    def _say(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The journal says it all."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """The process that asked was killed."""


def _latest(request: dict[str, Any]) -> str:
    """What is to be answered now: the last thing the user side said, after the time of day; history comes before."""
    said = [str(message["content"]) for message in request["messages"] if message["role"] == "user"]
    return _NOW.split(said[-1])[-1] if said else ""


def _completion(numbers: list[str], *, hands_over: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": f"Anotado: {', '.join(numbers) or 'nada'}."}
    if hands_over:
        call = {"name": "hand_off", "arguments": json.dumps({"reason": "asked for a person"})}
        message = {"role": "assistant", "content": None}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "scripted"}
    return {**head, "choices": [choice], "usage": usage}


def main(port: str, journal: str, seed: str, calm: str) -> None:
    """Serve until killed."""
    with Path(journal).open("a", encoding="utf-8") as file:
        _Handler.model = Model(file, seed, Path(calm))
        with _Server(("127.0.0.1", int(port)), _Handler) as server:
            server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
