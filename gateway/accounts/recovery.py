"""Recovery codes: ten of them, each good for one login, kept as argon2id hashes.

A code is a selector of 4 symbols, which finds the one hash to check, and a secret of 16 symbols (80
bits; NIST SP 800-63B-4, 4.2.1 asks for 64). Making and checking hashes is heavy: call from a thread.
"""

from dataclasses import dataclass
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.accounts import letters

COUNT = 10
RANDOM_BYTES = COUNT * 15
_SELECTOR = 4
_SYMBOLS = 20


@dataclass(frozen=True, slots=True)
class HashCost:
    """Parameters of argon2id (RFC 9106); *memory_kib* in KiB."""

    time: int = 2
    memory_kib: int = 19_456
    lanes: int = 1


CHEAPEST = HashCost(time=1, memory_kib=8)
"""Only for tests."""


@dataclass(frozen=True, slots=True)
class RecoveryHash:
    """One code as it is kept. *id* is its selector; *used_ms* when it was used, None while it is good."""

    id: str
    hash: str
    used_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RecoverySet:
    """Ten new codes: *codes* are shown once and forgotten, *hashes* are kept."""

    codes: tuple[str, ...]
    hashes: tuple[RecoveryHash, ...]

    def __repr__(self) -> str:
        return f"RecoverySet({len(self.codes)} codes)"


def new_codes(randomness: bytes, cost: HashCost) -> RecoverySet:
    """Make ten codes ``XXXX-XXXX-XXXX-XXXX-XXXX`` out of 150 random bytes. Heavy: ten hashes.

    Raises:
        ValueError: when *randomness* is not 150 bytes.
    """
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"ten recovery codes are made of {RANDOM_BYTES} random bytes, not {len(randomness)}")
    codes: list[str] = []
    hashes: list[RecoveryHash] = []
    taken: set[str] = set()
    for at in range(0, RANDOM_BYTES, 15):
        # 15 bytes give 24 symbols: the first 20 are the code, the last 4 another selector if one is taken.
        symbols = letters.write(randomness[at : at + 15]).replace("-", "")
        selector, secret = symbols[:_SELECTOR], symbols[_SELECTOR:_SYMBOLS]
        if selector in taken:
            selector = _free(symbols[_SYMBOLS:], taken)
        taken.add(selector)
        code = selector + secret
        codes.append("-".join(code[group : group + 4] for group in range(0, _SYMBOLS, 4)))
        hashes.append(RecoveryHash(selector, _hasher(cost).hash(secret)))
    return RecoverySet(tuple(codes), tuple(hashes))


def find_code(typed: str, kept: tuple[RecoveryHash, ...], cost: HashCost) -> str | None:
    """Return the id of the unused code that *typed* is, or None. Heavy: always exactly one hash.

    The store has still to mark it used, once.
    """
    code = letters.read(typed, _SYMBOLS)
    selector, secret = (code[:_SELECTOR], code[_SELECTOR:]) if code is not None else ("", "")
    chosen = next((entry for entry in kept if entry.id == selector and entry.used_ms is None), None)
    try:
        _hasher(cost).verify(chosen.hash if chosen is not None else _decoy(cost), secret)
    except (VerificationError, InvalidHashError):
        return None
    return chosen.id if chosen is not None else None


def _free(selector: str, taken: set[str]) -> str:
    number = 0
    for symbol in selector:
        number = number * 32 + letters.ALPHABET.index(symbol)
    while selector in taken:
        number = (number + 1) % 32**_SELECTOR
        selector = "".join(letters.ALPHABET[(number >> shift) & 31] for shift in (15, 10, 5, 0))
    return selector


@lru_cache(maxsize=8)
def _hasher(cost: HashCost) -> PasswordHasher:
    return PasswordHasher(time_cost=cost.time, memory_cost=cost.memory_kib, parallelism=cost.lanes)


@lru_cache(maxsize=8)
def _decoy(cost: HashCost) -> str:
    # Nothing hashes to it on purpose: a code that exists nowhere takes as long as one that does.
    return _hasher(cost).hash("no recovery code has this spelling")
