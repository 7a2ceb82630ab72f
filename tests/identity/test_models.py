from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.core.errors import InvalidInput
from recado.identity.models import STOP_WORDS, Owner, User, normalized_email, valid_name, valid_text, valid_words

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


def an_owner(**changes: object) -> Owner:
    return Owner(**{"id": UUID(int=1), "name": "Padaria", "email": "a@b", "created_at": NOON} | changes)  # type: ignore[arg-type]


class TestWhatCustomersRead:
    def test_is_the_products_text_in_the_owners_language(self) -> None:
        assert an_owner().apology == "Desculpe, estou indisponível no momento"
        assert an_owner(locale="en").apology.startswith("Sorry")
        assert an_owner(locale="es").hand_off_notice.startswith("Voy a llamar")

    def test_is_the_owners_text_where_there_is_one(self) -> None:
        owner = an_owner(apology_text="Já voltamos!", handoff_text="Chamando a Ana.")
        assert (owner.apology, owner.hand_off_notice) == ("Já voltamos!", "Chamando a Ana.")


class TestStopAndStartWords:
    @pytest.mark.parametrize("text", ["STOP", "stop", " Parar! ", "sair.", "CANCELAR", "*pare*", "darse  de baja"])
    def test_the_whole_message_is_the_word(self, text: str) -> None:
        assert an_owner().is_stop_word(text)

    @pytest.mark.parametrize(
        "text", ["", "!", "quero cancelar o pedido", "stop it", "parar?e sair", "não pare", "s" * 5000]
    )
    def test_a_word_inside_a_sentence_is_none(self, text: str) -> None:
        assert not an_owner().is_stop_word(text)

    @pytest.mark.parametrize("text", ["start", "COMEÇAR", "comecar", "Começar", "voltar!"])
    def test_accents_may_be_missing_or_written_in_two_ways(self, text: str) -> None:
        assert an_owner().is_start_word(text)

    def test_the_owners_own_words_replace_the_products(self) -> None:
        owner = an_owner(stop_words=["chega"], start_words=[])
        assert owner.is_stop_word("Chega!")
        assert not owner.is_stop_word("STOP")
        assert not owner.is_start_word("START")

    def test_an_owner_without_a_word_to_opt_out_by_has_the_products(self) -> None:
        """One could be stored so; a customer always has a way out."""
        assert an_owner(stop_words=[]).is_stop_word("STOP")

    def test_no_word_means_both(self) -> None:
        owner = an_owner()
        assert [word for word in STOP_WORDS if owner.is_start_word(word)] == []

    @given(st.text())
    def test_any_text_can_be_asked_about(self, text: str) -> None:
        assert an_owner().is_stop_word(text) in {True, False}


class TestWhatPeopleType:
    @pytest.mark.parametrize("text", ["Ana@Example.com", " ana@EXAMPLE.com ", "ＡＮＡ@example.com"])
    def test_an_address_has_one_spelling(self, text: str) -> None:
        assert normalized_email(text) == "ana@example.com"

    @pytest.mark.parametrize("text", ["a@b.co", "ana+loja@a.com.br", "joão.silva@pão.example", "o'neil@a-b.example"])
    def test_an_address_that_mail_reaches_is_taken(self, text: str) -> None:
        assert normalized_email(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            *("", "ana", "@example.com", "ana@", "a@b@c.example", "a b@c.example", "a@b.example\x00"),
            *("ana@example", "ana@127.0.0.1", ".ana@b.example", "ana.@b.example", "a..b@c.example", "ana@b..example"),
            *("ana@-b.example", "ana@b-.example", "ana@b_c.example", "ana@b.example.", "Ana <ana@b.example>"),
            *("a" * 65 + "@b.example", "a@" + "b" * 64 + ".example", "a@" + "b." * 130 + "example"),
        ],
    )
    def test_what_is_no_address_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="not an e-mail address"):
            normalized_email(text)

    def test_a_name_loses_its_needless_blanks(self) -> None:
        assert valid_name("  Padaria   da Ana ") == "Padaria da Ana"

    @pytest.mark.parametrize("text", ["", "   ", "x" * 201, "a\x00b"])
    def test_a_name_that_cannot_be_shown_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="name"):
            valid_name(text)

    def test_a_text_that_fits_no_message_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="1601 characters"):
            valid_text("x" * 1601)

    def test_words_are_kept_once(self) -> None:
        assert valid_words(["Chega", " CHEGA! ", "", "fim"]) == ["CHEGA!", "fim"]

    @pytest.mark.parametrize("sentence", ["x" * 51, "x" * 100_000])
    def test_a_sentence_is_no_word(self, sentence: str) -> None:
        with pytest.raises(InvalidInput, match="at most 50"):
            valid_words([sentence])

    def test_a_word_that_no_message_could_be_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="no letters"):
            valid_words(["fim", "🙂"])

    @pytest.mark.parametrize("text", ["a\x00b", "a\x1b[31m", "half \ud83d"])
    def test_a_text_that_no_message_can_have_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="no message can have"):
            valid_text(text)


def test_the_repr_of_a_user_has_no_hash() -> None:
    user = User(
        id=UUID(int=2), owner_id=UUID(int=1), email="a@b", role="admin", password_hash="canary", created_at=NOON
    )
    assert "canary" not in repr(user)
