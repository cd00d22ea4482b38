"""What the engine works with, built and taken down in order."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.accounts.store import AccountStore
from gateway.assembly.store import open_store
from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.escrow import DIRECTORY, Escrow
from gateway.audit.writer import AuditWriter
from gateway.clock import Clock, SystemClock
from gateway.configuration import Loaded, fingerprint, load_keys
from gateway.engine.services import Services
from gateway.sessions import ticket
from gateway.sessions.assertion import AssertionMaker
from gateway.sessions.cookies import CookieReader
from gateway.sessions.store import SessionStore
from gateway.sessions.token import TokenReader
from gateway.valkey.marker import verify_or_set_keycheck
from gateway.vocabulary.events import AuditEvent, EventKind


class SystemEntropy:
    """The system's randomness."""

    def hex(self, size_bytes: int) -> str:
        """Return *size_bytes* random bytes as hexadecimal digits."""
        return secrets.token_hex(size_bytes)


@asynccontextmanager
async def open_services(
    loaded: Loaded, clock: Clock | None = None, *, writer: str = files.GATEWAY, worker: int | None = None
) -> AsyncIterator[Services]:
    """Build everything the engine works with, and take it down in order.

    *writer* names the log of this process; *worker* is its number among the workers of the node, from 1: each
    writes a log of its own.

    Raises:
        KeysRefused, KeysDisagree: wrong keys refuse to start.
        AuditUnavailable: a log that cannot be written, or is not the one that was signed, refuses to start.
        EmbeddedFailed, StoreUnavailable, StoreEmptied, MarkerFileBroken: the store.
    """
    settings, policy = loaded.settings, loaded.policy
    keys = load_keys(settings.keys_dir)
    used_clock = clock if clock is not None else SystemClock()
    async with open_store(settings) as store:
        await verify_or_set_keycheck(store, fingerprint(keys))
        name = files.writer_name(writer, settings.audit_node, worker or 1)
        audit = AuditWriter(
            settings.audit_dir / name,
            LOG_NAME,
            keys.checkpoint,
            segment_bytes=settings.segment_bytes,
            clock=used_clock,
        )
        escrow = None
        if settings.escrow_recipients:
            escrow = Escrow(settings.audit_dir / DIRECTORY, name, settings.escrow_recipients)
        await asyncio.to_thread(audit.open)
        try:
            if escrow is not None:
                escrow.open()
            yield Services(
                policy=policy,
                keys=keys,
                clock=used_clock,
                entropy=SystemEntropy(),
                store=store,
                accounts=AccountStore(store),
                sessions=SessionStore(store),
                tokens=TokenReader(keys.session),
                cookies=CookieReader(keys.binding, ticket.COOKIE),
                asserter=AssertionMaker(keys.assertion, policy.issuer),
                audit=audit,
                escrow=escrow,
            )
        finally:
            if escrow is not None:
                await asyncio.to_thread(escrow.close)
            await asyncio.to_thread(audit.close, end_segment=worker is not None)


def note(services: Services, kind: EventKind, *detail: tuple[str, str]) -> AuditEvent:
    """Return an event of the process's own life."""
    return AuditEvent(
        kind=kind,
        at_ms=services.clock.now_ms(),
        policy_id=services.policy.policy_id,
        detail=(("host", socket.gethostname()), *detail),
    )
