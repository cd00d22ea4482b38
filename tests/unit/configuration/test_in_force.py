"""What is in force as a file beside the gateway: whole or not at all, without secrets, every setting placed."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from gateway.configuration import Loaded, load
from gateway.configuration.in_force import (
    ConfigurationWeakens,
    InForce,
    InForceUnread,
    compare,
    follow,
    no_weaker,
    of_loaded,
    read_in_force,
)
from gateway.configuration.oversight import DIRECTIONS, FROM_SETTINGS, Oversight, oversight_of
from gateway.configuration.settings import (
    AlertSettings,
    Collector,
    EdgeSettings,
    MailSettings,
    PublishSettings,
    Settings,
    WebhookSettings,
    WitnessSettings,
)
from gateway.policy.plain import identify, plain
from gateway.policy.policy import Policy
from gateway.policy.weakening import Effect
from gateway.vocabulary.signals import Rules, Signal, SignalMode, SignalRule

WEAKER, STRONGER, NEITHER = Effect.WEAKER, Effect.STRONGER, Effect.NEITHER
CONFIGS = Path(__file__).parents[2] / "configs"
SECRET = "hunter2hunter2"


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(CONFIGS / "working_smallest.yml")


def placed(loaded: Loaded, folder: Path) -> Loaded:
    return Loaded(loaded.policy, replace(loaded.settings, state_dir=folder))


def weaker_than(policy: Policy) -> Policy:
    return replace(policy, policy_id="weaker", max_request_bytes=policy.max_request_bytes + 1)


def test_every_setting_is_placed_and_every_place_has_a_direction() -> None:
    assert set(FROM_SETTINGS) == {item.name for item in fields(Settings)}
    assert {name for name in FROM_SETTINGS.values() if name} <= {item.name for item in fields(Oversight)}
    for part in (Oversight, Rules, SignalRule):
        assert set(DIRECTIONS[part]) == {item.name for item in fields(part)}


def test_it_is_read_as_it_was_written_and_by_its_owner_alone(loaded: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "in-force.json"
    of_loaded(loaded).write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_in_force(path) == of_loaded(loaded)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("change", ["edited", "cut", "gone", "other-version"])
def test_what_was_changed_is_not_believed(loaded: Loaded, tmp_path: Path, change: str) -> None:
    path = tmp_path / "in-force.json"
    of_loaded(loaded).write(path)
    told = json.loads(path.read_text())
    if change == "edited":
        told["policy"]["max_request_bytes"] += 1
    elif change == "other-version":
        told["policy"]["more"] = 1
    path.write_text(json.dumps(told)[: 100 if change == "cut" else None])
    if change == "gone":
        path.unlink()
    with pytest.raises(InForceUnread, match="in-force"):
        read_in_force(path)


def test_no_secret_is_written(loaded: Loaded) -> None:
    settings = replace(
        loaded.settings,
        store_url=f"rediss://gateway:{SECRET}@store.chu.example:6380/1",
        alerts=AlertSettings(
            mail=MailSettings("mail.example", 25, "tls", "a@b", ("c@d",), "user", SECRET),
            webhook=WebhookSettings(f"https://hooks.example/{SECRET}?{SECRET}", SECRET),
        ),
        publish=(PublishSettings(url=f"https://u:{SECRET}@archive.example/{SECRET}", token=SECRET),),
        edge=EdgeSettings(port=9, secret=SECRET),
        audit_engine=f"clickhouse://u:{SECRET}@cluster.example",
    )
    found = InForce.of(loaded.policy, settings)
    assert SECRET not in json.dumps(plain(found))
    assert SECRET not in " ".join(map(str, compare(of_loaded(loaded), found)))
    assert "store.chu.example:6380" in found.oversight.store


@pytest.mark.parametrize(
    ("change", "where", "effect"),
    [
        ({"retention_days": 183}, "retention_days", WEAKER),
        ({"retention_days": 1_095}, "retention_days", STRONGER),
        ({"watcher": False}, "watcher", WEAKER),
        ({"escrow_recipients": ("age1x",)}, "escrow_recipients", WEAKER),
        ({"witnesses": (WitnessSettings("https://w.example", "key"),)}, "witnesses", STRONGER),
        ({"collector": Collector("tls", "siem.example", 6514, "ecs")}, "collectors", STRONGER),
        ({"listen_address": "192.0.2.1"}, "listens", WEAKER),
        ({"rules": Rules(ask_at=90)}, "rules.ask_at", WEAKER),
        ({"rules": Rules(signals={Signal.PACE: SignalRule(SignalMode.OFF, 60)})}, "rules.signals.pace.mode", WEAKER),
        ({"alerts": AlertSettings(at_most_per_hour=99)}, "alerts_at_most_per_hour", STRONGER),
        ({"edge": EdgeSettings(port=9)}, "edge_secret", WEAKER),
        ({"store_replicas": 1}, "store_replicas", STRONGER),
    ],
)  # fmt: skip
def test_what_keeps_watch(loaded: Loaded, change: dict[str, object], where: str, effect: Effect) -> None:
    settings = replace(loaded.settings, **change)  # type: ignore[arg-type]
    found = compare(of_loaded(loaded), InForce.of(loaded.policy, settings))
    assert {one.effect for one in found if one.where == where} == {effect}, found


def test_settings_that_hide_nothing_change_nothing(loaded: Loaded) -> None:
    changed = replace(loaded.settings, workers=4, worker_memory_bytes=1, enterprise_id=1, keeper=False)
    assert oversight_of(changed) == oversight_of(loaded.settings)


def test_a_process_begun_again_holds_the_rules_of_the_others(loaded: Loaded, tmp_path: Path) -> None:
    here = placed(loaded, tmp_path)
    weak = Loaded(weaker_than(loaded.policy), here.settings)
    # Nobody has written what is in force: then the files are all there is.
    assert no_weaker(weak) == (weak, ())
    of_loaded(here).write(here.settings.in_force_file)
    held, changes = no_weaker(weak)
    assert held.policy == loaded.policy
    assert [change.where for change in changes] == ["max_request_bytes"]
    assert no_weaker(here) == (here, ())


def test_the_edge_follows_the_gateway_of_its_node_and_goes_nowhere_first(
    loaded: Loaded, tmp_path: Path
) -> None:
    here = placed(loaded, tmp_path)
    weaker = replace(loaded.policy, max_url_bytes=9_000, policy_id="")
    follow(weaker, here)
    fresh = Loaded(replace(weaker, policy_id=identify(weaker)), here.settings)
    for _ in range(2):
        with pytest.raises(ConfigurationWeakens, match="--accept-weakening"):
            follow(loaded.policy, fresh)
        of_loaded(here).write(here.settings.in_force_file)
    of_loaded(fresh).write(here.settings.in_force_file)
    follow(loaded.policy, fresh)
