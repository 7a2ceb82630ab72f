"""The stored payloads, as they come over the wire."""

from pathlib import Path

from recado.channels.twilio.webhook.form import Pairs, parse

PAYLOADS = Path(__file__).parent / "payloads"


def raw(name: str) -> bytes:
    """The body of a stored request."""
    [path] = PAYLOADS.rglob(f"{name}.form")
    return path.read_bytes().rstrip(b"\n")


def pairs(name: str, **changed: str | None) -> Pairs:
    """Its fields; a keyword changes one, None takes it away."""
    fields = parse(raw(name))
    assert isinstance(fields, tuple)
    kept = {**dict(fields), **changed}
    return tuple((field, value) for field, value in kept.items() if value is not None)
