from pathlib import Path

import pytest

from tests.entrypoints.cli.conftest import NOBODY, Recado, spoil


@pytest.fixture
def ana(recado: Recado, owner: str) -> str:
    [found] = recado.many("contacts", "list", "--owner", owner, "--address", "whatsapp:+55 11 98765-4321")
    return str(found["id"])


def test_lists_contacts_without_whole_numbers(recado: Recado, owner: str, ana: str) -> None:
    found = recado.many("contacts", "list", "--owner", owner)
    assert (len(found), found[-1]["id"], found[-1]["contact"]) == (3, ana, ["whatsapp:…4321"])
    assert "98765" not in recado.says("contacts", "list", "--owner", owner)


def test_are_all_listed_for_programs_and_a_thousand_for_people(recado: Recado, owner: str, file: Path) -> None:
    spoil(
        file,
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1200)"
        " INSERT INTO contacts (id, owner_id, name, created_at)"
        " SELECT randomblob(16), owner_id, 'x' || n, created_at FROM n, (SELECT * FROM contacts LIMIT 1)",
    )
    assert len(recado.many("contacts", "list", "--owner", owner)) == 1_203
    shown = recado.says("contacts", "list", "--owner", owner)
    assert shown.endswith("These are the first 1,000; --json lists them all.\n")
    assert len(shown.splitlines()) == 1_002


def test_a_person_blocks_opts_out_and_names(recado: Recado, owner: str, ana: str) -> None:
    assert recado.says("contacts", "block", ana) == "The contact is blocked.\n"
    assert recado.one("contacts", "opt-out", ana)["blocked_at"] is not None
    assert "blocked, opted out" in recado.says("contacts", "list", "--owner", owner, "--blocked")
    assert [each["id"] for each in recado.many("contacts", "list", "--owner", owner, "--opted-out")] == [ana]
    recado.says("contacts", "unblock", ana)
    assert recado.one("contacts", "opt-in", ana)["opted_out_at"] is None
    assert recado.many("contacts", "list", "--owner", owner, "--blocked") == []
    assert recado.one("contacts", "rename", ana, "--name", "Ana Maria")["name"] == "Ana Maria"
    assert recado.one("contacts", "rename", ana)["named_by"] is None


def test_an_unknown_contact_gets_a_sentence(recado: Recado) -> None:
    assert f"there is no contact {NOBODY}" in recado.refuses("contacts", "block", NOBODY)
