"""A line between two servers that can be cut, or go silent, at the worst moment."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

_CHUNK = 65_536


class Proxy:
    """Forwards what comes to its port; `lose_the_answer_to` cuts the line once, when an answer has come and before it
    is passed on."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._fatal: bytes | None = None
        self._muting: bytes | None = None
        self._speaks = threading.Event()
        self._speaks.set()
        self.cut = 0
        self.heard = bytearray()
        """Every request that was passed on."""
        self.muted = threading.Event()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def lose_the_answer_to(self, words: bytes) -> None:
        """The next request that holds these words is passed on; its answer gets lost, and the connection with it."""
        self._fatal = words

    def hold_the_answer_to(self, words: bytes) -> None:
        """Pass on the next request that holds these words; hold all answers from then on until `answer_again`."""
        self._muting = words

    def stop_answering(self) -> None:
        """Nothing is passed on to the server, nor back: it is frozen, and its connections stay open."""
        self._speaks.clear()

    def answer_again(self) -> None:
        """Pass on what has been held, and whatever comes."""
        self._speaks.set()

    def serve(self) -> None:
        """Until closed; a thread for each direction of each connection."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                doomed = threading.Event()
                for step in (self._requests, self._answers):
                    threading.Thread(target=step, args=(client, server, doomed), daemon=True).start()

    def close(self) -> None:
        self.answer_again()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _requests(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError), closing(server):
            while data := client.recv(_CHUNK):
                self.heard += data
                if self._fatal is not None and self._fatal in data:
                    self._fatal = None
                    doomed.set()
                if self._muting is not None and self._muting in data:
                    self._muting = None
                    server.sendall(data)
                    self._speaks.clear()
                    self.muted.set()
                    continue
                self._speaks.wait()
                server.sendall(data)

    def _answers(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError), closing(client):
            while data := server.recv(_CHUNK):
                if doomed.is_set():
                    self.cut += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                self._speaks.wait()
                client.sendall(data)


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """A line to a port of this machine."""
    proxy = Proxy(("127.0.0.1", port))
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
