"""From the words about alerts to settings; the files they name are looked at."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from gateway.configuration import files
from gateway.configuration.faults import Location, Problem
from gateway.configuration.schema_alerts import AlertsSpec
from gateway.configuration.settings import AlertSettings, MailSettings, SyslogSettings, WebhookSettings
from gateway.configuration.words import collector_url, is_here


def check_alerts(spec: AlertsSpec) -> Iterator[Problem]:
    """Yield the faults of what is said about alerts. Pure."""
    at: Location = ("alerts",)
    mail, webhook, syslog = spec.mail, spec.webhook, spec.syslog
    if mail is not None:
        if (mail.user is None) != (mail.password_file is None):
            yield Problem((*at, "mail"), "user and password_file belong together", "write both, or neither")
        if mail.security == "none" and not is_here(mail.host):
            yield Problem((*at, "mail", "security"), "mail would travel in clear", "write starttls or tls")
    if webhook is not None:
        parts = urlsplit(webhook.url)
        if parts.scheme != "https" and not is_here(parts.hostname or ""):
            yield Problem((*at, "webhook", "url"), "the alert would travel in clear", "write https://")
    if syslog is not None and syslog.ca_file is not None and not syslog.url.startswith("tls://"):
        yield Problem((*at, "syslog", "ca_file"), "only a tls:// collector has a certificate", "take it out")


def settle_alerts(spec: AlertsSpec, folder: Path, found: list[Problem]) -> AlertSettings:
    """Return the settings of *spec*; paths are from *folder*, faults of files go to *found*."""
    mail = webhook = syslog = None
    if spec.mail is not None:
        mail = MailSettings(
            host=spec.mail.host,
            port=spec.mail.port,
            security=spec.mail.security,
            sender=spec.mail.sender,
            recipients=tuple(spec.mail.recipients),
            user=spec.mail.user,
            password=files.secret(
                folder, spec.mail.password_file, ("alerts", "mail", "password_file"), found
            ),
            ca_file=files.authorities(folder, spec.mail.ca_file, ("alerts", "mail", "ca_file"), found),
            names=spec.mail.names,
        )
    if spec.webhook is not None:
        webhook = WebhookSettings(
            url=spec.webhook.url,
            secret=files.secret(
                folder, spec.webhook.secret_file, ("alerts", "webhook", "secret_file"), found
            ),
            ca_file=files.authorities(folder, spec.webhook.ca_file, ("alerts", "webhook", "ca_file"), found),
            names=spec.webhook.names,
        )
    if spec.syslog is not None:
        scheme, host, port = collector_url(spec.syslog.url)
        ca_file = files.authorities(folder, spec.syslog.ca_file, ("alerts", "syslog", "ca_file"), found)
        syslog = SyslogSettings(scheme, host, port, ca_file, spec.syslog.names)
    return AlertSettings(spec.again_after_s, spec.at_most_per_hour, mail, webhook, syslog)
