"""A real SMTP server that receives mail."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import socket
import ssl
import threading
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Mailbox:
    """Listens on 127.0.0.1 inside of its context; `answers` to whole messages are used up one by one, then all is taken."""

    def __init__(self, folder: Path | None = None, login: tuple[str, str] | None = None) -> None:
        """`folder`: where to put a certificate; with it STARTTLS is offered, and required. `login`: required, too."""
        self.received: list[EmailMessage] = []
        self.answers: list[str] = []
        self.quotes = False
        """Whether what it answers to a login that it does not accept has the line of the login in it."""
        self.unknown: set[str] = set()
        """Recipients that are refused."""
        self.certificate: Path | None = None
        self._arrived = threading.Condition()
        secure: dict[str, Any] = {}
        if folder is not None:
            self.certificate, key = certificate(folder)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, key)
            secure = {"tls_context": context, "require_starttls": True}
        if login is not None:
            wanted = LoginPassword(login[0].encode(), login[1].encode())

            def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
                plain = base64.b64encode(b"\0" + given.login + b"\0" + given.password).decode()
                quoted = f"535 5.7.8 not accepted: AUTH PLAIN {plain}" if self.quotes else None
                return AuthResult(success=given == wanted, handled=False, message=quoted)

            secure |= {"authenticator": authenticate, "auth_required": True}
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port(), **secure)
        self.port = self._controller.port

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.unknown:
            return "550 No such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            with self._arrived:
                message = message_from_bytes(envelope.content, policy=default)
                assert isinstance(message, EmailMessage)
                self.received.append(message)
                self._arrived.notify_all()
        return answer

    def wait(self, count: int, seconds: float = 30.0) -> list[EmailMessage]:
        """The messages, once there are so many."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.received) >= count, seconds), f"{len(self.received)} came"
            return list(self.received)

    @property
    def told(self) -> list[tuple[str, str]]:
        """(subject, body) of each."""
        return [(str(one["Subject"]), one.get_content().replace("\r\n", "\n")) for one in self.received]

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "mail.crt", folder / "mail.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
