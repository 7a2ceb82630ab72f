"""API keys are made, listed and revoked, and what people did is shown, from the command line."""

import asyncio

from recado.core.clock import SystemClock
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.ids import UuidV7
from recado.identity.access.api_keys import ApiKeyService
from recado.identity.permissions import OF_KEYS
from recado.identity.principal import Principal
from tests.entrypoints.cli.conftest import NOBODY, Recado


def bearer(recado: Recado, text: object) -> Principal | None:
    async def ask() -> Principal | None:
        database, clock = SqliteDatabase(recado.environment["RECADO_DATABASE_URL"]), SystemClock()
        try:
            return await ApiKeyService(database, clock, UuidV7(clock)).principal_of(str(text))
        finally:
            await database.close()

    return asyncio.run(ask())


class TestAKey:
    def test_is_shown_once_and_may_do_what_its_scopes_say(self, recado: Recado, owner: str) -> None:
        words = ["keys", "create", "--owner", owner, "--name", "site"]
        made = recado.one(*words, "--scopes", "conversations.read, audit.read", "--days", "30")
        principal = bearer(recado, made["key"])
        assert principal is not None
        assert principal.permissions == {"conversations.read", "audit.read"}
        [listed] = recado.many("keys", "list", "--owner", owner)
        assert (listed["key_id"], listed["name"]) == (made["key_id"], "site")
        assert listed["scopes"] == ["audit.read", "conversations.read"]
        assert listed["expires_at"] is not None
        assert str(made["key"]) not in str(listed)

    def test_without_scopes_may_do_all_that_keys_may(self, recado: Recado, owner: str) -> None:
        made = recado.one("keys", "create", "--owner", owner, "--name", "site")
        principal = bearer(recado, made["key"])
        assert principal is not None
        assert principal.permissions == OF_KEYS
        assert "all" in recado.says("keys", "list", "--owner", owner)

    def test_is_read_by_people_too(self, recado: Recado, owner: str) -> None:
        first, second = recado.says("keys", "create", "--owner", owner, "--name", "site").splitlines()
        assert bearer(recado, first) is not None
        assert second.startswith("This key is shown only now. Its id: ")

    def test_ends_when_it_is_revoked(self, recado: Recado, owner: str) -> None:
        made = recado.one("keys", "create", "--owner", owner, "--name", "site")
        revoked = recado.one("keys", "revoke", made["key_id"])
        assert recado.one("keys", "revoke", made["key_id"]) == revoked
        assert bearer(recado, made["key"]) is None
        assert "revoked" in recado.says("keys", "list", "--owner", owner)

    def test_that_makes_no_sense_is_refused(self, recado: Recado, owner: str) -> None:
        words = ["keys", "create", "--owner", owner, "--name", "site", "--scopes"]
        for scopes in ("everything", "keys.write", ""):
            assert "use agents.read, agents.write" in recado.refuses(*words, scopes)
        assert "recado keys create" in recado.says("keys", "list", "--owner", owner)

    def test_of_nobody_gets_a_sentence(self, recado: Recado) -> None:
        assert recado.refuses("keys", "list", "--owner", NOBODY) == f"Error: there is no owner {NOBODY}\n"
        assert (
            recado.refuses("keys", "create", "--owner", NOBODY, "--name", "x") == f"Error: there is no owner {NOBODY}\n"
        )
        assert "recado keys list" in recado.refuses("keys", "revoke", NOBODY)


class TestTheAudit:
    def test_shows_who_did_what_newest_first(self, recado: Recado, owner: str) -> None:
        made = recado.one("keys", "create", "--owner", owner, "--name", "site")
        recado.one("keys", "revoke", made["key_id"])
        entries = recado.many("audit", "list", "--owner", owner)
        newest, before = (entry for entry in entries if entry["object_kind"] == "key")
        assert (newest["action"], before["action"]) == ("key.revoked", "key.created")
        assert (newest["actor_kind"], newest["object_id"]) == ("operator", made["key_id"])
        assert str(newest["actor_name"]).startswith("cli:")
        assert recado.many("audit", "list", "--owner", owner, "--limit", "2") == entries[:2]
        assert "key.revoked" in recado.says("audit", "list", "--owner", owner)

    def test_shows_one_kind_or_one_thing(self, recado: Recado, owner: str) -> None:
        first, _ = (recado.one("keys", "create", "--owner", owner, "--name", name) for name in ("site", "loja"))
        every = recado.many("audit", "list", "--owner", owner)
        of_keys = recado.many("audit", "list", "--owner", owner, "--object", "key")
        assert of_keys == [entry for entry in every if entry["object_kind"] == "key"]
        [only] = recado.many("audit", "list", "--owner", owner, "--object", f"key:{first['key_id']}")
        assert only["object_id"] == first["key_id"]
        assert recado.says("audit", "list", "--owner", owner, "--object", "endpoint") == "There are no entries.\n"
        assert "of which kind" in recado.refuses("audit", "list", "--owner", owner, "--object", ":7")

    def test_of_nobody_gets_a_sentence(self, recado: Recado) -> None:
        assert recado.refuses("audit", "list", "--owner", NOBODY) == f"Error: there is no owner {NOBODY}\n"
