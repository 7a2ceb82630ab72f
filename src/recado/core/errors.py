"""The errors that a person or another program may meet.

Each has a stable `code` (named after the module that raises it), an HTTP `status`, and one sentence that says what is
wrong and, where there is one, which variable or command corrects it. Expected results (a duplicate, a refusal by the
provider) are values and no errors.

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
    """An error that a caller can understand; `str(error)` is one clear sentence."""

    code: ClassVar[str] = "core.error"
    status: ClassVar[int] = 500


class NotFound(DomainError):
    """The thing does not exist or belongs to another owner: the two cases look the same on purpose."""

    code = "core.not_found"
    status = 404


class InvalidInput(DomainError):
    """An input cannot be used; the sentence says which one and what would be accepted."""

    code = "core.invalid_input"
    status = 422


class Conflict(DomainError):
    """The request does not fit the present state."""

    code = "core.conflict"
    status = 409


class Busy(DomainError):
    """Too many writes wait for the database. Nothing was stored; try again later."""

    code = "core.busy"
    status = 503


class StorageUnavailable(DomainError):
    """The database cannot store now (full disk, I/O error, lost connection); nothing was stored."""

    code = "core.storage"
    status = 503


class NotConfirmed(StorageUnavailable):
    """The connection was lost during a commit, so it is not known whether this was stored.

    A repeat stores nothing twice.
    """

    code = "core.not_confirmed"


class BrokerLost(DomainError):
    """The broker did not take wake-ups. This costs latency only: workers poll the table meanwhile."""

    code = "queue.broker_lost"
    status = 503


class ConfigurationError(DomainError):
    """A setting is missing or wrong; the sentence names the variable."""

    code = "core.configuration"
