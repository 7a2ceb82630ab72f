import string

import pytest

from recado.core.i18n import CATALOG, DEFAULT_LOCALE, LOCALES, Text, nearest, translate


@pytest.mark.parametrize("locale", LOCALES)
def test_every_text_exists_in_every_locale(locale: str) -> None:
    assert [key for key in Text if not translate(locale, key).strip()] == []


@pytest.mark.parametrize("key", Text)
def test_a_text_asks_for_the_same_values_in_every_locale(key: Text) -> None:
    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    assert {frozenset(names(CATALOG[locale][key])) for locale in LOCALES} == {
        frozenset(names(CATALOG[DEFAULT_LOCALE][key]))
    }


@pytest.mark.parametrize("key", [Text.APOLOGY, Text.HAND_OFF, Text.NOTHING_FOUND, Text.OFFER_A_PERSON])
def test_customers_are_spoken_to_in_their_own_language(key: Text) -> None:
    assert len({translate(locale, key) for locale in LOCALES}) == len(LOCALES)


def test_the_apology_is_the_promised_one() -> None:
    assert translate("pt-BR", Text.APOLOGY) == "Desculpe, estou indisponível no momento"


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [("pt-BR", "pt-BR"), ("pt", "pt-BR"), ("pt_PT", "pt-BR"), ("en-GB", "en"), ("ES", "es"), (" es-AR ", "es")],
)
def test_the_nearest_locale_speaks_the_same_language(asked: str, spoken: str) -> None:
    assert nearest(asked) == spoken


@pytest.mark.parametrize("unknown", ["", "fr", "klingon", "-"])
def test_an_unknown_locale_falls_back_to_brazilian_portuguese(unknown: str) -> None:
    assert translate(unknown, Text.IMAGE) == "imagem"
