"""What the corridor is given: the rooms' effects, built once by assembly."""

from dataclasses import dataclass, field
from typing import Protocol

from gateway.accounts.store import AccountStore
from gateway.audit.escrow import Escrow
from gateway.audit.writer import AuditWriter
from gateway.clock import Clock
from gateway.engine.shown import Shown
from gateway.engine.walks import Walks
from gateway.lookups import AskedBefore, Believed
from gateway.policy.policy import Policy
from gateway.sessions.assertion import AssertionMaker
from gateway.sessions.cookies import CookieReader
from gateway.sessions.store import SessionStore
from gateway.sessions.token import TokenReader
from gateway.valkey.client import Store
from gateway.vocabulary.keys import Keys


class Entropy(Protocol):
    """Randomness, as an argument."""

    def hex(self, size_bytes: int) -> str:
        """Return *size_bytes* random bytes as hexadecimal digits."""
        ...


@dataclass(slots=True)
class Services:
    """The stores, the log, the keys and the clock. *policy* is swapped whole by a reload."""

    policy: Policy
    keys: Keys
    clock: Clock
    entropy: Entropy
    store: Store
    accounts: AccountStore
    sessions: SessionStore
    tokens: TokenReader
    cookies: CookieReader
    asserter: AssertionMaker
    audit: AuditWriter
    classes: Believed = field(default_factory=dict)
    asked: AskedBefore = field(default_factory=dict)
    stopping: bool = False
    shown: Shown = field(default_factory=Shown)
    walks: Walks = field(default_factory=Walks)
    escrow: Escrow | None = None
