"""The applications: do they answer the gateway, and do they refuse whoever comes around it."""

import asyncio
import http.client
import ssl
import time
from dataclasses import dataclass

from gateway.doctor.findings import Finding, failed, ok, warning
from gateway.policy.policy import App

WAIT_S = 5.0
SLOW_MS = 1_000
_REFUSALS = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """How an application answered a request that carries nothing: no cookie, no password, no assertion.

    *fault* is why it did not answer. *is_asked_for*: the configuration says which path shall be refused.
    """

    app: str
    place: str
    is_encrypted: bool
    is_asked_for: bool
    fault: str | None = None
    status: int = 0
    took_ms: int = 0


async def gather(apps: list[App]) -> list[UpstreamFacts]:
    """Ask every application once, all at the same time."""
    return list(await asyncio.gather(*(asyncio.to_thread(ask, app) for app in apps)))


def ask(app: App, wait_s: float = WAIT_S) -> UpstreamFacts:
    """Ask *app* directly for its ``check_path``, without anything that proves the way through the gateway."""
    upstream, is_encrypted = app.upstream, app.upstream.scheme == "https"
    place = f"{upstream.scheme}://{upstream.host}:{upstream.port}"
    facts = UpstreamFacts(app.name, place, is_encrypted, app.check_path is not None)
    connection: http.client.HTTPConnection
    if is_encrypted:
        context = ssl.create_default_context(cafile=upstream.ca_file)
        connection = http.client.HTTPSConnection(
            upstream.host, upstream.port, timeout=wait_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(upstream.host, upstream.port, timeout=wait_s)
    began_s = time.monotonic()
    try:
        headers = {
            "Host": app.hosts[0],
            "User-Agent": "ecluse-doctor",
            "Accept": "*/*",
            "Connection": "close",
        }
        connection.request("GET", app.check_path or "/", headers=headers)
        answer = connection.getresponse()
    except ssl.SSLError as error:
        return _with(facts, f"its certificate is not believed ({error.reason or 'TLS'})")
    except (OSError, http.client.HTTPException) as error:
        return _with(facts, (getattr(error, "strerror", None) or type(error).__name__))
    finally:
        connection.close()
    took_ms = round((time.monotonic() - began_s) * 1_000)
    return UpstreamFacts(
        app.name, place, is_encrypted, app.check_path is not None, None, answer.status, took_ms
    )


def _with(facts: UpstreamFacts, fault: str) -> UpstreamFacts:
    return UpstreamFacts(facts.app, facts.place, facts.is_encrypted, facts.is_asked_for, fault)


def judge(facts: UpstreamFacts) -> list[Finding]:
    """Return what is to be said of *facts*. Pure."""
    reached, around = f"app {facts.app}", f"around the gateway to {facts.app}"
    if facts.fault is not None:
        return [
            failed(reached, f"{facts.place} does not answer: {facts.fault}", "start it, or mend upstream")
        ]
    said = f"{facts.place} answers in {facts.took_ms} ms"
    findings = [
        warning(reached, f"{said}: every page waits that long", "look at the network and the application")
        if facts.took_ms > SLOW_MS
        else ok(reached, said)
    ]
    mend = (
        "let only the gateway's machine reach it (firewall), or have it ask for X-Ecluse-Assertion "
        "(docs/verifying-assertions.md), and name a path that it then refuses as check_path"
    )
    if not facts.is_asked_for:
        said = "nobody knows whether it refuses who comes around the gateway"
        findings.append(
            warning(around, said, f"write apps.{facts.app}.check_path, a path that needs the assertion")
        )
    elif facts.status in _REFUSALS:
        findings.append(ok(around, f"refused without the gateway's assertion ({facts.status})"))
    else:
        said = f"it answers {facts.status} without the gateway's assertion: whoever reaches it needs no code"
        findings.append(failed(around, said, mend))
    return findings
