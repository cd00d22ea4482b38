"""The only place that builds clients, stores and the log."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.accounts.names import NameRefused, account_ref
from gateway.accounts.store import AccountStore
from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.escrow import DIRECTORY, Escrow
from gateway.audit.operator import local_user, operator_log, record_when_needed
from gateway.audit.writer import AuditUnavailable, AuditWriter
from gateway.clock import Clock, SystemClock
from gateway.configuration import Loaded, Settings, fingerprint, load, load_keys
from gateway.engine.services import Services
from gateway.policy.policy import Policy
from gateway.sessions import ticket
from gateway.sessions.assertion import AssertionMaker
from gateway.sessions.cookies import CookieReader
from gateway.sessions.store import SessionStore
from gateway.sessions.token import TokenReader
from gateway.valkey.client import Store
from gateway.valkey.embedded import Embedded
from gateway.valkey.library import product_sources
from gateway.valkey.marker import verify_or_set_keycheck
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.identity import AccountRef
from gateway.vocabulary.keys import Keys


class SystemEntropy:
    """The system's randomness."""

    def hex(self, size_bytes: int) -> str:
        """Return *size_bytes* random bytes as hexadecimal digits."""
        return secrets.token_hex(size_bytes)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Open the configured store, the embedded one included.

    Raises:
        EmbeddedFailed, StoreUnavailable, MarkerFileBroken: each names what to mend.
    """
    async with AsyncExitStack() as stack:
        url = settings.store_url
        if settings.embedded_store:
            embedded = await Embedded.start(settings.state_dir / "store")
            stack.push_async_callback(embedded.stop)
            url = embedded.url
        store = await Store.open(
            url,
            libraries=product_sources(),
            state_dir=settings.state_dir,
            timeout_ms=settings.store_timeout_ms,
        )
        stack.push_async_callback(store.close)
        yield store


@asynccontextmanager
async def open_services(
    loaded: Loaded, clock: Clock | None = None, *, writer: str = files.GATEWAY
) -> AsyncIterator[Services]:
    """Build everything the engine works with, and take it down in order. *writer* names the log of this process.

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
        name = files.writer_name(writer, settings.audit_node)
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
            await asyncio.to_thread(audit.close)


def note(services: Services, kind: EventKind, *detail: tuple[str, str]) -> AuditEvent:
    """Return an event of the process's own life."""
    return AuditEvent(
        kind=kind,
        at_ms=services.clock.now_ms(),
        policy_id=services.policy.policy_id,
        detail=(("host", socket.gethostname()), *detail),
    )


@dataclass(frozen=True, slots=True)
class Office:
    """What an operator's command works with. *record* makes an event durable before it returns."""

    policy: Policy
    settings: Settings
    keys: Keys
    store: Store
    accounts: AccountStore
    sessions: SessionStore
    clock: Clock
    record: Callable[[AuditEvent], int]


@asynccontextmanager
async def open_for_operator(config_path: Path) -> AsyncIterator[Office]:
    """Open the store for one command, and the log once it records; beside a running gateway or without it.

    Raises:
        ConfigurationFaults, KeysRefused, KeysDisagree, EmbeddedFailed, StoreUnavailable, StoreEmptied: each
        names what to mend.
    """
    loaded = load(config_path)
    settings, policy = loaded.settings, loaded.policy
    keys = load_keys(settings.keys_dir)
    async with open_store(settings) as store:
        await verify_or_set_keycheck(store, fingerprint(keys))
        with record_when_needed(
            settings.audit_dir, LOG_NAME, keys.checkpoint, node=settings.audit_node
        ) as record:
            yield Office(
                policy=policy,
                settings=settings,
                keys=keys,
                store=store,
                accounts=AccountStore(store),
                sessions=SessionStore(store),
                clock=SystemClock(),
                record=record,
            )


@dataclass(slots=True)
class Lookout:
    """What the watcher works with. *policy* is replaced when the gateway reloads."""

    policy: Policy
    settings: Settings
    keys: Keys
    accounts: AccountStore
    clock: Clock
    operator: str

    def ref(self, realm: str, login: str) -> AccountRef | None:
        """Return whom the log names *login* in *realm*; None when the configuration knows no such account any more."""
        found = self.policy.realms.get(realm)
        if found is None:
            return None
        try:
            return account_ref(login, realm, found.mapping, self.keys.names)
        except NameRefused:
            return None

    def record(self, events: Sequence[AuditEvent]) -> int:
        """Make *events* durable, in order, in the journal of commands; return how many are.

        A command that holds the journal is not waited for: nobody is left in meanwhile.

        Raises:
            AuditUnavailable: none could be written.
        """
        settings, ring = self.settings, self.keys.checkpoint
        kept = 0
        try:
            with operator_log(
                settings.audit_dir, LOG_NAME, ring, node=settings.audit_node, wait_s=0.1
            ) as log:
                for event in events:
                    log.record(event)
                    kept += 1
        except AuditUnavailable:
            # What is on disk is recorded, signed or not: written a second time it would tell of two deeds.
            if not kept:
                raise
        return kept


@asynccontextmanager
async def open_for_watcher(config_path: Path) -> AsyncIterator[Lookout]:
    """Open the store for the process that watches the log.

    Raises:
        ConfigurationFaults, KeysRefused, KeysDisagree, EmbeddedFailed, StoreUnavailable, StoreEmptied: each
        names what to mend.
    """
    loaded = load(config_path)
    keys = load_keys(loaded.settings.keys_dir)
    async with open_store(loaded.settings) as store:
        await verify_or_set_keycheck(store, fingerprint(keys))
        yield Lookout(
            policy=loaded.policy,
            settings=loaded.settings,
            keys=keys,
            accounts=AccountStore(store),
            clock=SystemClock(),
            operator=local_user(),
        )


__all__ = [
    "Lookout",
    "Office",
    "local_user",
    "note",
    "open_for_operator",
    "open_for_watcher",
    "open_services",
    "open_store",
]
