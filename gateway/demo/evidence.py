"""What clients received against what the audit log holds, exchange by exchange and patient by patient."""

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.vocabulary.keys import KeyRing

Access = tuple[str, tuple[str, ...]]
"""Who, and the pseudonyms of everybody one answer showed them, sorted."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """*served* and *audited* count patients over all exchanges; the two tuples list what only one side knows."""

    served: int
    audited: int
    unaudited: tuple[Access, ...]
    unserved: tuple[Access, ...]

    @property
    def equal(self) -> bool:
        """Tell whether both sides hold the same exchanges with the same patients."""
        return not self.unaudited and not self.unserved


def pseudonym(ring: KeyRing, system: str, patient: int) -> str:
    """Return how the audit log names *patient*: HMAC-SHA256 of numbering and id, its first 16 bytes.

    Written here a second time on purpose: a check that asked the gateway's own code would agree with its faults.
    """
    digest = hmac.new(ring.key(), f"{system}\x1f{patient}".encode(), hashlib.sha256).digest()
    return f"{ring.current}:{digest[:16].hex()}"


def served(ring: KeyRing, system: str, login: str, exchanges: Iterable[Iterable[int]]) -> list[Access]:
    """Return what *login* received, an entry for each answer that showed anybody."""
    return [(login, tuple(sorted(pseudonym(ring, system, one) for one in ids))) for ids in exchanges]


def audited(audit_dir: Path) -> list[Access]:
    """Return what the journals under *audit_dir* say was released, an entry for each such answer.

    Raises:
        ValueError: a line is no JSON object.
    """
    found = []
    for journal in sorted(audit_dir.glob("*/*.jsonl")):
        for line in journal.read_bytes().splitlines():
            event = json.loads(line)
            if event.get("kind") == "access" and event.get("patients"):
                found.append((str(event.get("account")), tuple(sorted(event["patients"]))))
    return found


def compare(received: Iterable[Access], recorded: Iterable[Access]) -> Comparison:
    """Compare both sides; an exchange that happened twice has to be recorded twice."""
    left, right = Counter(received), Counter(recorded)
    return Comparison(
        served=sum(len(patients) * times for (_, patients), times in left.items()),
        audited=sum(len(patients) * times for (_, patients), times in right.items()),
        unaudited=tuple((left - right).elements()),
        unserved=tuple((right - left).elements()),
    )
