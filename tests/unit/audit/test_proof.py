"""Proof files, made from a log and checked without it. Vectors of C2SP tlog-proof."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit import files, leaves
from gateway.audit.checkpoint import Checkpoint, parse, parse_verifier_key, sign
from gateway.audit.files import LogDamaged
from gateway.audit.leaves import Leaves
from gateway.audit.merkle import leaf_hash
from gateway.audit.proof import ProofFails, ProofUnreadable, TlogProof, check_proof, load_proof
from gateway.audit.proofs import inclusion_ranges, verify_consistency
from gateway.audit.proving import NotProvable, best_checkpoint, holds, prove_entry, prove_growth, read_entry
from tests.unit.audit.logs import KEY, OTHER_RING, PRIVATE, RING, SITE, journal, root_of, write

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tlog.json").read_text())
DEMO = VECTORS["proof"]
HASH = base64.b64encode(bytes(32)).decode()
NOTE = sign(Checkpoint("site/gw", 3, bytes(32)), SITE, PRIVATE)


def lines_of(directory: Path) -> list[bytes]:
    return [
        line[:-1]
        for start in files.segment_starts(directory)
        for line in files.read_lines(files.segment_path(directory, start))
    ]


def purge(directory: Path) -> None:
    """What a purge leaves: leaf hashes and checkpoints, no entries."""
    for start in files.segment_starts(directory):
        files.segment_path(directory, start).unlink()


def test_the_proof_of_the_specifications_form_is_read_and_written_back() -> None:
    proof = load_proof(DEMO["text"].encode())
    assert (proof.index, len(proof.hashes), proof.extra) == (2, 3, None)
    assert proof.dump().decode() == DEMO["text"]
    key = parse_verifier_key(DEMO["verifier"])
    with pytest.raises(ProofFails, match="not entry 2 of the 5"):
        check_proof(proof, [key], b"another entry")
    with pytest.raises(ProofUnreadable, match="give the entry"):
        check_proof(proof, [key], None)


@pytest.mark.parametrize("per_segment", [1_000, 5, 7])
def test_every_entry_of_a_log_is_proven_from_its_leaf_hashes_alone(tmp_path: Path, per_segment: int) -> None:
    log = tmp_path / "gw"
    write(log, 23, per_segment=per_segment)
    entries = lines_of(log)
    purge(log)
    for index, entry in enumerate(entries):
        note, signed = best_checkpoint(log, [KEY], index)
        proof = load_proof(prove_entry(log, note, signed, index).dump())
        assert check_proof(proof, [KEY], entry) == check_proof(proof, [KEY], None) == signed
        with pytest.raises(ProofFails):
            check_proof(proof, [KEY], entries[index - 1])


@given(size=st.integers(1, 40), extra=st.none() | st.binary(max_size=60))
def test_what_is_written_is_read_back(size: int, extra: bytes | None) -> None:
    entries = [b"%d" % number for number in range(size)]
    note = sign(Checkpoint("site/gw", size, root_of(entries)), SITE, PRIVATE)
    for index in range(size):
        hashes = tuple(root_of(entries[start:end]) for start, end in inclusion_ranges(index, size))
        made = TlogProof(index, hashes, note, extra)
        assert load_proof(made.dump()) == made
        assert check_proof(made, [KEY], entries[index]).size == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v2\nindex 1\n\n",
        "c2sp.org/tlog-proof@v1\nindex 01\n\n",
        "c2sp.org/tlog-proof@v1\nindex -1\n\n",
        "c2sp.org/tlog-proof@v1\nindex \u0661\n\n",
        "c2sp.org/tlog-proof@v1\nindex " + "9" * 40 + "\n\n",
        f"c2sp.org/tlog-proof@v1\n{HASH}\nindex 1\n\n",
        f"c2sp.org/tlog-proof@v1\nindex 1\n{HASH}=\n\n",
        "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\n",
        "c2sp.org/tlog-proof@v1\nindex 1\n" + f"{HASH}\n" * 64 + "\n",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\n",
        "c2sp.org/tlog-proof@v1\r\nindex 1\r\n\r\n",
    ],
)
def test_what_is_no_proof_file_is_refused(text: str) -> None:
    with pytest.raises(ProofUnreadable):
        load_proof(text.encode() + NOTE)


@given(st.binary(max_size=300))
def test_reading_never_fails_in_another_way(junk: bytes) -> None:
    for raw in (junk, b"c2sp.org/tlog-proof@v1\n" + junk, b"c2sp.org/tlog-proof@v1\nindex 1\n\n" + junk):
        try:
            load_proof(raw)
        except ProofUnreadable:
            continue


def test_a_proof_signed_by_another_key_or_of_another_site_fails(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 4)
    note, signed = best_checkpoint(log, [KEY], 1)
    proof = prove_entry(log, note, signed, 1)
    with pytest.raises(ProofFails, match="not signed by any"):
        check_proof(proof, files.verifier_keys(OTHER_RING, SITE), None)
    elsewhere = sign(Checkpoint("elsewhere/gw", signed.size, signed.root), SITE, PRIVATE)
    with pytest.raises(ProofFails, match="none of the given keys may sign"):
        check_proof(TlogProof(1, proof.hashes, elsewhere, proof.extra), [KEY], None)


def test_an_entry_that_no_checkpoint_covers_is_told(tmp_path: Path) -> None:
    write(tmp_path / "gw", 3)
    with pytest.raises(NotProvable, match="signed 3 entries"):
        best_checkpoint(tmp_path / "gw", [KEY], 3)


def test_growth_is_proven_to_whoever_kept_an_earlier_root(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 9, per_segment=4)
    roots = [root_of(lines_of(log)[:size]) for size in range(10)]
    purge(log)
    _, signed = best_checkpoint(log, [KEY], 0)
    for old in range(10):
        proof = prove_growth(log, old, signed)
        assert verify_consistency(old, roots[old], signed.size, signed.root, proof)
    with pytest.raises(ValueError, match="grown"):
        prove_growth(log, 10, signed)


def test_lost_leaf_hashes_are_made_again_from_their_entries_and_told_without_them(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 9, per_segment=4)
    files.segment_path(log, 4, files.LEAVES).unlink()
    note, signed = best_checkpoint(log, [KEY], 5)
    assert check_proof(prove_entry(log, note, signed, 5), [KEY], lines_of(log)[5]) == signed
    purge(log)
    with pytest.raises(LogDamaged, match="entry 4 and after are missing"):
        prove_entry(log, note, signed, 5)


def test_altered_leaf_hashes_make_no_proof(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 9)
    path = files.segment_path(log, 0, files.LEAVES)
    raw = bytearray(path.read_bytes())
    raw[3] ^= 1
    path.write_bytes(raw)
    note, signed = best_checkpoint(log, [KEY], 5)
    with pytest.raises(LogDamaged, match="not those that were signed"):
        prove_entry(log, note, signed, 5)
    with pytest.raises(LogDamaged, match="not those that were signed"):
        prove_growth(log, 5, signed)


def test_the_entry_beside_a_proof_is_the_one_that_was_signed(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 9, per_segment=4)
    entries = lines_of(log)
    assert [read_entry(log, index, leaf_hash(entry)) for index, entry in enumerate(entries)] == entries
    path = files.segment_path(log, 4)
    path.write_bytes(path.read_bytes().replace(b"within-caps", b"within-cops"))
    with pytest.raises(LogDamaged, match="entry 5 is not the one"):
        read_entry(log, 5, leaf_hash(entries[5]))
    purge(log)
    with pytest.raises(NotProvable, match="without the entry"):
        read_entry(log, 5, leaf_hash(entries[5]))


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 23, 64, 65])
def test_remembered_subtrees_give_the_same_hashes_and_spare_reading(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaves, "SUBTREE_LEAVES", 8)
    log = tmp_path / "gw"
    write(log, size, per_segment=5)
    entries = lines_of(log)
    note, signed = best_checkpoint(log, [KEY], 0)
    for index in range(size):
        assert check_proof(prove_entry(log, note, signed, index), [KEY], entries[index]) == signed
        assert Leaves(log, size).root(index + 1) == root_of(entries[: index + 1])
    kept = log / leaves.SUBTREES
    assert kept.exists() == (size > 8)
    if size > 8:
        assert kept.stat().st_size % 32 == 0
        # A memory that lies is found out, and made anew.
        kept.write_bytes(bytes(kept.stat().st_size))
        assert holds(log, signed)
        assert check_proof(prove_entry(log, note, signed, size - 1), [KEY], entries[size - 1]) == signed
        assert any(kept.read_bytes())


def test_proofs_and_checkpoints_of_a_key_that_has_turned_still_hold(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 6, per_segment=3)
    old = (log / files.CHECKPOINT).read_bytes()
    turned = type(RING)("checkpoint", "k2", {**RING.keys, **OTHER_RING.keys})
    made = journal(log, ring=turned)
    made.open()
    made.commit([lines_of(log)[0].replace(b'"seq":0', b'"seq":6')])
    made.close()
    keys = files.verifier_keys(turned, SITE)
    note, signed = best_checkpoint(log, keys, 6)
    assert signed.size == 7
    assert parse(old).size == 6
    # The new key's checkpoint is unknown to who holds the old key only; with the ring both hold.
    with pytest.raises(LogDamaged, match="not signed by any"):
        best_checkpoint(log, [KEY], 6)
    assert check_proof(prove_entry(log, note, signed, 1), keys, lines_of(log)[1]) == signed
    earlier = prove_entry(log, old, parse(old), 1)
    assert check_proof(earlier, keys, lines_of(log)[1]).size == 6
    assert check_proof(earlier, [KEY], None).size == 6
