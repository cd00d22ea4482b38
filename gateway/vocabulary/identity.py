"""Who a request is attributed to."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Standing(StrEnum):
    """The life of an account (behaviour, part 1). ABSENT: nobody invited this login."""

    ABSENT = "absent"
    INVITED = "invited"
    ACTIVE = "active"
    LOCKED = "locked"
    RETIRED = "retired"


class Stage(StrEnum):
    """How far a session has come. Only FULL opens the application."""

    PENDING = "pending"
    """The app's password was right (after-login); the code or the enrolment is still owed."""
    CODE_FIRST = "code-first"
    """The code was right (before-login); the app's own login is still owed."""
    INVITED_FIRST = "invited-first"
    """An invitation was shown (before-login); the app's login, then the enrolment, are still owed."""
    FULL = "full"


class AccountRef(msgspec.Struct, frozen=True):
    """One person in one realm.

    *name* is the canonical login (accounts.names); *id* is 32 hex digits, the keyed hash of realm
    and name, and is what stands in store keys, cookies and metrics.
    """

    realm: str
    name: str
    id: str


class SessionClaims(msgspec.Struct, frozen=True):
    """What a gateway cookie says once its signature holds. The stage lives in the store, not here."""

    session_id: str
    account_id: str
    app: str
    expires_s: int


@dataclass(frozen=True, slots=True)
class LoginSeen:
    """The unmodified application has let somebody in, or is about to be asked to.

    *typed* is the login as sent to the app; it is canonicalised by accounts.names before any use.
    """

    typed: str
    rule: str


@dataclass(frozen=True, slots=True)
class NameMapping:
    """How the apps of a realm collapse logins, so that one person has one name here too.

    Applied after NFKC and case folding, in this order: *strip_domains* (``CHU\\login`` gives
    ``login``), *email_domains* (``login@chu.example`` gives ``login``), *strip_prefixes*, *drop* (each
    character is removed), *replace* (pairs). *scripts* lists the Unicode scripts a name may be
    written in; anything else is refused, since it could look like somebody else's name.
    """

    strip_domains: tuple[str, ...] = ()
    email_domains: tuple[str, ...] = ()
    strip_prefixes: tuple[str, ...] = ()
    drop: str = ""
    replace: tuple[tuple[str, str], ...] = ()
    scripts: tuple[str, ...] = ("LATIN",)
    max_length: int = 128
