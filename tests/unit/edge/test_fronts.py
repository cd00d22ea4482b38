"""The configurations of front proxies: what they hold whatever the site, and what cannot be written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli.edge import edge as commands
from gateway.configuration import ConfigurationFaults, EdgeSettings, Loaded, load
from gateway.edge import claims
from gateway.edge.doors import Door
from gateway.edge.front import WRITERS, CannotWrite, Site
from tests.end_to_end.sites import SECRET, configured, secure_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return secure_site(tmp_path_factory.mktemp("front"))


@pytest.mark.parametrize("name", WRITERS)
def test_every_configuration_names_the_doors_and_takes_claims_away(site: Site, name: str) -> None:
    files = WRITERS[name](site)
    whole = "\n".join(files.values())
    assert SECRET in whole
    assert "Written by `ecluse edge config`" in next(iter(files.values()))
    assert site.loaded.policy.policy_id in whole
    for header in (*claims.TAKEN_AWAY, *claims.TAKEN_TOO):
        known = header in whole.lower() or (name == "haproxy" and header.startswith(claims.TAKEN_AWAY_FROM))
        overwritten = {"x-real-ip", "x-forwarded-port", "x-forwarded-server"}
        assert known or (name == "traefik" and header in overwritten), header
    for app, rules in site.apps:
        for rule in rules:
            assert rule.pattern in whole.replace("\\\\", "\\"), (app.name, rule)
    assert "app.example" in whole
    assert "8443" in whole


def _edited(site: Site, edge: EdgeSettings | None) -> Loaded:
    return Loaded(site.loaded.policy, replace(site.loaded.settings, edge=edge))


def test_what_cannot_be_written_is_said(site: Site) -> None:
    with pytest.raises(CannotWrite, match=r"gateway\.edge is missing"):
        Site.of(_edited(site, None))
    with pytest.raises(CannotWrite, match=r"gateway\.edge\.front is missing"):
        Site.of(_edited(site, replace(site.edge, front=None)))
    with pytest.raises(CannotWrite, match=r"gateway\.edge\.port is missing"):
        WRITERS["traefik"](Site.of(_edited(site, replace(site.edge, port=None))))
    key = replace(site.front, key=Path("/etc/other/secret.key"))
    with pytest.raises(CannotWrite, match="HAProxy looks for the key"):
        WRITERS["haproxy"](Site.of(_edited(site, replace(site.edge, front=key))))
    for odd in ("/etc/a b.pem", "/etc/a;b.pem", "/etc/{a}.pem", "/etc/'a'.pem", "/etc/$a.pem"):
        front = replace(site.front, certificate=Path(odd), key=Path(odd + ".key"))
        for name, write in WRITERS.items():
            with pytest.raises(CannotWrite, match="cannot stand in a proxy"):
                write(Site.of(_edited(site, replace(site.edge, front=front))))
            assert name


def test_what_goes_where_stands_at_the_head(site: Site) -> None:
    head = WRITERS["nginx"](site)["ecluse.conf"].split("\n\n")[0]
    assert "#   app        public   static" in head
    assert "#   check      page     home" in head
    assert {rule.door for _, rules in site.apps for rule in rules} == set(Door)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"socket": None, "port": None}, "gateway.edge"),
        ({"secret_file": None}, "gateway.edge.port"),
        ({"port": 8443}, "gateway.edge.port"),
        ({"socket": None, "group": "www-data"}, "gateway.edge.group"),
    ],
)
def test_faults_of_the_edge_are_told(tmp_path: Path, change: dict[str, Any], where: str) -> None:
    def write(config: dict[str, Any]) -> None:
        edge = config["gateway"]["edge"] | change
        config["gateway"]["edge"] = {key: value for key, value in edge.items() if value is not None}

    with pytest.raises(ConfigurationFaults) as found:
        load(configured(tmp_path, write))
    assert where in [".".join(map(str, fault.where)) for fault in found.value.faults] or any(
        where in str(fault) for fault in found.value.faults
    )


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("trusted_proxies", [], "take everybody for the front proxy"),
        ("edge.front.http_port", 443, "this is https_port already"),
    ],
)
def test_a_front_proxy_that_nobody_could_trust_is_told(
    tmp_path: Path, key: str, value: object, told: str
) -> None:
    def write(config: dict[str, Any]) -> None:
        place = config["gateway"]
        *steps, last = key.split(".")
        for step in steps:
            place = place[step]
        place[last] = value

    with pytest.raises(ConfigurationFaults, match=told):
        load(configured(tmp_path, write))


@pytest.mark.parametrize("secret", ["short", 'with spaces and quotes " in it, and long enough', "é" * 40])
def test_a_secret_that_could_be_guessed_or_misread_is_refused(tmp_path: Path, secret: str) -> None:
    path = configured(tmp_path)
    (tmp_path / "secret").write_text(secret)
    with pytest.raises(ConfigurationFaults, match="letters and digits"):
        load(path)


def test_the_command_writes_for_the_proxy_alone(tmp_path: Path) -> None:
    path, into = configured(tmp_path), tmp_path / "conf.d"
    into.mkdir()
    told = CliRunner().invoke(commands, ["config", "nginx", "--into", str(into), "--config", str(path)])
    assert told.output == f"{into}/ecluse.conf is written.\n"
    assert (into / "ecluse.conf").stat().st_mode & 0o777 == 0o600
    assert SECRET in (into / "ecluse.conf").read_text()
    printed = CliRunner().invoke(commands, ["config", "haproxy", "--config", str(path)])
    assert "# --- ecluse.cfg" in printed.output
    assert "# --- ecluse.lua" in printed.output
    gone = CliRunner().invoke(commands, ["config", "nginx", "--into", "/nowhere/x", "--config", str(path)])
    assert gone.exit_code == 2


@pytest.mark.parametrize("name", ["nginx", "caddy", "haproxy"])
def test_a_file_that_one_door_takes_passes_the_front(site: Site, name: str) -> None:
    """What the gateway would pass on is not refused before it; which door takes how much is the gateway's to say."""
    policy = site.loaded.policy
    app = next(iter(policy.apps.values()))
    longer = replace(app, routes=(replace(app.routes[0], max_upload_bytes=2_345_678_901), *app.routes[1:]))
    changed = replace(policy, apps={**policy.apps, app.name: longer})
    wider = replace(site, loaded=replace(site.loaded, policy=changed))
    assert "2345678901" in "".join(WRITERS[name](wider).values())
    assert str(policy.max_request_bytes) in "".join(WRITERS[name](site).values())
