"""A server over a database of one organisation, called without a socket."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest
from argon2 import PasswordHasher

from recado.bootstrap import Container
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.values import AccountSid
from recado.channels.twilio.webhook import form as forms
from recado.channels.twilio.webhook.signature import sign
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.entrypoints.api.app import build_app
from recado.entrypoints.worker import close_container
from recado.identity.owners import OwnerService, Registration
from recado.identity.passwords import Passwords
from recado.identity.principal import operator_of
from recado.settings import Settings

PUBLIC = "https://recado.example"


ACCOUNT, TOKEN, OURS, ANA = "AC" + "a" * 32, "a" * 32, "whatsapp:+5511900000001", "whatsapp:+5511987654321"


MESSAGES = "/webhooks/twilio/messages"


WORDS = "o bolo de cenoura"


def settings_in(folder: Path, key: str | None = None) -> Settings:
    return Settings(
        database_url=f"sqlite:///{folder}/recado.db", public_url=PUBLIC, secret_key=bytes(32), internal_api_key=key
    )


@pytest.fixture
async def container(empty_database: Path, tmp_path: Path, clock: FrozenClock) -> AsyncIterator[Container]:
    shutil.copy(empty_database, tmp_path / "recado.db")
    container = Container(settings=settings_in(tmp_path))
    weak = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    with container.clock.override(clock):
        service = OwnerService(container.database(), clock, container.ids(), weak, container.key_ring)
        registered = await service.register_organization(Registration("Padaria", "a@recado.example", "pão às seis"))
        await container.numbers().add(
            operator_of(registered.owner_id, "test"), NewNumber(AccountSid(ACCOUNT), TOKEN, Address(OURS))
        )
        yield container
        await close_container(container)


@pytest.fixture
async def client(container: Container) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=build_app(container), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
        yield client


async def posts(client: httpx2.AsyncClient, token: str = TOKEN, path: str = MESSAGES, **changed: str) -> int:
    form = {"AccountSid": ACCOUNT, "MessageSid": "SM" + "1" * 32, "From": ANA, "To": OURS, "Body": WORDS, **changed}
    raw = urlencode(form).encode()
    pairs = forms.parse(raw)
    assert isinstance(pairs, tuple)
    headers = {"X-Twilio-Signature": sign(token, PUBLIC + path, pairs)}
    return (await client.post(path, content=raw, headers=headers)).status_code
