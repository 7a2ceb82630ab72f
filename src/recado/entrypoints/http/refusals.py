"""The complete answers to requests that the server refuses."""

from typing import Final


def _refusal(status: bytes, sentence: bytes) -> bytes:
    return (
        b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
        % (status, len(sentence), sentence)
    )


MALFORMED: Final = _refusal(b"400 Bad Request", b"this is not an HTTP/1.1 request\n")
TOO_SLOW: Final = _refusal(b"408 Request Timeout", b"the request did not arrive in time\n")
BODY_TOO_LARGE: Final = _refusal(b"413 Content Too Large", b"the body is too large\n")
HEAD_TOO_LARGE: Final = _refusal(
    b"431 Request Header Fields Too Large", b"the URL and headers are too large or too many\n"
)
OVERLOADED: Final = _refusal(b"503 Service Unavailable", b"the server receives too much data; try again\n")
