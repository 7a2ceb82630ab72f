"""What customers write, so that the model and the judge can read it again.

Every message has an order number of its own; only this number is searched in what customers received.
"""

import re

PERSON = "atendente"
"""The model hands over to a person when it reads this, most times; asked again it may answer."""
POISON = "quebrado"
"""The model's server refuses this for good, so the customer gets an apology."""
STOP, START = "PARAR", "VOLTAR"

_NUMBER = re.compile(r"\bq\d{7}w\b")


def number_of(count: int) -> str:
    """The order number of the n-th message of a run."""
    return f"q{count:07d}w"


def numbers_in(body: str) -> list[str]:
    """The order numbers a text speaks of, each once."""
    return list(dict.fromkeys(_NUMBER.findall(body)))
