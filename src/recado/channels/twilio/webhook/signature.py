"""Check whether a webhook was signed with an account's token (`X-Twilio-Signature`).

The signature is HMAC-SHA1, keyed with the auth token, over the public URL followed by every field's name and value,
sorted. Every webhook needs it, so it is a few calls into C instead of the SDK's validator; the tests compare the two.

The algorithm is never taken from the request: a header that names another one would let the sender choose.
"""

import binascii
import hmac
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain

_DEFAULT_PORTS = {"https": 443, "http": 80}


def is_signed_by(token: str, url: str, params: Iterable[tuple[str, str]], signature: str) -> bool:
    """Return whether `token` signed `params` (the decoded fields, repeats and blanks kept) for `url`, with or without
    port.
    """
    return first_matching_token((token,), url_variants(url), params, signature) is not None


def first_matching_token(
    tokens: Sequence[str], urls: Sequence[str], params: Iterable[tuple[str, str]], signature: str
) -> int | None:
    """Return the index of the first token that signed this, or None. `urls` come from `candidate_urls`.

    An account has two tokens while one is being rotated, and an orphan's account may be known to several owners.
    """
    given = signature.encode("utf-8", "surrogatepass")
    tail = _signed_fields(params)
    for index, token in enumerate(tokens):
        if not token:
            continue  # Anybody can sign with an empty key.
        key = token.encode("utf-8")
        for url in urls:
            message = url.encode("utf-8", "surrogateescape") + tail
            expected = binascii.b2a_base64(hmac.digest(key, message, "sha1"), newline=False)
            if hmac.compare_digest(expected, given):
                return index
    return None


def sign(token: str, url: str, params: Iterable[tuple[str, str]]) -> str:
    """Return Twilio's signature for exactly this URL."""
    message = url.encode("utf-8", "surrogateescape") + _signed_fields(params)
    return binascii.b2a_base64(hmac.digest(token.encode("utf-8"), message, "sha1"), newline=False).decode("ascii")


def candidate_urls(public_base: str, raw_path: bytes, raw_query: bytes = b"") -> tuple[str, ...]:
    """Return every URL that Twilio may have signed for a request that reached us with this target.

    They are built from the configured public URL (which may have a path) and the undecoded path and query: behind a
    proxy nothing else in the request says what Twilio called.
    """
    return _candidates(public_base, raw_path, raw_query)


@lru_cache(maxsize=1024)
def _candidates(public_base: str, raw_path: bytes, raw_query: bytes) -> tuple[str, ...]:
    target = raw_path + b"?" + raw_query if raw_query else raw_path
    return url_variants(public_base.rstrip("/") + target.decode("utf-8", "surrogateescape"))


@lru_cache(maxsize=1024)
def url_variants(url: str) -> tuple[str, ...]:
    """Return the URL without any port and with an explicit port, the given form first.

    Twilio's documentation says that a configured port is signed. Its backend does not always do so, and the official
    libraries accept both. Userinfo and fragment are never signed.
    """
    scheme, separator, rest = url.partition("#")[0].partition("://")
    end = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
    authority, target = rest[:end].rpartition("@")[2], rest[end:]
    host, port = _host_and_port(authority)
    explicit = port or str(_DEFAULT_PORTS.get(scheme.lower(), 80))
    bare, full = (f"{scheme}{separator}{it}{target}" for it in (host, f"{host}:{explicit}"))
    return (full, bare) if port else (bare, full)


def _host_and_port(authority: str) -> tuple[str, str]:
    """Split `host`, `host:8443`, `[::1]` or `[::1]:8443` at the colon of the port."""
    host, separator, port = authority.rpartition(":")
    if not separator or not port.isdecimal():
        return authority.removesuffix(":"), ""
    return host, port


def _signed_fields(params: Iterable[tuple[str, str]]) -> bytes:
    fields = "".join(chain.from_iterable(sorted(set(params))))  # Twilio signs a field that came twice once.
    return fields.encode("utf-8", "surrogateescape")
