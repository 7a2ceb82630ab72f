from uuid import UUID

import pytest

from tests.entrypoints.cli.conftest import NOBODY, Recado


def contacts(recado: Recado, owner: str) -> dict[object, str]:
    return {each["contact"]: str(each["id"]) for each in recado.many("conversations", "list", "--owner", owner)}


@pytest.fixture
def ana(recado: Recado, owner: str) -> str:
    return contacts(recado, owner)["whatsapp:…4321"]


@pytest.fixture
def carla(recado: Recado, owner: str) -> str:
    return contacts(recado, owner)["whatsapp:…1234"]


def test_lists_who_speaks_and_who_waits_for_a_person(recado: Recado, owner: str, carla: str) -> None:
    found = {str(each["id"]): each for each in recado.many("conversations", "list", "--owner", owner)}
    assert len(found) == 3
    waiting = found[carla]
    assert (waiting["held_by"], waiting["status"]) == ("person", "open")
    assert waiting["lane"] == str(UUID(str(waiting["lane"])))
    assert isinstance(waiting["waiting_seconds"], int)


def test_shows_a_person_no_whole_number(recado: Recado, owner: str, carla: str) -> None:
    shown = recado.says("conversations", "list", "--owner", owner)
    assert carla in shown
    assert "87651234" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_lists_what_its_options_choose(recado: Recado, owner: str, carla: str, ana: str) -> None:
    def listed(*options: str) -> list[str]:
        return [str(each["id"]) for each in recado.many("conversations", "list", "--owner", owner, *options)]

    assert listed("--held-by", "person") == listed("--waiting") == [carla]
    assert listed("--text", "ALGUEM") == [ana]
    [search] = [each for each in recado.many("audit", "list", "--owner", owner) if "searched" in str(each["action"])]
    assert search["detail"] == {"conversation_ids": [ana]}
    assert listed("--status", "closed") == []
    assert "is no status: use active" in recado.refuses("conversations", "list", "--owner", owner, "--status", "gone")


def test_shows_what_was_said(recado: Recado, ana: str) -> None:
    found = recado.one("conversations", "show", ana)["messages"]
    assert isinstance(found, list)
    assert [(each["author"], each["text"], each["state"]) for each in found] == [
        ("customer", "oi", "apologised"),
        ("apology", "Desculpe, estou indisponível no momento", "accepted"),
        ("customer", "alguém?", "answered"),
        ("agent", "echo: alguém?", "accepted"),
    ]
    assert "customer Ana" not in recado.says("conversations", "show", ana)
    assert "customer: alguém? (answered)" in recado.says("conversations", "show", ana)


def test_a_person_closes_and_assigns(recado: Recado, owner: str, ana: str) -> None:
    user = str(recado.many("users", "list", "--owner", owner)[0]["user_id"])
    assert recado.says("conversations", "assign", ana, "--user", user) == "The conversation is assigned.\n"
    assert recado.says("conversations", "assign", ana) == "No user is assigned.\n"
    [closed] = recado.many("conversations", "close", ana, "--reason", "spam")
    assert closed["status"] == "closed"
    assert "is closed" in recado.refuses("conversations", "take", ana)


def test_a_person_takes_replies_and_gives_back(recado: Recado, ana: str) -> None:
    [taken] = recado.many("conversations", "take", ana)
    assert (taken["id"], taken["held_by"]) == (ana, "person")
    [replied] = recado.many("conversations", "reply", ana, "--text", "Oi, Ana!")
    assert replied["held_by"] == "person"
    assert recado.one("queue", "stats")["waiting"] == 1
    [released] = recado.many("conversations", "release", ana)
    assert released["held_by"] == "agent"


def test_what_waited_for_a_person_goes_to_the_agent(recado: Recado, carla: str) -> None:
    assert recado.says("conversations", "release", carla) == "The agent holds the conversation again.\n"
    assert recado.one("queue", "stats")["waiting"] == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["take"], "is held by person cli:rita already"),
        (["reply", "--text", " "], "there is nothing to say"),
    ],
)
def test_what_does_not_fit_is_refused(recado: Recado, carla: str, words: list[str], sentence: str) -> None:
    command, *more = words
    assert sentence in recado.refuses("conversations", command, carla, *more)


def test_an_unknown_conversation_gets_a_sentence(recado: Recado) -> None:
    assert f"there is no conversation {NOBODY}" in recado.refuses("conversations", "take", NOBODY)


def test_an_unknown_owner_gets_a_sentence(recado: Recado) -> None:
    sentence = recado.refuses("conversations", "list", "--owner", NOBODY)
    assert sentence == f"Error: there is no owner {NOBODY}\n"
