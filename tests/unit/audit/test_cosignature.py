"""Cosignatures and policies, against what the C2SP specifications and others show."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, read_signature, sign, split_note, verify
from gateway.audit.cosignature import (
    Cosigned,
    WitnessKey,
    WitnessSecret,
    check_answer,
    cosign,
    cosignatures,
    parse_witness_key,
    parse_witness_secret,
    with_lines,
)
from gateway.audit.trust import NotWitnessed, TrustRefused, parse_trust, trust_in
from tests.unit.audit.logs import KEY, PRIVATE, SITE

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tlog.json").read_text())
STATE = Checkpoint("site/gw", 7, b"\xab" * 32)
NOTE = sign(STATE, SITE, PRIVATE)
AT_S = 1_790_000_000
ARS, CHU, CNAM = (
    WitnessSecret(f"{name}.example/w1", bytes([number]) * 32)
    for number, name in enumerate(("ars", "chu", "cnam"), 1)
)


def cosigned(*by: WitnessSecret, note: bytes = NOTE) -> bytes:
    text, _ = split_note(note)
    return with_lines(note, [cosign(text, secret, AT_S).rstrip("\n") for secret in by])


def test_the_cosigned_checkpoint_of_the_specification_is_framed_as_ours() -> None:
    shown = VECTORS["cosigned"]
    _, lines = split_note(shown["text"].encode())
    name, _, signature = read_signature(lines[1])
    assert name == shown["name"]
    assert int.from_bytes(signature[:8], "big") == shown["time_s"]
    assert len(signature) == 8 + 64
    # Nobody's key was given: the line is ignored, as one of an unknown witness.
    assert cosignatures(shown["text"].encode(), [ARS.public]) == []


def test_what_is_signed_is_the_message_of_the_specification() -> None:
    line = cosign(STATE.text(), ARS, AT_S)
    name, key_id, signature = read_signature(line[:-1])
    assert (name, key_id) == (ARS.name, ARS.public.key_id)
    message = f"cosignature/v1\ntime {AT_S}\nsite/gw\n7\n{base64.b64encode(STATE.root).decode()}\n"
    Ed25519PublicKey.from_public_bytes(ARS.public.public).verify(signature[8:], message.encode())


@pytest.mark.parametrize("text", VECTORS["witness_keys"])
def test_witness_keys_of_others_are_read(text: str) -> None:
    key = parse_witness_key(text)
    assert parse_witness_key(key.text()) == key
    assert text in {key.text(), text}


def test_the_private_key_of_another_implementation_is_of_its_public_key() -> None:
    name, _, encoded = VECTORS["witness_private"]["text"].removeprefix("PRIVATE+KEY+").split("+", 2)
    secret = WitnessSecret(name, base64.b64decode(encoded)[1:])
    assert secret.public == parse_witness_key(VECTORS["witness_keys"][0])


def test_a_key_file_is_read_back_and_its_repr_shows_no_key() -> None:
    assert parse_witness_secret(ARS.text()) == ARS
    assert "1" * 4 not in repr(ARS)
    assert ARS.private.hex() not in repr(ARS)


@pytest.mark.parametrize("text", ["", "PRIVATE+KEY+", ARS.public.text(), ARS.text().replace("ars", "chu")])
def test_a_spoilt_key_file_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(CheckpointRefused) as refused:
        parse_witness_secret(text)
    assert base64.b64encode(ARS.private).decode()[:12] not in str(refused.value)


def test_cosignatures_are_found_beside_the_logs_own() -> None:
    note = cosigned(ARS, CHU)
    assert verify(note, [KEY]) == STATE
    assert {each.key.name for each in cosignatures(note, [ARS.public, CHU.public, CNAM.public])} == {
        ARS.name,
        CHU.name,
    }
    (found,) = cosignatures(note, [CHU.public])
    assert (found.key, found.at_s) == (CHU.public, AT_S)


@pytest.mark.parametrize("at_s", [0, -1, 2**63])
def test_a_cosignature_always_tells_its_time(at_s: int) -> None:
    with pytest.raises(ValueError, match="second"):
        cosign(STATE.text(), ARS, at_s)


def spoil(line: str, at: int) -> str:
    name, _, encoded = line.rpartition(" ")
    raw = bytearray(base64.b64decode(encoded))
    raw[at] ^= 1
    return f"{name} {base64.b64encode(raw).decode()}"


@pytest.mark.parametrize("at", [4, 11, 12, 75])
def test_one_altered_bit_refuses_the_note(at: int) -> None:
    line = spoil(cosign(STATE.text(), ARS, AT_S)[:-1], at)
    with pytest.raises(CheckpointRefused, match="does not hold"):
        cosignatures(with_lines(NOTE, [line]), [ARS.public])
    with pytest.raises(CheckpointRefused, match="does not hold"):
        check_answer(STATE.text(), line + "\n", [ARS.public])


def test_a_cosignature_is_of_one_state_and_one_log() -> None:
    line = cosign(STATE.text(), ARS, AT_S)
    for other in (Checkpoint("site/gw", 8, STATE.root), Checkpoint("site/operator", 7, STATE.root)):
        with pytest.raises(CheckpointRefused, match="does not hold"):
            check_answer(other.text(), line, [ARS.public])
    assert check_answer(STATE.text(), line, [ARS.public]) == [Cosigned(ARS.public, AT_S, line[:-1])]


@given(st.text(max_size=80))
def test_an_answer_of_junk_is_refused_or_ignored(answer: str) -> None:
    try:
        assert check_answer(STATE.text(), answer, [ARS.public]) == []
    except CheckpointRefused:
        return


POLICY = f"""# Two of the region's witnesses, and the national one.
log {KEY.text()}
\twitness  A {ARS.public.text()} https://ars.example/
witness B {CHU.public.text()}
witness N {CNAM.public.text()}
group region any A B
group both all region N
quorum both
"""


@pytest.mark.parametrize(
    ("by", "is_enough"),
    [
        ((), False),
        ((ARS,), False),
        ((ARS, CHU), False),
        ((CNAM,), False),
        ((ARS, CNAM), True),
        ((CHU, CNAM), True),
        ((ARS, CHU, CNAM), True),
    ],
)
def test_a_policy_of_groups(by: tuple[WitnessSecret, ...], is_enough: bool) -> None:
    trust = parse_trust(POLICY.encode())
    assert trust.logs == (KEY,)
    if is_enough:
        assert len(trust.check(cosigned(*by))) == len(by)
    else:
        with pytest.raises(NotWitnessed, match="2 of region, N are asked for"):
            trust.check(cosigned(*by))


def test_k_of_n_witnesses() -> None:
    public = [ARS.public, CHU.public, CNAM.public]
    two = trust_in(public, 2)
    assert len(two.check(cosigned(ARS, CNAM))) == 2
    with pytest.raises(NotWitnessed, match=r"cosigned by chu\.example/w1"):
        two.check(cosigned(CHU))
    with pytest.raises(NotWitnessed):
        trust_in(public).check(cosigned(ARS, CHU))
    # The same witness twice is one witness.
    twice = with_lines(cosigned(ARS), [cosign(STATE.text(), ARS, AT_S + 1)[:-1]])
    with pytest.raises(NotWitnessed):
        two.check(twice)
    assert trust_in([]).check(NOTE) == []


def test_no_witness_can_be_asked_for_in_so_many_words() -> None:
    assert parse_trust(b"quorum none\n").check(NOTE) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no 'quorum' line"),
        ("quorum none\nquorum none\n", "line 2: there is a second"),
        ("quorum A\n", "line 1: 'A' is no witness"),
        (f"witness none {ARS.public.text()}\n", "taken"),
        (f"witness A {ARS.public.text()}\nwitness A {CHU.public.text()}\n", "line 2: the name 'A' is taken"),
        (f"witness A {ARS.public.text()}\nwitness B {ARS.public.text()}\n", "given twice"),
        (f"log {KEY.text()}\nlog {KEY.text()}\n", "given twice"),
        (f"witness A {ARS.public.text()}\ngroup g all A A\n", "counts once"),
        (f"witness A {ARS.public.text()}\ngroup g all A\ngroup h all A\n", "counts once"),
        (f"witness A {ARS.public.text()}\ngroup g 2 A\n", "from 1 to 1"),
        (f"witness A {ARS.public.text()}\ngroup g 0 A\n", "from 1 to 1"),
        (f"witness A {ARS.public.text()}\ngroup g all\n", "expected"),
        ("group g all h\n", "'h' is no witness"),
        ("witness A junk\nquorum A\n", "line 1: witness key"),
        ("quorum none\x0b\n", "control"),
        ("policy none\n", "expected"),
    ],
)
def test_a_faulty_policy_names_its_line(text: str, said: str) -> None:
    with pytest.raises(TrustRefused, match=said):
        parse_trust(text.encode())


def test_names_that_are_no_utf8_are_opaque() -> None:
    text = b"witness \xff\xe9 " + ARS.public.text().encode() + b"\nquorum \xff\xe9\n"
    assert len(parse_trust(text).check(cosigned(ARS))) == 1


def test_a_key_of_a_wrong_name_or_length_is_none() -> None:
    with pytest.raises(CheckpointRefused):
        WitnessKey("a b", bytes(32))
    with pytest.raises(CheckpointRefused):
        WitnessKey("a", bytes(31))
