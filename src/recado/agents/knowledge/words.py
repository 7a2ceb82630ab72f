"""Make words comparable: accents, plurals and endings of Portuguese, Spanish and English.

FTS5 folds accents but knows no plurals: "situação" finds nothing in "situações". A real stemmer guesses one root per
word and guesses wrong across three languages. So a word here has *several* forms, itself among them, and two words
match if any of their forms do. Loose forms go further (abrem, abrimos, abre: "abr") and count for less.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recado.core.unicode import words

INDEX_VERSION = 1
"""Raise it when forms change: documents that are added again are then indexed again although their text is the same."""

_LOOSE_WEIGHT = 0.8

# Endings of plurals and their possible singulars. They are tried on the folded word; at least two letters must remain.
_PLURALS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("oes", ("ao", "oe", "o")),  # situações, botões; shoes; tomatoes
    ("aes", ("ao", "ae")),  # pães, mães
    ("ais", ("al", "ai")),  # animais, samurais
    ("eis", ("el", "il", "ei")),  # papéis, fáceis, reis
    ("ois", ("ol", "oi")),  # lençóis, bois
    ("uis", ("ul",)),  # azuis
    ("is", ("il", "i")),  # funis, táxis
    ("ns", ("m", "n")),  # viagens; kitchens
    ("ces", ("z", "ce")),  # luces; prices
    ("ies", ("y", "ie")),  # deliveries
    ("es", ("", "e")),  # flores, vozes, ciudades, boxes; bolos de potes
    ("ss", ("ss",)),  # address is no plural
    ("s", ("",)),
)

# Endings of verbs and of gender, longest first.
_ENDINGS = (
    *("ariamos", "eriamos", "iriamos", "assemos", "essemos", "issemos"),
    *("aremos", "eremos", "iremos", "avamos", "aramos", "ieron"),
    *("ando", "endo", "indo", "iendo", "amos", "emos", "imos", "aram", "eram", "iram", "aria", "eria", "iria"),
    *("aron", "adas", "ados", "idas", "idos", "ada", "ado", "ida", "ido", "ava", "aba"),
    *("ing", "ar", "er", "ir", "am", "em", "an", "en", "ou", "eu", "iu", "as", "os", "es", "ed", "a", "e", "o"),
)

_PORTUGUESE = """
    a as o os um uma uns umas e ou mas de do da dos das em no na nos nas por pelo pela pelos pelas para pra
    pro com sem sob sobre entre ate que se ao aos eu tu ele ela eles elas voce voces vcs vc me te lhe meu
    minha meus minhas seu sua seus suas nosso nossa dele dela isso isto esse essa esses essas este esta estes
    estas aquele aquela qual quais quanto quanta quantos quantas quando como onde porque pq quem cade ser sou
    es somos sao era eram foi foram sera estar estou estamos estao estava ter tenho tem temos tinha tiver ha
    haver vai vou vamos vao ir pode posso podem podemos poderia quero queria gostaria saber dizer favor ai la
    aqui ja so tambem mais muito muita bem sim nao ok oi ola bom boa dia tarde noite obrigado obrigada algum
    alguma alguns algumas tudo todo toda fica ficam tipo
"""
_SPANISH = """
    el los las un unos unas y del al con sin hasta lo le les mi mis tu tus su sus nuestro este esto esa eso
    que cual cuales cuanto cuanta cuantos cuantas cuando donde quien porque es soy eres somos son era fue
    estan estoy esta hay tengo tiene tienen tienes puedo puede pueden quiero quisiera gustaria si no hola
    buenos buenas dias tardes noches gracias usted ustedes yo ella ellos muy ya tambien para por en
"""
_ENGLISH = """
    the an and or but of in on at by for with without to from about into is are was were be been am do does
    did have has had can could would should will may might i you he she it we they me him her us them my your
    his its our their this that these those what which who whom when where why how much many there here please
    yes not hi hello hey thanks thank want like know some any
"""
_STOP_WORDS = frozenset(f"{_PORTUGUESE} {_SPANISH} {_ENGLISH}".split())


@dataclass(frozen=True, slots=True)
class Word:
    """A word that carries meaning, in all its forms."""

    text: str
    forms: frozenset[str]
    loose: frozenset[str]


def content_words(text: str) -> list[Word]:
    """Return the words that carry meaning, each once, in their order."""
    found = dict.fromkeys(word for word in words(text) if word not in _STOP_WORDS)
    return [Word(word, forms(word), loose_forms(word)) for word in found if len(word) > 1 or word.isdigit()]


def forms(word: str) -> frozenset[str]:
    """Return a folded word and its possible singulars."""
    found = {word}
    for ending, singulars in _PLURALS:
        stem = word.removesuffix(ending)
        if len(stem) < len(word):
            found.update(stem + singular for singular in singulars if len(stem + singular) > 1)
            if ending in {"ss", "ns"}:  # The shorter ending below would be wrong for these.
                break
    return frozenset(found)


def loose_forms(word: str) -> frozenset[str]:
    """Return a folded word without endings of verb and gender; nothing for short words and numbers."""
    found: set[str] = set()
    if word.isalpha() and (len(word) > 4 or (len(word) == 4 and word.endswith("e"))):
        for ending in _ENDINGS:
            stem = word.removesuffix(ending)
            if 3 <= len(stem) < len(word):
                found.add(stem)
                break
    return frozenset(found or ({word} if len(word) > 3 else ()))


def terms(text: str) -> tuple[str, str]:
    """Return the index entry of a text: all forms of its words, and all loose ones."""
    meant = content_words(text)
    return " ".join(_sorted(word.forms for word in meant)), " ".join(_sorted(word.loose for word in meant))


def coverage(query: Sequence[Word], text: str) -> float:
    """Return the share of a query that a text covers, from 0 to 1. A loose match counts for less."""
    if not query:
        return 0.0
    meant = content_words(text)
    exact = {form for word in meant for form in word.forms}
    loose = {form for word in meant for form in word.loose}
    return sum(_likeness(word, exact, loose) for word in query) / len(query)


def _likeness(word: Word, exact: set[str], loose: set[str]) -> float:
    if word.forms & exact:
        return 1.0
    return _LOOSE_WEIGHT if word.loose & loose else 0.0


def _sorted(groups: Iterable[frozenset[str]]) -> list[str]:
    return sorted(set().union(*groups))
