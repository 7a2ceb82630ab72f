"""Brokers of a test run: one server each, wiped between tests."""

from collections.abc import Iterator

import pytest

from tests.support.servers.brokers import SqsProcess, moto_sqs, strict_sqs


@pytest.fixture(scope="session")
def moto_server() -> Iterator[SqsProcess]:
    with moto_sqs() as server:
        yield server


@pytest.fixture(scope="session")
def strict_server() -> Iterator[SqsProcess]:
    """It repeats and delays wake-ups; it loses none, or tests would wait for half a minute."""
    with strict_sqs(repeat=0.2, delay=0.3) as server:
        yield server


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set AWS's own variables to credentials that are valid nowhere."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
