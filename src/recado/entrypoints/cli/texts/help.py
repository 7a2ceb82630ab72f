"""What the help of commands says, in Portuguese."""

from collections.abc import Mapping
from typing import Final

HELP: Final[Mapping[str, str]] = {}
