"""The words of a diagnosis."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check ended. WARNING: it serves, and something should be done."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was *said* of one *check*, and the *mend*; the mend is empty when all is well."""

    check: str
    outcome: Outcome
    said: str
    mend: str = ""


def ok(check: str, said: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Outcome.OK, said)


def warning(check: str, said: str, mend: str) -> Finding:
    """Return that something should be done."""
    return Finding(check, Outcome.WARNING, said, mend)


def failed(check: str, said: str, mend: str) -> Finding:
    """Return that something does not work, or does not protect."""
    return Finding(check, Outcome.FAILED, said, mend)
