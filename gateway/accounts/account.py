"""What is known of one account, and the steps of its life. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.vocabulary.identity import Standing


class Act(StrEnum):
    """What can be done to an account."""

    INVITE = "invite"
    ENROL = "enrol"
    LOCK = "lock"
    UNLOCK = "unlock"
    RESET = "reset"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Account:
    """One person of one realm, without any secret.

    Times are Unix milliseconds, None when it has not happened. *epoch* rises whenever every session
    of the account has to end. *recovery_left* counts unused recovery codes. Until *owes_until_ms* each of its
    sessions owes a fresh code, if it has not given one since; *owes_why* is the word for it.
    """

    id: str
    login: str
    realm: str
    standing: Standing
    account_class: str | None = None
    establishment: str | None = None
    display: str | None = None
    created_ms: int | None = None
    enrolled_ms: int | None = None
    last_login_ms: int | None = None
    has_secret: bool = False
    failures: int = 0
    next_try_ms: int | None = None
    recovery_left: int = 0
    invitation_id: str | None = None
    invitation_until_ms: int | None = None
    locked_reason: str | None = None
    epoch: int = 0
    owes_until_ms: int | None = None
    owes_why: str | None = None

    def is_dormant(self, now_ms: int, dormant_s: int) -> bool:
        """Tell whether nobody has logged in for *dormant_s* (CISA AA22-074A).

        A new invitation is then needed.
        """
        seen = self.last_login_ms or self.enrolled_ms
        return seen is not None and now_ms - seen > dormant_s * 1000

    def is_enrolled(self, now_ms: int, dormant_s: int) -> bool:
        """Tell whether this account may be asked for a code."""
        return self.standing is Standing.ACTIVE and self.has_secret and not self.is_dormant(now_ms, dormant_s)


def after(
    standing: Standing, act: Act, *, has_secret: bool = False, dormant: bool = False
) -> Standing | None:
    """Return where *act* leads from *standing*, None when it is refused.

    *has_secret*: a factor is enrolled; *dormant*: nobody used it for too long, which is the only way to
    invite an active account again without a reset.
    """
    match act, standing:
        case Act.INVITE, Standing.ABSENT | Standing.INVITED | Standing.RETIRED:
            return Standing.INVITED
        case Act.INVITE, Standing.ACTIVE:
            return Standing.INVITED if dormant else None
        case Act.ENROL, Standing.INVITED:
            return Standing.ACTIVE
        case Act.LOCK, Standing.ABSENT | Standing.INVITED | Standing.ACTIVE | Standing.LOCKED:
            return Standing.LOCKED
        case Act.UNLOCK, Standing.LOCKED:
            return Standing.ACTIVE if has_secret else Standing.INVITED
        case Act.RESET, Standing.INVITED | Standing.ACTIVE:
            return Standing.INVITED
        case Act.RESET, Standing.LOCKED:
            return Standing.LOCKED
        case Act.RETIRE, Standing.INVITED | Standing.ACTIVE | Standing.LOCKED:
            return Standing.RETIRED
        case _:
            return None
