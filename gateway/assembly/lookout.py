"""What the process that watches the log works with."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.accounts.names import NameRefused, account_ref
from gateway.accounts.store import AccountStore
from gateway.assembly.store import open_store
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.operator import local_user, operator_log
from gateway.audit.writer import AuditUnavailable
from gateway.clock import Clock, SystemClock
from gateway.configuration import Settings, fingerprint, load, load_keys
from gateway.policy.policy import Policy
from gateway.valkey.marker import verify_or_set_keycheck
from gateway.vocabulary.events import AuditEvent
from gateway.vocabulary.identity import AccountRef
from gateway.vocabulary.keys import Keys


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
