"""Codes that people type: 32 letters and digits that cannot be taken for one another. Pure."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U."""

_VALUE = {letter: value for value, letter in enumerate(ALPHABET)}
_TWINS = str.maketrans({"I": "1", "L": "1", "O": "0"})
_SEPARATORS = frozenset(" -\t\u00a0\u2010\u2011\u2012\u2013\u2014\u202f")
_MAX_TYPED = 200


def write(data: bytes) -> str:
    """Return *data* in groups of four symbols. Its length must be a multiple of 5 bytes (8 symbols).

    Raises:
        ValueError: when it is not.
    """
    if not data or len(data) % 5:
        raise ValueError(f"a code is made of 5, 10, 15... bytes, not {len(data)}")
    number = int.from_bytes(data)
    symbols = "".join(ALPHABET[(number >> shift) & 31] for shift in range(len(data) * 8 - 5, -1, -5))
    return "-".join(symbols[at : at + 4] for at in range(0, len(symbols), 4))


def read(typed: str, symbols: int) -> str | None:
    """Return the *symbols* symbols of a typed code without separators, or None when it is no such code.

    Case, spaces and hyphens do not matter; I and L read as 1, O as 0. Anything but ASCII is refused.
    """
    if len(typed) > _MAX_TYPED:
        return None
    bare = "".join(letter for letter in typed if letter not in _SEPARATORS)
    if not bare.isascii():
        return None
    bare = bare.upper().translate(_TWINS)
    if len(bare) != symbols or any(letter not in _VALUE for letter in bare):
        return None
    return bare
