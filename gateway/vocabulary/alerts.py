"""What somebody is to be told at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alert:
    """*rule* names what raised it, *done* what was done already (``ask``, ``lock``; empty: nothing).

    *french* and *english* tell it, one sentence or some, and name neither a patient nor a professional; *account*
    is the login, which leaves this machine only where the configuration says so. *establishment*: whom it
    concerns, when that is no account.
    """

    rule: str
    done: str
    realm: str
    account: str
    at_ms: int
    french: str
    english: str
    establishment: str = ""
