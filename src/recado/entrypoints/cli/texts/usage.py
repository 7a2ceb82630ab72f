"""What the library of the command line says of wrong usage, in Portuguese. Its sentences are found by their form."""

import re
from collections.abc import Mapping
from typing import Final

_FORMS: Final[Mapping[str, str]] = {
    r"Missing command\.": "Falta o comando.",
    r"Missing option (.+?)\.?": r"Falta a opção \1.",
    r"Missing argument (.+?)\.?": r"Falta o argumento \1.",
    r"Missing parameter: (.+)": r"Falta o parâmetro: \1",
    r"No such command (.+?)\.(?: Did you mean (.+)\?)?": r"Não existe o comando \1.",
    r"No such option: (\S+)(?: .*)?": r"Não existe a opção \1.",
    r"Option (.+) requires an argument\.": r"A opção \1 precisa de um valor.",
    r"Option (.+) does not take a value\.": r"A opção \1 não tem valor.",
    r"Got unexpected extra arguments? \((.+)\)": r"Há argumentos a mais: \1",
    r"Invalid value for (.+?): (.+)": r"Valor inválido para \1: \2",
    r"(.+) is not a valid (?:integer|int)\.": r"\1 não é um número inteiro.",
    r"(.+) is not a valid float\.": r"\1 não é um número.",
    r"(.+) is not in the range (.+)\.": r"\1 não está no intervalo \2.",
    r"(.+) is not an id; ids look like (.+)": r"\1 não é um id; um id é como \2",
    r"(?:File|Path|Directory) (.+) does not exist\.": r"\1 não existe.",
    r"(?:File|Path|Directory) (.+) is a directory\.": r"\1 é uma pasta.",
}
_COMPILED: Final = [(re.compile(form, re.DOTALL), portuguese) for form, portuguese in _FORMS.items()]
_NEAR: Final = re.compile(r"\(?Did you mean (.+?)\?\)?$|\(Possible options: (.+)\)$")


def usage_in_portuguese(message: str) -> str:
    """Return a message of the library in Portuguese, or as it is if its form is not known."""
    for form, portuguese in _COMPILED:
        found = form.fullmatch(message)
        if found is None:
            continue
        said = found.expand(portuguese)
        if form.pattern.startswith("Invalid value"):
            said = said.replace(found[2], usage_in_portuguese(found[2]))
        near = _NEAR.search(message)
        return said if near is None else f"{said} Você quis dizer {near[1] or near[2]}?"
    return message
