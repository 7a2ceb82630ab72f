from collections.abc import Iterator

import httpx2
import pytest
from twilio.rest import Client

from recado.emulator.app import running
from recado.emulator.phone.client import EmulatorClient
from recado.emulator.settings import ApiKey, EmulatorSettings, Policies
from tests.emulator.application import Application, running_application
from tests.emulator.real import RebasedHttpClient, client_over
from tests.emulator.world import KEY, KEY_SECRET, OTHER_SID, OTHER_TOKEN, SID, TOKEN


@pytest.fixture(scope="session")
def emulator_url() -> Iterator[str]:
    settings = EmulatorSettings(
        accounts={SID: TOKEN, OTHER_SID: OTHER_TOKEN},
        api_keys={KEY: ApiKey(SID, KEY_SECRET)},
        policies=Policies(callback_delay=0.002),
        seed=7,
    )
    with running(settings) as url:
        yield url


@pytest.fixture
def emulator(emulator_url: str) -> EmulatorClient:
    return EmulatorClient(emulator_url)


@pytest.fixture(autouse=True)
def _as_at_the_start(emulator: EmulatorClient) -> None:
    """Reset the one server of all tests, so that no test sees the data of another."""
    emulator.reset()


@pytest.fixture
def rebased(emulator_url: str) -> Iterator[RebasedHttpClient]:
    http = RebasedHttpClient(emulator_url)
    yield http
    http.close()


@pytest.fixture
def twilio(rebased: RebasedHttpClient) -> Client:
    return client_over(rebased)


@pytest.fixture
def http(emulator_url: str) -> Iterator[httpx2.Client]:
    """A client without Twilio's library, to test the raw HTTP answers."""
    with httpx2.Client(base_url=emulator_url, auth=(SID, TOKEN)) as client:
        yield client


@pytest.fixture
def application() -> Iterator[Application]:
    with running_application() as application:
        yield application
