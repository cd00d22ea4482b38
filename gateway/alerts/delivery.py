"""From the outbox to the channels: what is due is sent, what fails is noted and tried again."""

import http.client
import smtplib
from collections.abc import Sequence

from gateway import telemetry
from gateway.alerts.channels import Channel
from gateway.alerts.outbox import Outbox
from gateway.clock import Clock

_FORESEEN = (OSError, ValueError, smtplib.SMTPException, http.client.HTTPException)


def deliver(outbox: Outbox, channels: Sequence[Channel], clock: Clock) -> tuple[int, int]:
    """Send what is due; return how many were taken and how many were not. Slow: not for an event loop.

    Raises:
        OutboxRefused: the outbox cannot be read or written.
    """
    known, taken, failed = {channel.name: channel for channel in channels}, 0, 0
    down: set[str] = set()
    for kept, name in outbox.due(clock.now_ms()):
        # What was due there is put off with the one that failed.
        if name not in known or name in down:
            continue
        error = None
        try:
            known[name].send(kept, clock.now_ms())
            taken += 1
        except Exception as fault:  # noqa: BLE001 - one alert nobody can send must not end the telling of the others
            # What is not the network's may repeat what stands in the alert.
            error = (
                f"{type(fault).__name__}: {fault}" if isinstance(fault, _FORESEEN) else type(fault).__name__
            )
            down.add(name)
            failed += 1
            telemetry.ALERT_FAILURES.labels(name).inc()
            telemetry.log().error(
                "alert_not_sent", channel=name, alert=kept.id, **telemetry.describe_fault(fault)
            )
        outbox.settle(kept.id, name, clock.now_ms(), error)
    return taken, failed
