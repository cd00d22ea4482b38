"""The shape of what is said about alerts: whom to tell at once, and how."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.configuration.spec import Spec
from gateway.configuration.words import CollectorUrl, FilePath, HttpUrl, Port, Text

MailAddress = Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$", max_length=254)]


class MailSpec(Spec):
    """Mail over SMTP."""

    host: Text
    """Name of the mail server, as its certificate has it."""
    port: Port = 587
    """TCP port."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` (or not at all), `tls` from the first byte, or `none` to a server on this machine."""
    ca_file: FilePath | None = None
    """PEM file of the authorities of its certificate; the system's when left out."""
    user: Text | None = None
    """Who we are there; with `password_file`."""
    password_file: FilePath | None = None
    """File of mode 0600 that holds the password of `user` and nothing else."""
    sender: MailAddress
    """Address the mail comes from."""
    recipients: Annotated[list[MailAddress], Field(min_length=1, max_length=20)]
    """Addresses it goes to."""
    names: bool = False
    """Whether the login of the account stands in the mail; else `ecluse alerts list` tells it."""


class WebhookSpec(Spec):
    """A web address that takes a POST of JSON."""

    url: HttpUrl
    """Its address, `https://`; `http://` on this machine only."""
    secret_file: FilePath | None = None
    """File of mode 0600 that holds the secret under which `X-Ecluse-Signature` is made."""
    ca_file: FilePath | None = None
    """PEM file of the authorities of its certificate; the system's when left out."""
    names: bool = False
    """Whether the login of the account stands in it."""


class AlertSyslogSpec(Spec):
    """A syslog collector."""

    url: CollectorUrl
    """`tls://host:6514`; or `tcp://` or `udp://`, in clear."""
    ca_file: FilePath | None = None
    """PEM file of the authorities of its certificate; the system's when left out."""
    names: bool = False
    """Whether the login of the account stands in it."""


class AlertsSpec(Spec):
    """Who is told at once when an account is asked for a code by signals, or locked, or a decoy was opened."""

    again_after_s: Annotated[int, Field(ge=60, le=604_800)] = 3_600
    """Seconds within which the same alert about the same account is counted and not told again."""
    at_most_per_hour: Annotated[int, Field(ge=1, le=1_000)] = 20
    """Alerts told within an hour; further ones are kept, and one alert says so."""
    mail: MailSpec | None = None
    """Mail over SMTP."""
    webhook: WebhookSpec | None = None
    """A web address that takes a POST of JSON."""
    syslog: AlertSyslogSpec | None = None
    """A syslog collector."""
