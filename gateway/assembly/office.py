"""What an operator's command works with: the store, and the log once it records."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.accounts.store import AccountStore
from gateway.assembly.store import open_store
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.operator import record_when_needed
from gateway.clock import Clock, SystemClock
from gateway.configuration import Settings, fingerprint, load, load_keys
from gateway.policy.policy import Policy
from gateway.sessions.store import SessionStore
from gateway.valkey.client import Store
from gateway.valkey.marker import verify_or_set_keycheck
from gateway.vocabulary.events import AuditEvent
from gateway.vocabulary.keys import Keys


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
