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

    def test_an_unknown_owner_gets_a_sentence(self, recado: Recado) -> None:
        sentence = recado.refuses("agents", "set", "--owner", NOBODY, "--agent", "echo")
        assert sentence == f"Error: there is no owner {NOBODY}\n"
