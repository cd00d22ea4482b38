"""Enrolling a factor: a secret is shown, one code is proven, only then is anything kept as the factor."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.accounts.recovery import HashCost, new_codes
from gateway.accounts.sealing import seal, unseal
from gateway.accounts.store import AccountStore
from gateway.accounts.totp import CodeAccepted, check_code, new_secret
from gateway.accounts.verification import SEALED_FACTOR
from gateway.vocabulary.keys import KeyRing


class EnrolmentFault(StrEnum):
    """Why nothing was enrolled."""

    NOT_INVITED = "not-invited"
    """The invitation was used, replaced, cancelled or has expired, or the account is in no state for it."""
    TOO_LATE = "too-late"
    """The secret that was shown is older than 10 minutes: show a new one."""
    WRONG_CODE = "wrong-code"


@dataclass(frozen=True, slots=True)
class Candidate:
    """The secret to show, base32. It is no factor yet."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The factor is kept. *recovery_codes* are shown once; *step* is the code that proved it, used up."""

    step: int
    recovery_codes: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class EnrolmentRefused:
    """Nothing was kept."""

    why: EnrolmentFault


async def start(
    accounts: AccountStore,
    ring: KeyRing,
    account_id: str,
    session_id: str,
    invitation_id: str,
    randomness: bytes,
) -> Candidate | EnrolmentRefused:
    """Return the secret to show in this session; asking again within 10 minutes shows the same one.

    *invitation_id* is what the session proved; *randomness* 20 bytes; *ring* the sealing ring.

    Raises:
        StoreUnavailable, StoreEmptied, SealBroken.
    """
    purpose = _purpose(session_id)
    secret = new_secret(randomness).encode("ascii")
    sealed = seal(ring, secret, purpose=purpose, account_id=account_id)
    kept = await accounts.candidate(account_id, session_id, invitation_id, sealed)
    if kept is None:
        return EnrolmentRefused(EnrolmentFault.NOT_INVITED)
    return Candidate(unseal(ring, kept, purpose=purpose, account_id=account_id).decode("ascii"))


async def confirm(
    accounts: AccountStore,
    ring: KeyRing,
    account_id: str,
    session_id: str,
    invitation_id: str,
    code: str,
    now_ms: int,
    randomness: bytes,
    cost: HashCost,
) -> Enrolled | EnrolmentRefused:
    """Keep the shown secret as the factor when *code* proves it; the invitation is consumed.

    *randomness* is recovery.RANDOM_BYTES long. Of two at the same time exactly one is enrolled.

    Raises:
        StoreUnavailable, StoreEmptied, SealBroken.
    """
    kept = await accounts.candidate(account_id, session_id, invitation_id, None)
    if kept is None:
        return EnrolmentRefused(EnrolmentFault.TOO_LATE)
    secret = unseal(ring, kept, purpose=_purpose(session_id), account_id=account_id)
    found = check_code(secret.decode("ascii"), code, now_s=now_ms // 1000, last_step=-1)
    if not isinstance(found, CodeAccepted):
        return EnrolmentRefused(EnrolmentFault.WRONG_CODE)
    recovery = await asyncio.to_thread(new_codes, randomness, cost)
    sealed = seal(ring, secret, purpose=SEALED_FACTOR, account_id=account_id)
    if not await accounts.enrol(account_id, session_id, invitation_id, sealed, found.step, recovery.hashes):
        return EnrolmentRefused(EnrolmentFault.NOT_INVITED)
    return Enrolled(found.step, recovery.codes)


def _purpose(session_id: str) -> str:
    return f"totp-candidate:{session_id}"
