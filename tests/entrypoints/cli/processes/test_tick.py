"""A bounded run from the command line."""

import pytest

from recado.bootstrap import SCHEDULES
from tests.entrypoints.cli.conftest import PUBLIC, Recado


class TestTick:
    @pytest.mark.parametrize("seconds", ["0", "-1", "301", "nan", "inf"])
    def test_of_no_length_is_refused(self, recado: Recado, seconds: str) -> None:
        said = recado.refuses("tick", "--seconds", seconds, RECADO_PUBLIC_URL=PUBLIC)
        assert "--seconds must be a number from 1 to 300" in said

    def test_reports_what_it_did_and_what_is_left(self, recado: Recado) -> None:
        counts = recado.one(
            "tick", "--seconds", 5, RECADO_PUBLIC_URL=PUBLIC, RECADO_TWILIO_API_URL="http://127.0.0.1:1"
        )
        assert set(counts) == {
            "slots_made", "leases_freed", "jobs", "given_back", "still_due", "oldest_due_seconds",
        }  # fmt: skip
        assert (counts["slots_made"], counts["given_back"]) == (len(SCHEDULES), 0)
