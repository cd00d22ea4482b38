"""What is remembered: a small state for each account and each class, as one value that can be written down."""

import msgspec

from gateway.detection.breadth import Peers, Today
from gateway.detection.devices import Logins, Shared
from gateway.detection.enumeration import Opened
from gateway.detection.hours import Hours
from gateway.detection.pace import Paced
from gateway.detection.score import Standing
from gateway.detection.searches import Searched

MOST_ACCOUNTS = 50_000
VERSION = 1


class AccountState(msgspec.Struct):
    """One account. *day* is the local day (ordinal) of its last access, *days* how many days it has worked.

    *account_class* and *establishment* are those of its last access: a login does not tell them.
    """

    day: int = 0
    days: int = 0
    opened: Opened = msgspec.field(default_factory=Opened)
    paced: Paced = msgspec.field(default_factory=Paced)
    searched: Searched = msgspec.field(default_factory=Searched)
    today: Today = msgspec.field(default_factory=Today)
    hours: Hours = msgspec.field(default_factory=Hours)
    networks: list[str] = []
    logins: Logins = msgspec.field(default_factory=Logins)
    account_class: str = ""
    establishment: str | None = None
    standing: Standing = msgspec.field(default_factory=Standing)


class ClassState(msgspec.Struct):
    """What is usual in one class of one realm."""

    peers: Peers = msgspec.field(default_factory=Peers)
    hours: Hours = msgspec.field(default_factory=Hours)


class State(msgspec.Struct):
    """Accounts in the order in which they were last seen; the oldest of more than 50 000 is forgotten.

    What is added here gets a default: a file that was written before is read all the same.
    """

    version: int = VERSION
    accounts: dict[str, AccountState] = {}
    classes: dict[str, ClassState] = {}
    shared: Shared = {}

    def account(self, realm: str, login: str) -> AccountState:
        """Return the state of an account, a new one when it was never seen."""
        key = f"{realm}/{login}"
        found = self.accounts.pop(key, None) or AccountState()
        self.accounts[key] = found
        if len(self.accounts) > MOST_ACCOUNTS:
            del self.accounts[next(iter(self.accounts))]
        return found

    def of_class(self, realm: str, name: str) -> ClassState:
        """Return the state of a class."""
        return self.classes.setdefault(f"{realm}/{name}", ClassState())
