"""Time-based one-time passwords (RFC 6238): SHA-1, 6 digits, 30 s, as authenticator apps support. Pure."""

import base64
import hmac
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

import pyotp

STEP_S = 30
DIGITS = 6
SECRET_BYTES = 20
_BLANKS = str.maketrans("", "", " \u00a0")
_MAX_TYPED = 64


class CodeFault(StrEnum):
    """Why a code opens nothing. The page never tells which."""

    MALFORMED = "malformed"
    WRONG = "wrong"
    REPLAYED = "replayed"
    """The code is right, but its step, or a later one, was accepted before."""


@dataclass(frozen=True, slots=True)
class CodeAccepted:
    """The code fits. *step* (Unix time // 30) has still to be accepted by the store, once."""

    step: int


@dataclass(frozen=True, slots=True)
class CodeRefused:
    """The code does not fit."""

    why: CodeFault


class SecretUnusable(ValueError):
    """A stored secret is no base32 of at least 112 bits (NIST SP 800-63B-4, 3.1.4.1)."""


def new_secret(randomness: bytes) -> str:
    """Return *randomness*, 20 bytes (160 bits, RFC 4226 section 4), as base32.

    Raises:
        ValueError: when it is not 20 bytes.
    """
    if len(randomness) != SECRET_BYTES:
        raise ValueError(f"a secret is made of {SECRET_BYTES} random bytes, not {len(randomness)}")
    return base64.b32encode(randomness).decode("ascii")


def check_code(secret: str, code: str, *, now_s: int, last_step: int) -> CodeAccepted | CodeRefused:
    """Compare *code* with those of the present step and the one before (RFC 6238, 5.2).

    Blanks (space, no-break space) are dropped; what then is not exactly 6 ASCII digits is malformed and
    compared with nothing. Both comparisons are always made, in constant time. *last_step* is the last
    step the store accepted for this account, -1 for none: that step and older ones are replays.

    Raises:
        SecretUnusable: when *secret* is not what new_secret makes.
    """
    typed = code[:_MAX_TYPED].translate(_BLANKS)
    if len(code) > _MAX_TYPED or len(typed) != DIGITS or not (typed.isascii() and typed.isdigit()):
        return CodeRefused(CodeFault.MALFORMED)
    present = now_s // STEP_S
    fits_present = hmac.compare_digest(code_at(secret, present), typed)
    fits_previous = hmac.compare_digest(code_at(secret, max(present - 1, 0)), typed)
    if fits_present and present > last_step:
        return CodeAccepted(present)
    if fits_previous and present - 1 > last_step:
        return CodeAccepted(present - 1)
    return CodeRefused(CodeFault.REPLAYED if fits_present or fits_previous else CodeFault.WRONG)


def code_at(secret: str, step: int) -> str:
    """Return the 6 digits of *secret* (base32) at *step*.

    Raises:
        SecretUnusable: when *secret* is too short or no base32.
    """
    try:
        return pyotp.TOTP(secret, digits=DIGITS, interval=STEP_S).generate_otp(step)
    except (ValueError, TypeError):
        raise SecretUnusable("TOTP secret: not base32 of at least 112 bits") from None


def provisioning_uri(secret: str, login: str, issuer: str) -> str:
    """Return the ``otpauth://`` link of *secret* for authenticator apps (Key Uri Format).

    *login* and *issuer* are shown by the app: colons, which separate the two there, and control
    characters become spaces; everything else that is not unreserved is percent-encoded.
    """
    shown_issuer, shown_login = _label(issuer), _label(login)
    parameters = f"secret={quote(secret, safe='')}&issuer={quote(shown_issuer, safe='')}"
    return (
        f"otpauth://totp/{quote(shown_issuer, safe='')}:{quote(shown_login, safe='')}"
        f"?{parameters}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
    )


def _label(text: str) -> str:
    plain = "".join(character if character.isprintable() and character != ":" else " " for character in text)
    return " ".join(plain.split())
