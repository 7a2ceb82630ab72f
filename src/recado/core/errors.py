"""The tree of errors that a person or another program may meet.

Each has a stable `code` (namespaced by the part that raises it), an HTTP `status`, and one sentence that says what is
wrong and, where there is one, which variable or command mends it. Expected endings (a duplicate, a refusal by Twilio)
are not errors; they are values.

    DomainError
    ├── NotFound            core.not_found        404
    ├── InvalidInput        core.invalid_input    422
    ├── Conflict            core.conflict         409
    ├── Busy                core.busy             503
    ├── StorageUnavailable  core.storage          503
    │   └── NotConfirmed    core.not_confirmed    503
    ├── BrokerLost          queue.broker_lost     503
    └── ConfigurationError  core.configuration    500
"""

from typing import ClassVar


class DomainError(Exception):
    """Something a caller can understand went wrong; `str(error)` is one clear sentence."""

    code: ClassVar[str] = "core.error"
    status: ClassVar[int] = 500


class NotFound(DomainError):
    """There is no such thing, or it belongs to somebody else: the two look the same on purpose."""

    code = "core.not_found"
    status = 404


class InvalidInput(DomainError):
    """What was given cannot be used; the sentence says which part and what would do."""

    code = "core.invalid_input"
    status = 422


class Conflict(DomainError):
    """What was asked for does not fit the present state."""

    code = "core.conflict"
    status = 409


class Busy(DomainError):
    """Too much is waiting for the database; nothing was stored, and trying again later is right."""

    code = "core.busy"
    status = 503


class StorageUnavailable(DomainError):
    """The database cannot store now (full disk, I/O error, lost connection); nothing was stored."""

    code = "core.storage"
    status = 503


class NotConfirmed(StorageUnavailable):
    """The database was lost in mid-commit: whether this was stored is not known. Asking again stores nothing twice."""

    code = "core.not_confirmed"


class BrokerLost(DomainError):
    """The broker did not take wake-ups. Costs latency and nothing else: workers look at the table meanwhile."""

    code = "queue.broker_lost"
    status = 503


class ConfigurationError(DomainError):
    """A setting is missing or wrong; the sentence names the variable that mends it."""

    code = "core.configuration"
