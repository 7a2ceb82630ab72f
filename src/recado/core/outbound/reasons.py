"""Why a server could not be called, in words: the classes of a library's errors tell people nothing."""

import ssl
from collections.abc import Iterator

import httpx2

_NAMES = frozenset({"the name could not be resolved", "too many names of its domain wait to be resolved"})


def reason_of(error: httpx2.HTTPError) -> str:
    """Return a few words. The text of an error is not shown: it may hold a URL."""
    for each in _chain(error):
        match each:
            case ssl.SSLCertVerificationError():
                return "its certificate is not valid"
            case ssl.SSLError():
                return "TLS failed"
            case ConnectionRefusedError():
                return "the connection was refused"
            case ConnectionError() | httpx2.RemoteProtocolError() | httpx2.ReadError() | httpx2.WriteError():
                return "the connection broke"
            case _ if str(each) in _NAMES:
                return "its name was not found"
    return "no connection"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error was caused by, the first cause first."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    yield from reversed(found)
