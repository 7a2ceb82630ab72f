"""The findings of `recado doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. A finding that is not ok keeps Recado from serving."""

    name: str
    ok: bool
    detail: str
