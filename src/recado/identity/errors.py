"""Errors about owners and their users.

BeingDeleted     identity.being_deleted     409
EmailTaken       identity.email_taken       409
LastOwner        identity.last_owner        409
NoMail           identity.no_mail           409
PasswordRefused  identity.password_refused  422
TooManyLinks     identity.too_many_links    429
"""

import math
from datetime import timedelta

from recado.core.errors import Conflict, DomainError, InvalidInput


class BeingDeleted(Conflict):
    """The purge of the organisation was ordered."""

    code = "identity.being_deleted"


class EmailTaken(Conflict):
    """Another owner or user has this e-mail address."""

    code = "identity.email_taken"


class LastOwner(Conflict):
    """Without this user no one could do everything in the organisation any more."""

    code = "identity.last_owner"


class NoMail(Conflict):
    """This installation sends no mail, so no one can ask it for a link."""

    code = "identity.no_mail"


class PasswordRefused(InvalidInput):
    """The password is too short, too long, or among those that attackers try first."""

    code = "identity.password_refused"


class TooManyLinks(DomainError):
    """So many links were made that another would be a nuisance to who gets them."""

    code = "identity.too_many_links"
    status = 429

    def __init__(self, wait: timedelta) -> None:
        self.wait = wait
        super().__init__(
            f"too many links to choose a password were asked for: wait {math.ceil(wait.total_seconds())} s"
        )
