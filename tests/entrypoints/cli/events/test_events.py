"""`recado events`: what happened, where it is sent, and sending it again."""

from tests.entrypoints.cli.conftest import Recado

URL = "https://crm.example/events"


def test_an_endpoint_from_its_beginning_to_its_end(recado: Recado, owner: str) -> None:
    endpoints = ("events", "endpoints")
    added = recado.one(*endpoints, "add", "--owner", owner, "--url", URL, "--types", "message.sent", "--json")
    assert str(added["secret"]).startswith("whsec_")
    one = ("--owner", owner, added["endpoint_id"], "--json")
    assert recado.one(*endpoints, "set", *one, "--types", "")["types"] == "all"
    off = recado.one(*endpoints, "disable", *one)
    assert (off["state"], off["disabled_reason"]) == ("off", "by_person")
    assert "off: by_person" in recado.says(*endpoints, "list", "--owner", owner)
    assert recado.one(*endpoints, "enable", *one)["state"] == "on"
    assert recado.one(*endpoints, "rotate", *one)["secret"] != added["secret"]
    [listed] = recado.many(*endpoints, "list", "--owner", owner, "--json")
    assert (listed["url"], "secret" in listed) == (URL, False)
    recado.one(*endpoints, "remove", *one)
    assert recado.says(*endpoints, "list", "--owner", owner) == "There are no endpoints.\n"


def test_what_happened_is_listed_and_goes_on_after_an_event(recado: Recado, owner: str) -> None:
    first, second, *_ = recado.many("events", "list", "--owner", owner, "--json")
    assert first["type"] == "message.received"
    later = recado.many("events", "list", "--owner", owner, "--after", first["id"], "--limit", 1, "--json")
    assert later == [second]


def test_an_event_is_sent_again_and_is_in_the_log(recado: Recado, owner: str) -> None:
    added = recado.one("events", "endpoints", "add", "--owner", owner, "--url", URL, "--json")
    where = ("--owner", owner, "--endpoint", added["endpoint_id"])
    event, *_ = recado.many("events", "list", "--owner", owner, "--json")
    assert recado.says("events", "replay", *where, "--event", event["id"]).endswith("a worker sends them.\n")
    [delivery] = recado.many("events", "log", *where, "--json")
    assert (delivery["event_id"], delivery["state"], delivery["attempts"]) == (event["id"], "waiting", 0)
    assert recado.one("events", "replay", *where, "--since", "2026-01-01T00:00:00Z", "--json") == {
        "endpoint_id": added["endpoint_id"]
    }


def test_what_is_wrong_is_said_in_a_sentence(recado: Recado, owner: str) -> None:
    add = ("events", "endpoints", "add", "--owner", owner)
    assert "https://" in recado.refuses(*add, "--url", "http://crm.example/")
    assert "not public" in recado.refuses(*add, "--url", "https://10.0.0.1/")
    assert "no type of event" in recado.refuses(*add, "--url", URL, "--types", "message.eaten")
    nobody = "0197c2f4-8e5a-7c3b-9d21-4f6a8b0c1d2e"
    assert "there is no" in recado.refuses("events", "log", "--owner", owner, "--endpoint", nobody)
    assert "--event or --since" in recado.refuses("events", "replay", "--owner", owner, "--endpoint", nobody)
