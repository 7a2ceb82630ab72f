import json
from pathlib import Path

import pytest

from tests.entrypoints.cli.conftest import NOBODY, Recado


class TestSet:
    def test_shows_the_settings_and_never_the_key(self, recado: Recado, owner: str, tmp_path: Path) -> None:
        prompt = tmp_path / "prompt.txt"
        prompt.write_text("Você é o padeiro.", "utf-8")
        words = ["--agent", "llm", "--model", "small", "--base-url", "https://models.example/v1"]
        words += ["--api-key-env", "KEY", "--prompt-file", str(prompt), "--history", "5"]
        assert recado.one("agents", "set", "--owner", owner, *words, KEY="sk-1") == {
            "number": None,
            "agent": "llm",
            "active": True,
            "model": "small",
            "base_url": "https://models.example/v1",
            "url": None,
            "prompt": "Você é o padeiro.",
            "history": 5,
            "allow_private": False,
            "has_api_key": True,
            "has_secret": False,
        }

    def test_the_last_one_set_is_active(self, recado: Recado, owner: str) -> None:
        for agent in ("faq", "echo"):
            recado.one("agents", "set", "--owner", owner, "--agent", agent)
        found = {agent["agent"]: agent["active"] for agent in recado.many("agents", "list", "--owner", owner)}
        assert found == {"faq": False, "echo": True}
        assert "echo   yes" in recado.says("agents", "list", "--owner", owner)

    def test_an_agent_of_ones_own_shows_its_secret_once(self, recado: Recado, owner: str) -> None:
        words = ["agents", "set", "--owner", owner, "--agent", "http", "--url", "http://127.0.0.1:9/answer"]
        first = recado.one(*words, "--allow-private")
        assert str(first["secret"]).startswith("whsec_")
        assert "secret" not in recado.one(*words)

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--agent", "eco"], "no agent is called 'eco'; installed are: echo, faq, http, llm"),
            (["--agent", "llm"], "the llm agent needs a model"),
            (["--agent", "llm", "--api-key-env", "KEY"], "KEY, which --api-key-env names, is not set"),
        ],
    )
    def test_what_cannot_work_gets_a_sentence(
        self, recado: Recado, owner: str, words: list[str], sentence: str
    ) -> None:
        assert sentence in recado.refuses("agents", "set", "--owner", owner, *words)

    @pytest.mark.parametrize(
        ("model", "sentence"),
        [
            ("openai-chat:gpt-4.1-mini", "the provider 'openai-chat' is not set up here: give an API key"),
            ("openay:gpt-4.1-mini", "there is no provider called 'openay'"),
            ("groq:llama", "the provider 'groq' needs a package that is not installed"),
        ],
    )
    def test_what_keeps_every_run_from_succeeding_is_said_at_once(
        self, recado: Recado, owner: str, model: str, sentence: str
    ) -> None:
        ended = recado("agents", "set", "--owner", owner, "--agent", "llm", "--model", model, OPENAI_API_KEY=None)
        assert ended.exit_code == 0
        assert f"Warning: the agent is set, but on this machine no run can succeed: {sentence}" in ended.stderr
        words = ["agents", "set", "--owner", owner, "--agent", "llm", "--model", model, "--json"]
        assert sentence in json.loads(recado(*words, OPENAI_API_KEY=None).stdout)["warnings"][0]

    def test_nothing_is_said_of_a_model_with_its_key(self, recado: Recado, owner: str) -> None:
        words = ["--agent", "llm", "--model", "openai-chat:gpt-4.1-mini", "--api-key-env", "KEY"]
        assert "warnings" not in recado.one("agents", "set", "--owner", owner, *words, KEY="sk-1")

    def test_an_unknown_owner_gets_a_sentence(self, recado: Recado) -> None:
        sentence = recado.refuses("agents", "set", "--owner", NOBODY, "--agent", "echo")
        assert sentence == f"Error: there is no owner {NOBODY}\n"


class TestTheAgentOfANumber:
    @pytest.fixture
    def at(self, our_number: str) -> tuple[str, str]:
        return "--number", our_number

    def test_is_set_shown_listed_and_unset(self, recado: Recado, owner: str, at: tuple[str, str]) -> None:
        recado.one("agents", "set", "--owner", owner, "--agent", "faq")
        shown = recado.one("agents", "set", "--owner", owner, "--agent", "echo", "--history", "3", *at)
        assert (shown["number"], shown["agent"], shown["history"]) == (at[1], "echo", 3)
        assert recado.one("agents", "show", "--owner", owner, *at) == shown
        assert recado.one("agents", "show", "--owner", owner)["agent"] == "faq"
        listed = recado.many("agents", "list", "--owner", owner)
        assert [(each["agent"], each["number"]) for each in listed] == [("faq", None), ("echo", at[1])]
        assert at[1] in recado.says("agents", "list", "--owner", owner)
        said = recado.says("agents", "unset", "--owner", owner, *at)
        assert said == f"At {at[1]} the organisation's active agent answers.\n"
        assert recado.one("agents", "show", "--owner", owner, *at)["agent"] == "faq"

    def test_is_the_one_that_is_tried(self, recado: Recado, owner: str, at: tuple[str, str]) -> None:
        recado.one("agents", "set", "--owner", owner, "--agent", "faq")
        recado.one("agents", "set", "--owner", owner, "--agent", "echo", *at)
        assert recado.one("agents", "test", "--owner", owner, "oi", *at)["text"] == "echo: oi"
        assert recado.one("agents", "test", "--owner", owner, "oi")["text"] != "echo: oi"

    def test_needs_a_number_that_is_there(self, recado: Recado, owner: str) -> None:
        nobodys = ("--number", "whatsapp:+551133330000")
        for words in (["set", "--agent", "echo"], ["unset"], ["show"], ["test", "oi"]):
            said = recado.refuses("agents", words[0], "--owner", owner, *words[1:], *nobodys)
            assert nobodys[1] in said, words

    def test_is_missing_with_a_sentence_when_there_is_none_at_all(self, recado: Recado, owner: str) -> None:
        assert "no agent is set" in recado.refuses("agents", "show", "--owner", owner)


class TestATrial:
    def test_shows_what_the_customer_would_read_and_sends_nothing(self, recado: Recado, owner: str) -> None:
        recado.one("agents", "set", "--owner", owner, "--agent", "echo")
        before = recado.one("verify")
        assert recado.says("agents", "test", "--owner", owner, "bom dia").startswith("echo: bom dia\n")
        tried = recado.one("agents", "test", "--owner", owner, "bom dia")
        assert (tried["ending"], tried["text"], tried["closes"]) == ("reply", "echo: bom dia", False)
        assert recado.one("verify") == before

    def test_says_that_a_person_would_be_called(self, recado: Recado, owner: str) -> None:
        recado.one("agents", "set", "--owner", owner, "--agent", "faq")
        said = recado.says("agents", "test", "--owner", owner, "quero falar com uma pessoa")
        assert "Then a person is called: " in said

    def test_of_an_agent_that_cannot_run_says_why_and_what_the_customer_would_get(
        self, recado: Recado, owner: str
    ) -> None:
        recado("agents", "set", "--owner", owner, "--agent", "llm", "--model", "groq:llama")
        ended = recado("agents", "test", "--owner", owner, "oi")
        assert (ended.exit_code, ended.stderr) == (
            1, "Error: the provider 'groq' needs a package that is not installed\n"
        )  # fmt: skip
        assert "The customer gets the text above at once, and a dead letter is kept." in ended.stdout

    def test_needs_a_text(self, recado: Recado, owner: str) -> None:
        assert "the text must have 1 to 10,000 characters" in recado.refuses("agents", "test", "--owner", owner, " ")
