"""Users are listed."""

from tests.entrypoints.cli.conftest import NOBODY, Recado


def test_users_of_all_organisations_are_listed_by_owner(recado: Recado, owner: str) -> None:
    shown = recado.says("users", "list")
    assert owner in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_users_of_an_unknown_owner_get_a_sentence(recado: Recado) -> None:
    assert recado.refuses("users", "list", "--owner", NOBODY) == f"Error: there is no owner {NOBODY}\n"
