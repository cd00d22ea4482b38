"""Signed notes and checkpoints, against the vectors of their specifications."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.checkpoint import (
    Checkpoint,
    CheckpointRefused,
    VerifierKey,
    open_note,
    parse,
    parse_verifier_key,
    sign,
    sign_note,
    verifier_of,
    verify,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "signed_note.json").read_text())
SPEC, GO = VECTORS["spec"], VECTORS["go"]
PRIVATE = bytes(range(32))
OTHER_PRIVATE = bytes(range(1, 33))
SITE = verifier_of("site", PRIVATE)
STATE = Checkpoint("site/gw-1", 7, b"\xab" * 32)


def go_private() -> bytes:
    return base64.b64decode(GO["private"].rpartition("+c74f20a3+")[2])[1:]


@pytest.mark.parametrize("text", [SPEC["verifier"], GO["verifier"], GO["other"]])
def test_verifier_keys_of_others_are_read_and_written_back(text: str) -> None:
    assert parse_verifier_key(text).text() == text


def test_the_example_of_the_specification_opens() -> None:
    assert (
        open_note(SPEC["note"].encode(), [parse_verifier_key(SPEC["verifier"])])
        == "This is an example message.\n"
    )


def test_signing_gives_the_bytes_of_the_go_implementation() -> None:
    made = sign_note(GO["text"], "PeterNeumann", go_private())
    assert made.decode() == GO["text"] + "\n" + GO["signature"]


def test_signatures_of_unknown_keys_are_ignored() -> None:
    note = (GO["text"] + "\n" + GO["signature"] + GO["other_signature"]).encode()
    for known in (GO["verifier"], GO["other"]):
        assert open_note(note, [parse_verifier_key(known)]) == GO["text"]


def test_one_bad_signature_of_a_known_key_refuses_the_note() -> None:
    bad = GO["other_signature"].replace("RvMc", "RvMd")
    note = (GO["text"] + "\n" + GO["signature"] + bad).encode()
    with pytest.raises(CheckpointRefused, match="altered"):
        open_note(note, [parse_verifier_key(GO["verifier"]), parse_verifier_key(GO["other"])])


def test_the_checkpoint_of_the_specification_is_read() -> None:
    found = parse(VECTORS["checkpoint"].encode())
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.text() == VECTORS["checkpoint"].partition("\n\n")[0] + "\n"


@given(st.integers(0, 2**63), st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_read_back(size: int, root: bytes) -> None:
    made = Checkpoint("site/gw-1", size, root)
    assert verify(sign(made, "site", PRIVATE), [SITE]) == made


def test_the_key_of_a_ring_that_has_turned_still_verifies() -> None:
    keys = [verifier_of("site", OTHER_PRIVATE), SITE]
    assert verify(sign(STATE, "site", PRIVATE), keys) == STATE


NOTE = sign(STATE, "site", PRIVATE)


@pytest.mark.parametrize(
    "note",
    [
        # Forged: another size, another root, another origin under the old signature.
        NOTE.replace(b"\n7\n", b"\n8\n"),
        NOTE.replace(base64.b64encode(b"\xab" * 32), base64.b64encode(b"\xac" * 32)),
        NOTE.replace(b"site/gw-1\n", b"site/gw-2\n"),
        # Signed by somebody else, under the same name and under another.
        sign(STATE, "site", OTHER_PRIVATE),
        sign(STATE, "elsewhere", PRIVATE),
        # Signature cut, emptied, dropped.
        NOTE[:-10] + b"\n",
        NOTE.partition(b"\n\n")[0] + b"\n\n",
        NOTE.partition(b"\n\n")[0] + b"\n",
        # Not a note at all.
        b"",
        b"\xff\xfe",
        NOTE.replace(b"\n7\n", b"\r\n7\r\n"),
        b"x" * 200_000,
    ],
)
def test_a_note_that_the_key_did_not_sign_is_refused(note: bytes) -> None:
    with pytest.raises(CheckpointRefused):
        verify(note, [SITE])


@pytest.mark.parametrize(
    "text",
    [
        "site\n07\n" + base64.b64encode(b"a" * 32).decode() + "\n",
        "site\n-1\n" + base64.b64encode(b"a" * 32).decode() + "\n",
        "site\n٧\n" + base64.b64encode(b"a" * 32).decode() + "\n",
        "site\n7\nshort\n",
        "site\n7\n" + base64.b64encode(b"a" * 31).decode() + "\n",
        "site\n7\n",
        "\n7\n" + base64.b64encode(b"a" * 32).decode() + "\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(CheckpointRefused):
        verify(sign_note(text, "site", PRIVATE), [SITE])


@given(st.binary(max_size=200))
def test_reading_never_fails_in_another_way(junk: bytes) -> None:
    for note in (junk, b"site\n7\n" + junk, NOTE + junk):
        try:
            parse(note)
        except CheckpointRefused:
            continue


@pytest.mark.parametrize(
    "text",
    [
        "",
        "site",
        "site+00000000+",
        SPEC["verifier"].replace("530d903a", "530d903b"),
        SPEC["verifier"][:-4],
        "site+00000000+" + base64.b64encode(b"\x04" + bytes(32)).decode(),
        "a b+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
    ],
)
def test_a_bad_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(CheckpointRefused):
        parse_verifier_key(text)


@pytest.mark.parametrize("name", ["", "a+b", "a b", "a\nb", "a\u00a0b"])
def test_a_name_that_would_break_the_line_names_no_key(name: str) -> None:
    with pytest.raises(CheckpointRefused):
        VerifierKey(name, bytes(32))
