"""What nodes of a Cluster say about the owner of the site's slot, and under which names keys travel there."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from gateway.valkey.cluster import epoch_of, read_slots
from gateway.valkey.library import compose, product_sources
from gateway.valkey.link import NotUsable
from gateway.valkey.primary import Primary
from gateway.valkey.slot import NOBODY, SLOT, tagged, why_elsewhere

OURS, THEIRS = "a" * 40, "b" * 40
REPLICA = [b"10.0.0.3", 6379, b"c" * 40, []]


def node(host: bytes | None, port: int = 6379, name: str = OURS) -> list[Any]:
    return [host, port, name.encode(), [b"ip", b"10.0.0.9"]]


def line(epoch: int, *slots: str, name: str = OURS) -> str:
    return f"{name} 10.0.0.1:6379@16379,h1 myself,master - 0 1 {epoch} connected {' '.join(slots)}".rstrip()


@pytest.mark.parametrize(
    ("lines", "epoch"),
    [
        ((line(3, "0-16383"),), 3),
        ((line(9, "0-5460", name=THEIRS), line(4, "10923-12037", "12038", "12040-16383")), 4),
        # On its way from here to another: until it has arrived it is ours.
        ((line(7, "12000-13000", f"[12038->-{THEIRS}]"),), 7),
        # On its way to here: it is not.
        ((line(7, "0-1", f"[12038-<-{THEIRS}]"), line(2, "2-16383", name=THEIRS)), 2),
    ],
)
def test_the_epoch_is_that_of_whoever_owns_the_slot(lines: tuple[str, ...], epoch: int) -> None:
    assert epoch_of("\n".join(lines) + "\n") == epoch


@pytest.mark.parametrize(
    "text", ["", line(3), line(3, "0-12037", "12039-16383"), line(1, f"[12038-<-{THEIRS}]")]
)
def test_a_slot_without_owner_is_no_answer(text: str) -> None:
    with pytest.raises(NotUsable, match="no primary for the site's keys"):
        epoch_of(text)


@pytest.mark.parametrize(
    ("host", "at"),
    [
        (b"node1.chu.example", "node1.chu.example"),
        (b"10.0.0.1", "10.0.0.1"),
        # It does not know its own address, or is not to tell it: it is where it was asked.
        (b"", "asked.example"),
        (None, "asked.example"),
    ],
)
def test_the_primary_is_where_it_announces_itself(host: bytes | None, at: str) -> None:
    slots = [[0, 5460, node(b"10.0.0.2", 7000, THEIRS)], [5461, 16383, node(host), REPLICA]]
    primary, places = read_slots(slots, "asked.example")
    assert primary == Primary(at, 6379, OURS)
    # Those who would take over come first.
    assert places == ((at, 6379), ("10.0.0.3", 6379), ("10.0.0.2", 7000))


def test_a_name_that_was_not_announced_leads_nowhere() -> None:
    with pytest.raises(NotUsable, match="cluster-announce-hostname"):
        read_slots([[0, 16383, node(b"?")]], "h1")
    with pytest.raises(NotUsable, match="no primary"):
        read_slots([[0, 100, node(b"h2")]], "h1")


def test_of_a_large_cluster_only_some_are_asked() -> None:
    slots = [[number, number, node(f"h{number}".encode(), name=THEIRS)] for number in range(100)]
    _, places = read_slots([*slots, [12000, 12100, node(b"ours"), REPLICA]], "h1")
    assert (len(places), places[0]) == (8, ("ours", 6379))


@given(st.text("0123456789abcdef:{}/-", max_size=60))
def test_every_key_lies_in_the_one_slot(rest: str) -> None:
    key = tagged(f"ecluse:{rest}")
    assert isinstance(key, str)
    assert key_slot(key.encode()) == SLOT == key_slot(NOBODY.encode())
    assert tagged(key) == key


@pytest.mark.parametrize("other", ["other:x", b"ecluse:store", 7, "", "xecluse:"])
def test_what_is_none_of_ours_stays_as_it_is(other: str | bytes | int) -> None:
    assert tagged(other) == other


def test_the_functions_name_keys_of_the_slot_alone() -> None:
    plain, clustered = (compose(product_sources(), in_cluster=one).source for one in (False, True))
    code = [text.partition("--")[0] for text in clustered.splitlines()]
    assert not [text for text in code if "ecluse:" in text.replace("{ecluse}:", "")]
    assert sum(text.count("{ecluse}:") for text in code) > 8
    assert f"local CLUSTER_NOBODY = '{NOBODY}'" in clustered
    assert "{ecluse}" not in plain
    assert compose(product_sources()).digest != compose(product_sources(), in_cluster=True).digest


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("MOVED 12038 10.0.0.1:6379", "serves the site's keys no more"),
        ("ASK 12038 10.0.0.1:6379", "is being moved"),
        ("TRYAGAIN the slot is being moved", "is being moved"),
        ("CLUSTERDOWN The cluster is down", "is down"),
        ("READONLY You can't write", None),
        ("ERR MOVED", None),
        ("", None),
    ],
)
def test_what_was_not_executed_is_known_by_its_code(error: str, why: str | None) -> None:
    told = why_elsewhere(error)
    assert told is why if why is None else why in (told or "")
