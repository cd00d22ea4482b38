"""Where alerts go. Each sends one, and returns once it was taken."""

import hashlib
import hmac
import http.client
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from gateway.alerts import words
from gateway.alerts.outbox import Kept
from gateway.audit.shipping.link import DatagramLink, Link, StreamLink, trusting

TIMEOUT_S = 15.0
SIGNATURE = "X-Ecluse-Signature"
"""``t=SECONDS,v1=HEX``: HMAC-SHA256 under the shared secret, over the seconds, a full stop and the body."""
_MOST_ANSWER_BYTES = 65_536


class NotTaken(OSError):
    """The other side answered, and did not take it."""


class Channel(Protocol):
    """One way to tell somebody."""

    @property
    def name(self) -> str:
        """Return its name, as it stands in the outbox."""
        ...

    def send(self, kept: Kept, now_ms: int) -> None:
        """Send *kept* and return once it was taken.

        Raises:
            OSError, smtplib.SMTPException, http.client.HTTPException: it was not, or nobody knows.
        """
        ...


@dataclass(frozen=True, slots=True)
class MailChannel:
    """Mail over SMTP: *security* is ``tls`` (at once), ``starttls`` (or not at all), ``none`` on this machine."""

    host: str
    port: int
    security: str
    sender: str
    recipients: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    names: bool = False
    name: str = "mail"

    def send(self, kept: Kept, now_ms: int) -> None:
        """Send one mail to all recipients."""
        message = EmailMessage()
        message["Subject"] = words.subject(kept)
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message["Date"] = formatdate(now_ms / 1_000)
        # The same alert sent twice is one mail to whoever looks at the id.
        message["Message-ID"] = f"<{kept.id}.{kept.alert.at_ms}@{self.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(words.body(kept, names=self.names))
        with self._connect() as server:
            if self.user is not None and self.password is not None:
                server.login(self.user, self.password)
            refused = server.send_message(message)
        if refused:
            raise NotTaken(f"{len(refused)} of {len(self.recipients)} recipients were refused")

    def _connect(self) -> smtplib.SMTP:
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=trusting(self.ca_file))
        server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        if self.security == "starttls":
            try:
                server.starttls(context=trusting(self.ca_file))
            except BaseException:
                server.close()
                raise
        return server


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """A web address that takes a POST of JSON, signed with *secret*."""

    url: str
    secret: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    names: bool = False
    name: str = "webhook"

    def send(self, kept: Kept, now_ms: int) -> None:
        """Post one document; only an answer 2xx is a yes."""
        parts, content = urlsplit(self.url), words.document(kept, names=self.names)
        headers = {"Content-Type": "application/json", "User-Agent": "ecluse"}
        if self.secret is not None:
            headers[SIGNATURE] = sign(self.secret, now_ms // 1_000, content)
        connection = self._connect(parts.scheme, parts.hostname or "", parts.port)
        try:
            connection.request("POST", parts.path or "/", content, headers)
            answer = connection.getresponse()
            answer.read(_MOST_ANSWER_BYTES)
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise NotTaken(f"it answered {answer.status}")

    def _connect(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "https":
            context: ssl.SSLContext = trusting(self.ca_file)
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class SyslogChannel:
    """A syslog collector: *scheme* is tls, tcp or udp."""

    scheme: str
    host: str
    port: int
    sender: str
    ca_file: Path | None = None
    names: bool = False
    name: str = "syslog"

    def send(self, kept: Kept, now_ms: int) -> None:  # noqa: ARG002 - the message bears the alert's time
        """Send one message, on a connection of its own."""
        link: Link
        if self.scheme == "udp":
            link = DatagramLink(self.host, self.port)
        else:
            link = StreamLink(self.host, self.port, trusting(self.ca_file) if self.scheme == "tls" else None)
        try:
            link.send([words.syslog(kept, self.sender, names=self.names)])
            link.finish()
        finally:
            link.drop()


def sign(secret: str, at_s: int, content: bytes) -> str:
    """Return the signature header of *content* at *at_s*, Unix seconds."""
    made = hmac.new(secret.encode(), f"{at_s}.".encode() + content, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={made}"
