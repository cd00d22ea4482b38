"""RFC 6238, and everything that is not exactly six ASCII digits."""

import base64
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.totp import (
    CodeAccepted,
    CodeFault,
    CodeRefused,
    SecretUnusable,
    check_code,
    code_at,
    new_secret,
    provisioning_uri,
)

SECRET = base64.b32encode(b"12345678901234567890").decode()
NOW_S = 1_111_111_111
STEP = NOW_S // 30
CODE = code_at(SECRET, STEP)


@pytest.mark.parametrize(
    ("now_s", "code"),
    # RFC 6238, appendix B, SHA-1: the last six of the eight digits.
    [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ],
)
def test_the_vectors_of_rfc_6238(now_s: int, code: str) -> None:
    assert check_code(SECRET, code, now_s=now_s, last_step=-1) == CodeAccepted(now_s // 30)


@pytest.mark.parametrize(
    ("counter", "code"),
    list(
        enumerate(
            [
                "755224",
                "287082",
                "359152",
                "969429",
                "338314",
                "254676",
                "287922",
                "162583",
                "399871",
                "520489",
            ]
        )
    ),
)
def test_the_vectors_of_rfc_4226(counter: int, code: str) -> None:
    assert code_at(SECRET, counter) == code


def test_the_present_step_and_the_one_before_are_accepted_no_other() -> None:
    accepted = [
        isinstance(
            check_code(SECRET, code_at(SECRET, STEP + offset), now_s=NOW_S, last_step=-1), CodeAccepted
        )
        for offset in range(-4, 5)
    ]
    assert accepted == [False] * 3 + [True] * 2 + [False] * 4


@pytest.mark.parametrize("typed", ["{0} {1}", " {0}{1} ", "{0}\u00a0{1}", "  {0}  {1}"])
def test_blanks_that_people_type_do_not_matter(typed: str) -> None:
    code = typed.format(CODE[:3], CODE[3:])
    assert check_code(SECRET, code, now_s=NOW_S, last_step=-1) == CodeAccepted(STEP)


@pytest.mark.parametrize(
    "typed",
    [
        # H02 and H14: other digits, signs, other blanks, wrong lengths, nothing, far too much.
        "".join(chr(0xFF10 + int(digit)) for digit in CODE),
        "".join(chr(0x0660 + int(digit)) for digit in CODE),
        "".join(chr(0x00B9) for _ in CODE),
        f"+{CODE[1:]}",
        f"-{CODE}",
        f"{CODE}\n",
        f"{CODE}\t",
        f"{CODE}\u2003",
        f"{CODE}\x00",
        f"{CODE}.",
        CODE[:5],
        f"{CODE}0",
        "0x1234",
        "",
        "      ",
        CODE + " " * 100,
        "1" * 10_000_000,
    ],
)
def test_whatever_else_is_malformed(typed: str) -> None:
    assert check_code(SECRET, typed, now_s=NOW_S, last_step=-1) == CodeRefused(CodeFault.MALFORMED)


@pytest.mark.parametrize(
    ("offset", "last_step", "outcome"),
    [
        # H01, H04: the step that was accepted, and any older one, is over.
        (0, STEP, CodeRefused(CodeFault.REPLAYED)),
        (-1, STEP, CodeRefused(CodeFault.REPLAYED)),
        (-1, STEP - 1, CodeRefused(CodeFault.REPLAYED)),
        (0, STEP + 5, CodeRefused(CodeFault.REPLAYED)),
        (0, STEP - 1, CodeAccepted(STEP)),
        (-1, STEP - 2, CodeAccepted(STEP - 1)),
    ],
)
def test_steps_only_go_forward(offset: int, last_step: int, outcome: CodeAccepted | CodeRefused) -> None:
    code = code_at(SECRET, STEP + offset)
    assert check_code(SECRET, code, now_s=NOW_S, last_step=last_step) == outcome


def test_a_wrong_code_is_wrong() -> None:
    wrong = f"{(int(CODE) + 1) % 1_000_000:06d}"
    assert check_code(SECRET, wrong, now_s=NOW_S, last_step=-1) == CodeRefused(CodeFault.WRONG)


@given(st.text(max_size=80), st.integers(0, 2**33), st.integers(-1, 2**30))
def test_nothing_typed_raises(typed: str, now_s: int, last_step: int) -> None:
    found = check_code(SECRET, typed, now_s=now_s, last_step=last_step)
    if isinstance(found, CodeAccepted):
        assert found.step in {now_s // 30, now_s // 30 - 1}
        assert found.step > last_step


@pytest.mark.parametrize("secret", ["JBSWY3DPEHPK3PXP", "", "not base32!", "A" * 15])
def test_short_or_broken_secrets_are_named(secret: str) -> None:
    with pytest.raises(SecretUnusable, match="112 bits"):
        check_code(secret, CODE, now_s=NOW_S, last_step=-1)


def test_new_secrets_are_160_bits() -> None:
    secret = new_secret(bytes(range(20)))
    assert base64.b32decode(secret) == bytes(range(20))
    with pytest.raises(ValueError, match="20 random bytes"):
        new_secret(b"short")


@pytest.mark.parametrize(
    ("login", "issuer", "shown_login", "shown_issuer"),
    [
        ("dr.martin", "Écluse", "dr.martin", "Écluse"),
        # G14.
        ("a&secret=AAAA", "x:y", "a&secret=AAAA", "x y"),
        ("a\r\nSet-Cookie: x", "<script>", "a Set-Cookie x", "<script>"),
        ("a/../b?c#d%41", "R\u00e9gion & Co", "a/../b?c#d%41", "R\u00e9gion & Co"),
    ],
)
def test_the_link_says_what_it_should_and_no_more(
    login: str, issuer: str, shown_login: str, shown_issuer: str
) -> None:
    uri = provisioning_uri(SECRET, login, issuer)
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("otpauth", "totp", "")
    assert unquote(parts.path) == f"/{shown_issuer}:{shown_login}"
    assert parts.path.count(":") == 1
    assert parse_qs(parts.query) == {
        "secret": [SECRET],
        "issuer": [shown_issuer],
        "algorithm": ["SHA1"],
        "digits": ["6"],
        "period": ["30"],
    }
    assert uri.isascii()


def test_another_reader_of_the_link_makes_the_same_codes() -> None:
    parsed = pyotp.parse_uri(provisioning_uri(SECRET, "dr.martin", "Ecluse"))
    assert isinstance(parsed, pyotp.TOTP)
    assert parsed.at(NOW_S) == CODE
