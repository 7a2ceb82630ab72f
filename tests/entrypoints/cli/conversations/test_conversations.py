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
        (["take"], "is held by person already"),
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
