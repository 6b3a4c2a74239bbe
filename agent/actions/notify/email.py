"""E-mail, by the standard library's smtplib."""

import base64
import logging
import re
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate

from agent.errors import Refused, Transient, cause
from agent.host import network
from agent.host import secrets as secret
from rules.notice.message import Message

_DETAIL = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
"""The status code with which a server may begin its text: RFC 3463."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Email:
    """A mail server, and whom to write to."""

    host: str
    port: int
    tls: str
    """`starttls`, `tls` from the first byte on, or `none`."""
    sender: str
    to: Sequence[str]
    user: str | None = None
    password_file: str | None = None
    timeout: float = 20.0
    """Seconds for all of it."""

    @property
    def shown(self) -> str:
        """For people and logs."""
        return f"{', '.join(self.to)} through {self._server}"

    @property
    def _server(self) -> str:
        return f"{self.host}:{self.port}"

    def send(self, message: Message, key: str) -> None:
        """Hand it to the server. `key`: becomes the message's id. Raises Transient, Refused."""
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = message.subject, self.sender, ", ".join(self.to)
        mail["Date"] = formatdate()
        mail["Message-ID"] = f"<dropline-{key}@{self.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        mail.set_content(message.body)
        password = None if self.password_file is None else secret.read(self.password_file)
        secrets = _forms(self.user, password)
        try:
            with network.call(self.timeout):
                server = network.mail_server(self.host, self.port, tls=self.tls == "tls")
                try:
                    self._introduce(server, password)
                    refused = server.send_message(mail)
                    _leave(server)
                finally:
                    server.close()
        except smtplib.SMTPRecipientsRefused as error:
            raise Refused(
                f"{self._server} takes mail for none of {', '.join(self.to)}: "
                f"{_said(next(iter(error.recipients.values())), secrets)}",
                "correct `to` in [notify.email], or ask whoever runs the server",
            ) from None
        except smtplib.SMTPResponseException as error:
            raise Transient(f"{self._server} answered {_said((error.smtp_code, error.smtp_error), secrets)}") from None
        except smtplib.SMTPException as error:
            raise Transient(f"{self._server}: {error}") from None
        except ssl.SSLError as error:
            why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason
            raise Transient(f"no secure connection to {self._server}: {why}") from None
        except OSError as error:
            raise Transient(f"{self._server} cannot be reached: {cause(error)}") from None
        for name, answer in refused.items():  # the others have it: sending it again would tell them twice
            log.warning("%s took a message, but not for %s: %s", self._server, name, _said(answer, secrets))

    def _introduce(self, server: smtplib.SMTP, password: str | None) -> None:
        """Secure the connection and log in, as far as that is wanted."""
        if self.tls == "starttls":
            try:
                server.starttls(context=network.secured(ssl.create_default_context()))
            except smtplib.SMTPNotSupportedError:
                raise Refused(
                    f"{self._server} offers no STARTTLS", 'set `tls` in [notify.email] to "tls" or "none"'
                ) from None
        if self.user is not None and password is not None:
            try:
                server.login(self.user, password)
            except smtplib.SMTPAuthenticationError as error:
                raise Refused(
                    f"{self._server} does not accept the login of {self.user}: {_code(error)}",
                    f"correct `user` in [notify.email], or the password in {self.password_file}",
                ) from None
            except smtplib.SMTPResponseException as error:
                raise Transient(f"{self._server} answered the login of {self.user} with {_code(error)}") from None
            except UnicodeEncodeError:
                raise Refused(f"the password in {self.password_file} is not ASCII", "choose another one") from None


def _leave(server: smtplib.SMTP) -> None:
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        pass  # the mail was taken; sending it again for the sake of a farewell would tell people twice


def _said(answer: tuple[int, bytes | str], secrets: Sequence[str]) -> str:
    """An answer for people and logs, without the secrets."""
    code, text = answer
    words = _text(text)
    for one in secrets:
        words = words.replace(one, "[masked]")
    return f"{code} {' '.join(words.split())[:300]}"


def _code(error: smtplib.SMTPResponseException) -> str:
    """What is kept of an answer to the login: its codes. Its text may quote, in whole or in part, the line with the password."""
    detail = _DETAIL.match(_text(error.smtp_error))
    return f"{error.smtp_code} {detail[0]}" if detail else str(error.smtp_code)


def _text(text: bytes | str) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def _forms(user: str | None, password: str | None) -> list[str]:
    """How a password travels, the longest form first: as it is, and as the mechanisms LOGIN and PLAIN have it."""
    if user is None or password is None:
        return []
    texts = (f"\0{user}\0{password}", password)
    return [*(base64.b64encode(one.encode()).decode() for one in texts), password]
