"""Whose connections are kept longer than those of strangers."""

import pytest

from recado.entrypoints.http.server import proves_identity


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/webhooks/twilio/messages", 200, True),
        ("/webhooks/twilio/messages", 403, False),
        ("/internal/tick", 200, True),
        ("/api/v1/conversations", 200, True),
        ("/api/v1/conversations", 401, False),
        ("/api/v1/passwords/reset", 202, False),
        ("/healthz", 200, False),
        ("/docs", 200, False),
        ("/openapi.json", 200, False),
    ],
)
def test_those_of_callers_who_have_proved_themselves(path: str, status: int, expected: bool) -> None:
    assert proves_identity(path, status) is expected
