"""What commands say, in Portuguese."""

from collections.abc import Mapping
from typing import Final

SENTENCES: Final[Mapping[str, str]] = {
    "Error:": "Erro:",
    "Try '{command} --help' for help.": "Veja '{command} --help'.",
    "interrupted": "interrompido",
}
