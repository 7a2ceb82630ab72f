"""The promise is checked, and what breaks it is named."""

import json
from pathlib import Path

from tests.entrypoints.cli.conftest import Recado, spoil


class TestVerify:
    def test_a_sound_database_has_no_violations(self, recado: Recado) -> None:
        report = recado.one("verify")
        assert (report["accepted"], report["open"], report["violations"], report["orphans"]) == (5, 0, [], 1)
        assert isinstance(report["outcomes"], dict)
        outcomes = {outcome: count for outcome, count in report["outcomes"].items() if count}
        assert outcomes == {"answered": 2, "apologised": 2, "handed_off": 1}
        assert "No violations." in recado.says("verify")

    def test_a_person_reads_the_reasons_below_what_was_suppressed(self, recado: Recado, file: Path) -> None:
        spoil(file, "UPDATE messages SET outcome = 'suppressed', outcome_reason = 'quota' WHERE outcome = 'apologised'")
        assert "suppressed 2 quota 2" in " ".join(recado("verify").stdout.split())

    def test_a_broken_promise_fails_and_names_the_message(self, recado: Recado, file: Path) -> None:
        spoil(file, "DELETE FROM inbox_items")
        ended = recado("verify", "--json")
        [violation] = json.loads(ended.stdout)["violations"]
        assert (ended.exit_code, ended.stderr) == (1, "Error: 1 violation of the promise\n")
        assert violation["message_sid"] in recado("verify").stdout
