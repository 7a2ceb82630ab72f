"""Documents fall apart into passages where a reader would cut them."""

import pytest

from recado.agents.errors import DocumentRefused
from recado.agents.knowledge.documents import DocumentSection, readable, split_document


def pieces(text: str) -> list[DocumentSection]:
    return split_document("a.md", text)


def test_a_section_keeps_the_headings_above_it() -> None:
    assert pieces("# Loja\n## Troca\nAté 7 dias.\n## Entrega\n### Prazo\nDois dias.") == [
        DocumentSection("Loja › Troca", "Até 7 dias."),
        DocumentSection("Loja › Entrega › Prazo", "Dois dias."),
    ]


def test_underlined_and_shouted_lines_are_headings() -> None:
    assert pieces("Troca\n=====\nAté 7 dias.\n\nENDEREÇO\n\nRua do Sol, 10.") == [
        DocumentSection("Troca", "Até 7 dias."),
        DocumentSection("Troca › ENDEREÇO", "Rua do Sol, 10."),
    ]


def test_questions_of_every_style_own_what_follows() -> None:
    styles = [
        "**Tem wifi?**\nTem.",
        "- Tem wifi?\n\nTem.",
        "P: Tem wifi?\nR: Tem.",
        "1. Tem wifi?\n**Resposta:** Tem.",
        "## Tem wifi?\nTem.",
    ]
    assert [pieces(style) for style in styles] == [[DocumentSection("Tem wifi?", "Tem.")]] * len(styles)


def test_a_question_inside_a_paragraph_is_part_of_it() -> None:
    assert pieces("Chegou tarde? Ligue.\nQuer saber mais?\nEscreva.") == [
        DocumentSection("", "Chegou tarde? Ligue.\nQuer saber mais?\nEscreva.")
    ]


def test_paragraphs_without_heading_stand_alone() -> None:
    assert pieces("Um.\n\nDois.") == [DocumentSection("", "Um."), DocumentSection("", "Dois.")]


def test_short_paragraphs_under_a_heading_stay_together_up_to_a_good_length() -> None:
    cut = pieces("# A\n" + "\n\n".join(["palavra " * 50] * 3))
    assert [len(piece.body) < 1_000 for piece in cut] == [True] * len(cut)
    assert len(cut) == 3


def test_a_very_long_paragraph_is_cut_at_sentence_ends() -> None:
    cut = pieces("Uma frase que não é curta demais. " * 100)
    assert all(piece.body.endswith(".") and len(piece.body) <= 1_000 for piece in cut)


def test_text_without_any_end_is_cut_anyway() -> None:
    assert "".join(piece.body for piece in pieces("x" * 2_500)) == "x" * 2_500


def test_markdown_becomes_what_a_phone_shows() -> None:
    assert pieces("Veja **aqui**: [mapa](https://e.example/m) <!-- nota --> já") == [
        DocumentSection("", "Veja *aqui*: mapa (https://e.example/m)  já")
    ]


def test_tables_keep_their_rows_and_lose_their_rules() -> None:
    assert pieces("# P\n| Bolo | Preço |\n|---|:--:|\n| Milho | 30 |") == [
        DocumentSection("P", "| Bolo | Preço |\n| Milho | 30 |")
    ]


def test_a_bracket_that_opens_nothing_stays() -> None:
    assert pieces("[a [b](https://e.example/c_(d)) e]\n**f **g** __h__") == [
        DocumentSection("", "[a b (https://e.example/c_(d)) e]\n**f *g* *h*")
    ]


def test_a_comment_without_an_end_stays() -> None:
    assert pieces("a <!-- b --> c <!-- d") == [DocumentSection("", "a  c <!-- d")]


def test_signs_behind_a_heading_are_no_part_of_it() -> None:
    assert pieces("## Troca ## \nAté 7 dias.\n# a #b #\nc") == [
        DocumentSection("Troca", "Até 7 dias."),
        DocumentSection("a #b", "c"),
    ]


def test_a_line_without_end_is_refused_by_its_number() -> None:
    with pytest.raises(DocumentRefused, match=r"line 2 of 'a\.md' has 100,001 characters"):
        readable("a.md", "a\n" + "x" * 100_001)


def test_fenced_text_is_taken_as_it_is() -> None:
    assert pieces("```\n# no heading?\n```\nfim") == [DocumentSection("", "# no heading?\nfim")]
