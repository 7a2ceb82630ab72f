"""A restored copy is silenced."""

from tests.entrypoints.cli.conftest import Recado


class TestRestored:
    def test_drops_nothing_without_yes(self, recado: Recado) -> None:
        assert recado.refuses("restored") == (
            "Error: 0 jobs wait to answer customers and would be dropped, and sweeps would ignore messages before "
            "now: confirm with --yes\n"
        )

    def test_reports_what_it_did(self, recado: Recado) -> None:
        assert recado.one("restored", "--yes") == {"dropped": 0, "left": 0, "numbers": 0}
