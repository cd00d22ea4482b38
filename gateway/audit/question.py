"""What an auditor may ask, and under which names a patient stands in the log."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from gateway.vocabulary.events import EventKind
from gateway.vocabulary.keys import KeyRing

DECISIONS: Final[dict[str, tuple[EventKind, ...]]] = {
    "release": (EventKind.ACCESS, EventKind.SIGHTED, EventKind.UNSAFE_SENT),
    "withhold": (EventKind.WITHHELD,),
    "refuse": (EventKind.REFUSED, EventKind.FAIL_CLOSED),
    "challenge": (EventKind.CHALLENGED, EventKind.STEP_UP_ASKED),
}
"""Which kinds of event tell each decision about an exchange."""

_SEPARATOR = b"\x1f"
_PSEUDONYM_BYTES = 16


@dataclass(frozen=True, slots=True)
class Question:
    """Which events: every field given must fit.

    *patients* are pseudonyms, any of which may stand in the event. *decisions* are keys of DECISIONS.
    *outcomes* fit an event's reason or its control. *from_ms* is included, *to_ms* is not. *newest* asks for
    the last ones first, *limit* bounds them.
    """

    accounts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    realm: str | None = None
    patients: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    establishments: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    request_id: str | None = None
    reference: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    newest: bool = False
    limit: int | None = None


def pseudonyms(ring: KeyRing, system: str, patient_id: str) -> tuple[str, ...]:
    """Return the pseudonyms of one patient under every key of *ring*, the current key's first.

    ``<kid>:<hex32>``, HMAC-SHA256 of system, 0x1F and id, its first 16 bytes. *patient_id* is in the form
    the route's normalisation gives it.
    """
    message = system.encode() + _SEPARATOR + patient_id.encode()
    kids = [ring.current, *(kid for kid in ring.keys if kid != ring.current)]
    return tuple(
        f"{kid}:{hmac.digest(ring.keys[kid], message, hashlib.sha256)[:_PSEUDONYM_BYTES].hex()}"
        for kid in kids
    )
