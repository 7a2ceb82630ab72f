"""Words of three languages meet across accents, plurals and endings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.agents.knowledge.words import content_words, coverage, forms, loose_forms, terms
from recado.core.unicode import fold, words


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        ("situação", "situações"),
        ("cartão", "cartões"),
        ("pão", "pães"),
        ("mãe", "mães"),
        ("irmão", "irmãos"),
        ("animal", "animais"),
        ("papel", "papéis"),
        ("fácil", "fáceis"),
        ("lençol", "lençóis"),
        ("azul", "azuis"),
        ("funil", "funis"),
        ("viagem", "viagens"),
        ("bom", "bons"),
        ("flor", "flores"),
        ("voz", "vozes"),
        ("mês", "meses"),
        ("país", "países"),
        ("táxi", "táxis"),
        ("bolo", "bolos"),
        ("ciudad", "ciudades"),
        ("camión", "camiones"),
        ("luz", "luces"),
        ("delivery", "deliveries"),
        ("box", "boxes"),
        ("shoe", "shoes"),
        ("price", "prices"),
        ("tomato", "tomatoes"),
        ("kitchen", "kitchens"),
    ],
)
def test_singular_and_plural_share_a_form(singular: str, plural: str) -> None:
    assert forms(fold(singular)) & forms(fold(plural))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("abrem", "abrimos"),
        ("abre", "abrimos"),
        ("entregam", "entregas"),
        ("entrega", "entregamos"),
        ("aceita", "aceitam"),
    ],
)
def test_forms_of_a_verb_are_loosely_alike(one: str, other: str) -> None:
    assert loose_forms(one) & loose_forms(other)


def test_words_without_meaning_are_dropped() -> None:
    assert [word.text for word in content_words("Oi, vocês têm bolo de cenoura? What is the price?")] == [
        "bolo",
        "cenoura",
        "price",
    ]


def test_coverage_is_the_share_of_the_question_a_text_speaks_of() -> None:
    question = content_words("Quanto custa o bolo de cenoura?")
    assert coverage(question, "Bolos de cenoura custam R$ 45") == pytest.approx(2.8 / 3)
    assert coverage(question, "Abrimos aos domingos") == 0


@given(st.text())
def test_any_text_becomes_terms_the_index_reads_as_they_are(text: str) -> None:
    for line in terms(text):
        assert words(line) == line.split()
