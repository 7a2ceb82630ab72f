"""Check that mails can get out: the server answers, by TLS, and takes name and password. No mail is sent."""

import smtplib
import socket
import ssl
import threading
from contextlib import suppress
from typing import Final

from recado.identity.mail.smtp import SmtpMailer
from recado.operations.doctor.findings import Finding

TRIAL_SECONDS: Final = 10.0
"""The time limit of the trial."""
NO_SERVER: Final = "RECADO_SMTP_URL names no mail server, so `recado users invite` prints its links"
UNUSED_SENDER: Final = "RECADO_SMTP_FROM is set, but no mail is sent without RECADO_SMTP_URL"


def without_mail(sender: str | None) -> Finding:
    """Tell what it means that no mail server is set."""
    return Finding("mail", True, NO_SERVER if sender is None else UNUSED_SENDER)


def try_mail(mailer: SmtpMailer, seconds: float = TRIAL_SECONDS) -> Finding:
    """Connect to the mail server and sign in, within `seconds`."""
    ended: list[Finding] = []
    # A server may answer a letter at a time, and a thread cannot be stopped: this one dies with the process.
    trial = threading.Thread(target=lambda: ended.append(_try(mailer)), name="recado-mail-trial", daemon=True)
    trial.start()
    trial.join(seconds)
    return ended[0] if ended else Finding("mail", False, _silent(mailer.place, seconds))


def _try(mailer: SmtpMailer) -> Finding:
    try:
        server = mailer.enter()
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return Finding("mail", False, f"the mail server {mailer.place} {_why(error)}")
    with suppress(smtplib.SMTPException, OSError), server:
        pass
    return Finding("mail", True, f"the mail server {mailer.place} lets us in; no mail was sent")


def _silent(place: str, seconds: float) -> str:
    return (
        f"the mail server {place} did not let us in within {seconds:g} s: look at RECADO_SMTP_URL "
        "(a port that begins with TLS, such as 465, needs smtps://)"
    )


_ELSEWHERE: Final = "look at host and port in RECADO_SMTP_URL"


def _why(error: Exception) -> str:
    """Return what went wrong, and the variable to mend. No answer of a server is shown: it may repeat the password."""
    match error:
        case smtplib.SMTPResponseException():
            return _why_not_answered(error)
        case smtplib.SMTPNotSupportedError() if "STARTTLS" in str(error):
            return "offers no TLS, without which nothing is sent: name another port or server in RECADO_SMTP_URL"
        case smtplib.SMTPServerDisconnected():
            return f"hung up: {_ELSEWHERE}"
        case smtplib.SMTPException():  # It knows no way, or none of ours, to take them.
            return "takes no name and password: take them out of RECADO_SMTP_URL"
        case _:
            return _why_not_reached(error)


def _why_not_answered(error: smtplib.SMTPResponseException) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"refuses the name and password of RECADO_SMTP_URL ({error.smtp_code})"
    if error.smtp_code < 0:
        return f"does not speak SMTP: {_ELSEWHERE}"
    return f"answered {error.smtp_code}: ask who runs it, or name another server in RECADO_SMTP_URL"


def _why_not_reached(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"shows a certificate that does not hold ({error.verify_message}): mend the host in RECADO_SMTP_URL"
        case ssl.SSLError():
            return "does not begin with TLS: write RECADO_SMTP_URL with smtp:// (usually port 587)"
        case socket.gaierror():
            return "is not known to this machine: mend the host in RECADO_SMTP_URL"
        case _:
            told = getattr(error, "strerror", None) or type(error).__name__
            return f"cannot be reached ({told}): {_ELSEWHERE}"
