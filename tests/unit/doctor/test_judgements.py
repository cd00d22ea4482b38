"""What `ecluse doctor` says of facts: tables of facts and outcomes, each that is not well with a mend."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.configuration import load
from gateway.configuration.settings import AlertSettings, PublishSettings, SyslogSettings
from gateway.doctor import host, journal, store, upstreams, wiring
from gateway.doctor.findings import Finding, Outcome
from gateway.doctor.host import CertificateFacts, HostFacts
from gateway.doctor.journal import JournalFacts, LogFacts
from gateway.doctor.store import StoreFacts
from gateway.doctor.upstreams import UpstreamFacts
from gateway.doctor.wiring import RunningFacts
from gateway.policy.weakening import Change, Effect

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED
DAY_MS = 86_400_000
VALKEY = {
    "server_name": "valkey",
    "valkey_version": "9.1.2",
    "aof_enabled": "1",
    "maxmemory_policy": "noeviction",
}
REPLICATED = {"connected_slaves": "1", "min_slaves_good_slaves": "1"}
GOOD_STORE = StoreFacts(0, info=VALKEY, identity="a" * 32, remembered="a" * 32, keys=True)
GOOD_LOG = LogFacts("gateway", True, True, None, 1)
GOOD_JOURNAL = JournalFacts("/var/lib/ecluse/audit", None, 3, 50_000_000_000, (GOOD_LOG,))
APP = UpstreamFacts("parcours", "http://10.0.0.9:80", False, True, None, 403, 20)
WEAKER = Change("drain_s", "1", "2", Effect.WEAKER, "why")


def outcome(findings: Sequence[Finding], check: str) -> Outcome:
    """Return the outcome of *check*; whatever is not well has a mend."""
    (found,) = [one for one in findings if one.check == check]
    assert all(one.said for one in findings)
    assert all(bool(one.mend) is (one.outcome is not OK) for one in findings)
    return found.outcome


@pytest.mark.parametrize(
    ("change", "check", "expected"),
    [
        ({}, "store", OK),
        ({}, "store disk", OK),
        ({}, "store memory", OK),
        ({}, "store clock", OK),
        ({}, "store identity", OK),
        ({}, "keys of the store", OK),
        ({"silent": "ConnectionError"}, "store", FAILED),
        ({"silent": "it runs while the gateway does", "is_embedded": True}, "store", WARNING),
        ({"info": VALKEY | {"aof_enabled": "0"}}, "store disk", FAILED),
        ({"info": VALKEY | {"aof_last_write_status": "err"}}, "store disk", FAILED),
        ({"info": VALKEY | {"maxmemory_policy": "allkeys-lru"}}, "store memory", FAILED),
        ({"info": VALKEY | {"valkey_version": "6.2.1"}}, "store version", FAILED),
        ({"info": {"redis_version": "6.0.16"}}, "store version", FAILED),
        ({"info": {}}, "store version", FAILED),
        ({"replicas": 1}, "store replicas", FAILED),
        ({"replicas": 1, "info": VALKEY | REPLICATED}, "store replicas", OK),
        ({"skew_ms": 2_500}, "store clock", FAILED),
        ({"skew_ms": -2_500}, "store clock", FAILED),
        ({"identity": "b" * 32}, "store identity", FAILED),
        ({"identity": ""}, "store identity", FAILED),
        ({"identity": "", "remembered": None}, "store identity", WARNING),
        ({"remembered": None}, "store identity", OK),
        ({"keys": False}, "keys of the store", FAILED),
        ({"keys": None}, "keys of the store", WARNING),
    ],
)  # fmt: skip
def test_the_store(change: dict[str, object], check: str, expected: Outcome) -> None:
    if check == "store replicas" and expected is FAILED:
        found = store.judge(replace(GOOD_STORE, **change))  # type: ignore[arg-type]
        assert [one.outcome for one in found if one.check == check] == [FAILED, FAILED]
        return
    assert outcome(store.judge(replace(GOOD_STORE, **change)), check) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "check", "expected"),
    [
        ({}, "log folder", OK),
        ({}, "log gateway", OK),
        ({"refused": "Permission denied"}, "log folder", FAILED),
        ({"sync_ms": 900}, "log disk", WARNING),
        ({"free_bytes": 5_000_000_000}, "log space", WARNING),
        ({"free_bytes": 500_000_000}, "log space", FAILED),
        ({"logs": (replace(GOOD_LOG, broken="entry 3 was edited"),)}, "log gateway", FAILED),
        ({"logs": (replace(GOOD_LOG, unsigned_s=4_000),)}, "log gateway", FAILED),
        ({"logs": (replace(GOOD_LOG, is_signed=False),)}, "log gateway", FAILED),
        ({"logs": (replace(GOOD_LOG, is_whole=False),)}, "log gateway", OK),
    ],
)
def test_the_log(change: dict[str, object], check: str, expected: Outcome) -> None:
    assert outcome(journal.judge(replace(GOOD_JOURNAL, **change)), check) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "check", "expected"),
    [
        (HostFacts(True, 65_536), "clock", OK),
        (HostFacts(False, 65_536), "clock", WARNING),
        (HostFacts(None, 65_536), "clock", WARNING),
        (HostFacts(True, 65_536), "open files", OK),
        (HostFacts(True, 4_096), "open files", WARNING),
        (HostFacts(True, 256), "open files", FAILED),
    ],
)
def test_the_machine(facts: HostFacts, check: str, expected: Outcome) -> None:
    assert outcome(host.judge(facts), check) is expected


@pytest.mark.parametrize(
    ("change", "now_days", "expected", "said"),
    [
        ({}, 10, OK, "valid for 80 more days"),
        ({}, 80, WARNING, "expires in 10 days"),
        ({}, 90, FAILED, "has expired"),
        ({}, -1, FAILED, "not valid yet"),
        ({"names": ("*.chu.example",)}, 10, OK, "valid"),
        ({"names": ("*.example",)}, 10, FAILED, "is not for a.chu.example"),
        ({"names": ()}, 10, FAILED, "is not for a.chu.example"),
        ({"is_of_key": False}, 10, FAILED, "do not belong together"),
        ({"unreadable": "/etc/x.pem: No such file"}, 10, FAILED, "No such file"),
    ],
)
def test_a_certificate(change: dict[str, object], now_days: int, expected: Outcome, said: str) -> None:
    facts = replace(CertificateFacts("certificate", None, 0, 90 * DAY_MS, ("a.chu.example",)), **change)  # type: ignore[arg-type]
    found = host.judge_certificate(facts, ["a.chu.example"], now_days * DAY_MS)
    assert (found.outcome, said in found.said) == (expected, True), found


@pytest.mark.parametrize(
    ("change", "check", "expected"),
    [
        ({}, "app parcours", OK),
        ({"took_ms": 3_000}, "app parcours", WARNING),
        ({"fault": "Connection refused"}, "app parcours", FAILED),
        ({}, "around the gateway to parcours", OK),
        ({"status": 401}, "around the gateway to parcours", OK),
        # A login page is no refusal: the password alone would do.
        ({"status": 200}, "around the gateway to parcours", FAILED),
        ({"status": 302}, "around the gateway to parcours", FAILED),
        ({"status": 404}, "around the gateway to parcours", FAILED),
        ({"status": 500}, "around the gateway to parcours", FAILED),
        ({"is_asked_for": False}, "around the gateway to parcours", WARNING),
        ({"is_asked_for": False, "status": 200}, "around the gateway to parcours", WARNING),
    ],
)
def test_an_application(change: dict[str, object], check: str, expected: Outcome) -> None:
    assert outcome(upstreams.judge(replace(APP, **change)), check) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("trusted", "address", "has_tls", "has_edge", "expected"),
    [
        (["10.0.0.1/32"], "127.0.0.1", False, False, OK),
        (["0.0.0.0/0"], "127.0.0.1", False, False, FAILED),
        (["10.0.0.0/8"], "127.0.0.1", False, False, FAILED),
        (["10.0.0.1/32", "2001::/16"], "127.0.0.1", False, False, FAILED),
        ([], "127.0.0.1", False, False, WARNING),
        ([], "192.0.2.1", False, False, FAILED),
        ([], "192.0.2.1", True, False, OK),
        ([], "192.0.2.1", True, True, WARNING),
    ],
)
def test_proxies(trusted: list[str], address: str, has_tls: bool, has_edge: bool, expected: Outcome) -> None:
    networks = [ip_network(text) for text in trusted]
    found = wiring.judge_proxies(networks, address, has_tls=has_tls, has_edge=has_edge)
    assert outcome([found], "trusted proxies") is expected


def test_who_is_told_and_who_else_keeps_checkpoints() -> None:
    loaded = load(Path(__file__).parents[2] / "configs" / "working_smallest.yml")
    alone = wiring.judge_watch(loaded)
    assert {one.outcome for one in alone} == {WARNING}
    settings = replace(
        loaded.settings,
        alerts=AlertSettings(syslog=SyslogSettings("tls", "siem.example", 6514)),
        publish=(PublishSettings(url="https://archive.example/x"),),
    )
    assert {one.outcome for one in wiring.judge_watch(replace(loaded, settings=settings))} == {OK}
    blind = wiring.judge_watch(replace(loaded, settings=replace(settings, watcher=False)))
    assert outcome(blind, "watcher") is WARNING


@pytest.mark.parametrize(
    ("facts", "expected", "said"),
    [
        (RunningFacts(7, "", ()), OK, "the files are what"),
        (RunningFacts(7, "", (WEAKER,)), WARNING, "would weaken what is in force in 1 ways"),
        (RunningFacts(7, "", (replace(WEAKER, effect=Effect.STRONGER),)), WARNING, "differ"),
        (RunningFacts(7), WARNING, "nobody can tell"),
        (RunningFacts(None, "no gateway is running"), WARNING, "no gateway is running"),
    ],
)
def test_what_is_in_force(facts: RunningFacts, expected: Outcome, said: str) -> None:
    found = wiring.judge_running(facts)
    assert outcome([found], "policy in force") is expected
    assert said in found.said


def test_packages() -> None:
    assert outcome(wiring.judge_packages([]), "packages") is OK
    found = wiring.judge_packages(
        ["h11 0.14 is installed, wanted is >=0.16 (smuggles: much): install h11>=0.16"]
    )
    assert outcome(found, "packages") is FAILED
    assert found[0].mend == "install h11>=0.16"


def test_the_last_segment_of_a_large_log_is_looked_at(tmp_path: Path) -> None:
    log = tmp_path / "gateway"
    log.mkdir()
    assert journal.gather(tmp_path / "none" / "audit", ()).refused is None
    assert journal.gather(tmp_path, ()).logs == ()
