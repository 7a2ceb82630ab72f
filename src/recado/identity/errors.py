"""Errors about owners and their users.

BeingDeleted     identity.being_deleted     409
EmailTaken       identity.email_taken       409
LastOwner        identity.last_owner        409
NoMail           identity.no_mail           409
PasswordRefused  identity.password_refused  422
"""

from recado.core.errors import Conflict, InvalidInput


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
