"""What an attack came to: what the client got, what the app saw of it, what the log tells."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.attacks.harness import Answered, ask
from tests.stand import HOST, Seen, Stand

LAVISH = {"soft_share": 1, "requests_10s": 1_000_000, "probes_1h": 1_000_000, "bytes_1h": 1_000_000_000}
"""Limits for tests that are about something else."""


def lavish(config: dict[str, Any]) -> None:
    """Lift the limits that many requests in a row would meet."""
    config["realms"]["region"] = {"classes": {"standard": dict(LAVISH)}}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt: the answer, and what the app and the log got because of it."""

    answer: Answered
    app_bytes: bytes
    requests: tuple[Seen, ...]
    events: tuple[dict[str, Any], ...]

    @property
    def status(self) -> int:
        """Return the status of the answer, 0 without one."""
        return self.answer.status

    @property
    def event(self) -> dict[str, Any]:
        """Return the only event."""
        assert len(self.events) == 1, self.events
        return self.events[0]


def raw(
    method: str = "GET",
    target: str | bytes = "/dossiers/1001",
    *lines: str,
    cookies: Mapping[str, str] | None = None,
    host: str | bytes = HOST,
    body: bytes = b"",
) -> bytes:
    """Return a request as bytes; nothing in it is escaped or checked."""
    where = target if isinstance(target, bytes) else target.encode("latin-1")
    name = host if isinstance(host, bytes) else host.encode("latin-1")
    head = [method.encode() + b" " + where + b" HTTP/1.1", b"Host: " + name]
    head += [line.encode("latin-1") for line in lines]
    if cookies:
        head.append(
            "; ".join(f"{key}={value}" for key, value in cookies.items()).join(("Cookie: ", "")).encode()
        )
    if body or method in {"POST", "PUT"}:
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


async def attempt(gate: Stand, *parts: bytes, patience_s: float = 5.0) -> Outcome:
    """Send *parts* on a connection of their own."""
    bytes_before, seen_before, told_before = len(gate.app.bytes), len(gate.app.seen), len(await told(gate))
    answered = await ask(gate.port, *parts, patience_s=patience_s)
    return Outcome(
        answered,
        bytes(gate.app.bytes[bytes_before:]),
        tuple(gate.app.seen[seen_before:]),
        tuple((await told(gate))[told_before:]),
    )


async def told(gate: Stand) -> list[dict[str, Any]]:
    """Return the journal without the marks that the stand itself sets to settle it."""
    return [entry for entry in await gate.events() if entry["kind"] != "gap"]


def detail(event: Mapping[str, Any], name: str) -> str | None:
    """Return a detail of an event."""
    found = dict(event.get("detail", {})).get(name)
    return None if found is None else str(found)


def assert_refused(outcome: Outcome, status: int, reason: str, kind: str = "refused") -> dict[str, Any]:
    """Assert that *outcome* is our refusal, that nothing of it reached the app, and that the log tells; return that."""
    assert outcome.status == status, outcome.answer.raw[:400]
    assert outcome.app_bytes == b""
    assert b" NOM" not in outcome.answer.raw
    event = outcome.event
    assert (event["kind"], event["reason"], event["status"]) == (kind, reason, status)
    assert event["client"] == "127.0.0.1"
    assert re.fullmatch("[0-9a-f]{32}", event["request_id"])
    return event
