"""The metrics of the server."""

from pathlib import Path

import httpx2
from sqlalchemy import text

from recado.bootstrap import Container
from recado.entrypoints.api.app import build_app
from recado.operations.exposition import CONTENT_TYPE
from tests.entrypoints.api.conftest import ACCOUNT, PUBLIC, posts, settings_in


async def metrics(client: httpx2.AsyncClient) -> str:
    response = await client.get("/metrics")
    assert (response.status_code, response.headers["content-type"]) == (200, CONTENT_TYPE)
    return response.text


class TestMetrics:
    async def test_count_the_answers_given_to_twilio(self, client: httpx2.AsyncClient) -> None:
        await posts(client)
        await posts(client, Body="")
        await posts(client, MessageSid="nonsense")

        told = await metrics(client)

        assert 'recado_webhook_answers_total{endpoint="messages",status="200"} 2.0' in told
        assert 'recado_webhook_answers_total{endpoint="messages",status="400"} 1.0' in told
        assert "recado_messages_accepted_total 1.0" in told
        assert 'recado_jobs{status="collecting"} 1.0' in told

    async def test_count_what_could_not_be_stored(self, container: Container, client: httpx2.AsyncClient) -> None:
        await container.database().write(lambda uow: uow.execute(text("DROP TABLE lanes")).close(), owner=None)
        assert await posts(client) == 500

        told = await metrics(client)

        assert 'recado_webhook_answers_total{endpoint="messages",status="500"} 1.0' in told
        assert "recado_database_readable 0.0" in told

    async def test_count_refusals_of_an_account_that_is_stored(self, client: httpx2.AsyncClient) -> None:
        assert await posts(client, token="b" * 32) == 403
        assert await posts(client, token="b" * 32, To="whatsapp:+5511900000009") == 403
        assert f'recado_webhook_forbidden_total{{account="{ACCOUNT}"}} 2.0' in await metrics(client)

    async def test_count_whatever_else_is_refused_under_one_name(self, client: httpx2.AsyncClient) -> None:
        """Anybody may post forms: what they call themselves must make no series."""
        for number in range(3):
            made_up = f"AC{number:032x}"
            assert await posts(client, AccountSid=made_up, To="whatsapp:+5511900000009") == 403
        assert await posts(client, AccountSid=ACCOUNT.upper(), To="whatsapp:+5511900000009") == 403
        assert await posts(client, path="/webhooks/twilio/status/nothing") == 403

        told = await metrics(client)

        assert 'recado_webhook_forbidden_total{account="unknown"} 5.0' in told
        assert told.count("\nrecado_webhook_forbidden_total{") == 1

    async def test_hold_nothing_of_a_customer(self, client: httpx2.AsyncClient) -> None:
        await posts(client)
        await posts(client, token="b" * 32)

        told = await metrics(client)

        assert "cenoura" not in told
        assert "55119" not in told

    async def test_want_the_key_that_is_set(self, container: Container, tmp_path: Path) -> None:
        container.settings.override(settings_in(tmp_path, key="the key"))
        transport = httpx2.ASGITransport(app=build_app(container))
        async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
            refused = await client.get("/metrics", headers={"Authorization": "Bearer another"})
            shown = await client.get("/metrics", headers={"Authorization": "Bearer the key"})
        assert (refused.status_code, refused.text, shown.status_code) == (401, "", 200)
