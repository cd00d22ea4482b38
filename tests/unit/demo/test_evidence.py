"""Served against audited: the comparison notices every single access that only one side knows."""

import json
from pathlib import Path

import pytest

from gateway.demo.evidence import Access, audited, compare, pseudonym, served
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("pseudonyms", "k1", {"k1": bytes(range(32))})


def test_a_pseudonym_hides_the_id_and_names_its_key() -> None:
    text = pseudonym(RING, "parcours", 1001)
    assert text.startswith("k1:")
    assert len(text) == 35
    assert "1001" not in text
    assert text != pseudonym(RING, "autre", 1001)


A: Access = ("a", ("k1:1",))
B: Access = ("b", ("k1:1", "k1:2"))


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ([], [], True),
        ([A, B], [B, A], True),
        # One exchange twice has to be recorded twice.
        ([A, A], [A], False),
        ([A], [A, A], False),
        # Somebody else's access, or other patients, are no substitute.
        ([A], [("b", ("k1:1",))], False),
        ([B], [("b", ("k1:1",)), ("b", ("k1:2",))], False),
    ],
)
def test_both_sides_must_hold_the_same(left: list[Access], right: list[Access], *, equal: bool) -> None:
    assert compare(left, right).equal is equal


def test_journals_of_all_writers_are_read(tmp_path: Path) -> None:
    patient = pseudonym(RING, "parcours", 1001)
    for writer, kind in (("gateway", "access"), ("operator", "audit-queried"), ("second", "access")):
        (tmp_path / writer).mkdir()
        event = {"kind": kind, "account": "a", "patients": [patient]}
        probe = {"kind": "access", "account": "a", "status": 404}
        lines = "".join(json.dumps(one) + "\n" for one in (event, probe))
        (tmp_path / writer / "0000000001.jsonl").write_text(lines)
    assert compare(served(RING, "parcours", "a", [[1001], [1001]]), audited(tmp_path)).equal
