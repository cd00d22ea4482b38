"""Ten codes, each good once."""

import dataclasses

import argon2
import pytest

from gateway.accounts import recovery
from gateway.accounts.recovery import CHEAPEST, RANDOM_BYTES, HashCost, find_code, new_codes

RANDOMNESS = bytes((at * 37 + 11) % 256 for at in range(RANDOM_BYTES))
SET = new_codes(RANDOMNESS, CHEAPEST)


def test_ten_distinct_codes_of_a_hundred_bits() -> None:
    assert len(set(SET.codes)) == len({entry.id for entry in SET.hashes}) == 10
    assert all(len(code) == 24 and code.count("-") == 4 for code in SET.codes)
    assert all(entry.hash.startswith("$argon2id$") for entry in SET.hashes)


def test_neither_repr_nor_hashes_show_a_code() -> None:
    shown = repr(SET) + repr(SET.hashes)
    for code in SET.codes:
        assert code not in shown
        assert code.replace("-", "")[4:] not in shown


@pytest.mark.parametrize(
    "write", [str, str.lower, lambda code: code.replace("-", " "), lambda code: f" {code} "]
)
def test_each_code_is_found_however_it_is_typed(write: object) -> None:
    assert callable(write)
    for code, kept in zip(SET.codes, SET.hashes, strict=True):
        assert find_code(write(code), SET.hashes, CHEAPEST) == kept.id


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "0000-0000-0000-0000-0000",
        SET.codes[0][:-1],
        SET.codes[0] + "0",
        SET.codes[0][:5] + SET.codes[1][5:],
        "é" * 20,
    ],
)
def test_other_codes_are_not(typed: str) -> None:
    assert find_code(typed, SET.hashes, CHEAPEST) is None


def test_a_used_code_is_not_found() -> None:
    used = (dataclasses.replace(SET.hashes[0], used_ms=1), *SET.hashes[1:])
    assert find_code(SET.codes[0], used, CHEAPEST) is None
    assert find_code(SET.codes[1], used, CHEAPEST) == SET.hashes[1].id


def test_every_try_costs_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[str] = []
    verify = argon2.PasswordHasher.verify

    def counted(hasher: argon2.PasswordHasher, hash_: str, secret: str) -> bool:
        checks.append(hash_)
        return verify(hasher, hash_, secret)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    for typed in (SET.codes[3], SET.codes[3][:-1] + "0", "nonsense", ""):
        checks.clear()
        find_code(typed, SET.hashes, CHEAPEST)
        assert len(checks) == 1


def test_selectors_that_collide_are_moved_apart() -> None:
    same = new_codes(bytes(RANDOM_BYTES), CHEAPEST)
    assert len({entry.id for entry in same.hashes}) == 10
    assert [find_code(code, same.hashes, CHEAPEST) for code in same.codes] == [
        entry.id for entry in same.hashes
    ]


def test_the_default_cost_is_that_of_owasp() -> None:
    assert HashCost() == HashCost(time=2, memory_kib=19_456, lanes=1)
    with pytest.raises(ValueError, match="150 random bytes"):
        recovery.new_codes(b"short", CHEAPEST)
