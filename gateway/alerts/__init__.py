"""Telling somebody at once: by mail, to a web address, to a syslog collector. Kept on disk until it has arrived."""

from gateway.alerts.channels import Channel, MailChannel, SyslogChannel, WebhookChannel
from gateway.alerts.delivery import deliver
from gateway.alerts.outbox import Kept, Outbox, OutboxRefused

__all__ = [
    "Channel",
    "Kept",
    "MailChannel",
    "Outbox",
    "OutboxRefused",
    "SyslogChannel",
    "WebhookChannel",
    "deliver",
]
