"""The loader: every fault with its file, line, place and mend; and nothing but ConfigurationFaults, ever."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio.connection import SSLConnection, parse_url

from gateway.configuration import ConfigurationFaults, load
from gateway.configuration.settings import AlertSettings, MailSettings, SyslogSettings, WebhookSettings
from gateway.valkey.address import read_address
from gateway.vocabulary.signals import Rules, Signal, SignalMode, SignalRule

CONFIGS = Path(__file__).parents[2] / "configs"

# File, line, place, beginning of what is said (after any file name), beginning of the mend.
# fmt: off
BUSTED = [
    ("alerts_mail_in_clear", 5, "alerts.mail.security", "mail would travel in clear", "write starttls or tls"),
    ("alerts_mail_user_alone", 5, "alerts.mail", "user and password_file belong together", "write both, or neither"),
    ("alerts_webhook_in_clear", 5, "alerts.webhook.url", "the alert would travel in clear", "write https://"),
    ("alerts_webhook_secret_missing", 5, "alerts.webhook.secret_file", "nowhere.secret cannot be", "check its name"),
    ("after_login_without_login_rule", 11, "apps.demo", "no login rule: nobody could ever c", "write under login ho"),
    ("app_name", 11, "apps.Démo", "'Démo' is no name", "write small letters, d"),
    ("attribute_without_html", 26, "apps.demo.routes[1].patients.attribute", "an attribute belongs to ", "take it out"),
    ("authorities_file_missing", 14, "apps.demo.upstream.ca_file", "nowhere.pem cannot be read: ", "check its name, i"),
    ("basic_login_after_login", 16, "apps.demo.basic", "'basic: login' has no answer that co", "write 'flow: before-l"),
    ("basic_service_without_services", 16, "apps.demo.basic", "'basic: service' without servi", "list them under se"),
    ("before_login_without_login_rule", 11, "apps.demo", "no login rule: nobody could ever c", "write under login ho"),
    ("caps_app", 11, "realms.chu.caps[0].app", "there is no app 'agenda' in this realm", "write one of demo"),
    ("caps_class", 11, "realms.chu.caps[0].class", "there is no class 'wards' in this realm", "write one of grace, "),
    ("caps_hours", 11, "realms.chu.caps[0].hours", "this is not written as it must be", "it has to fit "),
    ("caps_name_twice", 12, "realms.chu.caps[1].name", "the name nights stands here twice", "give each its own"),
    ("caps_no_cap", 11, "realms.chu.caps[0]", "rule nights sets no cap", "write at least one, such"),
    ("caps_no_condition", 11, "realms.chu.caps[0]", "rule nights names no condition", "write class, app, es"),
    ("caps_soft_above_hard", 13, "realms.chu.caps[0].patients_1h.soft", "the soft bound lies above", "write at mos"),
    ("caps_tie", 12, "realms.chu.caps[1]", "rules nights and wards tie: both set pati", "name one condition"),
    ("certificate_file_missing", 3, "gateway.listen.tls.certificate", "nowhere.pem cannot be read", "check its name, "),
    ("cluster_database", 5, "store.url", "a Cluster has no numbered databases", "leave db out"),
    ("cluster_name", 5, "store.url", "a Cluster has neither names nor numbered data", "end the address after"),
    ("cluster_twice", 5, "store.url", "a node stands twice in the address", "name each of them once"),
    ("collector_authorities_missing", 8, "audit.collector.ca_file", "nowhere.pem cannot be read", "check its name"),
    ("collector_certificate_without_key", 6, "audit.collector", "certificate and key stand together", "write both"),
    ("collector_format", 8, "audit.collector.format", "this is none of the words that may", "write 'ecs', "),
    ("collector_in_clear_with_authorities", 8, "audit.collector.ca_file", "this is for tls:// only", "take it out"),
    ("collector_scheme", 7, "audit.collector.url", "scheme 'https' is none of tls, tcp, udp", "write tls://host:6514"),
    ("collector_without_port", 7, "audit.collector.url", "'tls://siem.example' is not scheme, host", "write tls://"),
    ("condition_is_true", 25, "apps.demo.routes[1].when.query.view", "this is no mapping", "write 'key: value' lin"),
    ("condition_of_two", 25, "apps.demo.routes[1].when.query.view", "this condition is not one ", "write exactly on"),
    ("control_character", 12, "apps.demo.realm", "this holds a control character", "take it out"),
    ("css_selector", 26, "apps.demo.routes[1].patients.html", "'tr[' is no CSS selector", "write it as in a style"),
    ("delimiter_without_csv", 26, "apps.demo.routes[1].patients.delimiter", "a delimiter belongs to c", "take it out"),
    ("duplicate_key", 13, "apps.demo.realm", "'realm' stands here twice, first on li", "keep one of the two"),
    ("empty_file", 1, "", "the file is empty", "write a configuration;"),
    ("escrow_recipient", 5, "audit.escrow.recipients[0]", "'age1nobody' is no age recipient", "write the public key t"),
    ("escrow_secret_key", 5, "audit.escrow.recipients[0]", "this is a secret key, which", "write its public key, "),
    ("escrow_without_recipients", 5, "audit.escrow.recipients", "this is empty", "write at least 1"),
    ("engine_is_none", 6, "audit.engine", "this is no engine", "write duckdb, or clickh"),
    ("engine_password_without_engine", 6, "audit.engine_password_file", "duckdb has no pass", "take it out"),
    ("engine_with_password", 6, "audit.engine", "a password stands in the address", "put it alone in a"),
    ("engine_without_tls", 6, "audit.engine", "the trail would travel without TLS", "take secure=0 out"),
    ("grace_class", 7, "realms.chu.grace.class", "there is no class 'none' in this realm", "write one of grace, he"),
    ("grace_without_zone", 7, "realms.chu.grace.until", "this time has no zone", "add one, such as 2027-"),
    ("host_is_no_name", 13, "apps.demo.hosts[0]", "'*.chu.example' is no host name", "write the plain name, "),
    ("host_with_capitals", 13, "apps.demo.hosts[0]", "host 'Demo.chu.example' has capitals", "write 'demo.chu.exampl"),
    ("host_with_port", 13, "apps.demo.hosts[0]", "host 'demo.chu.example:443' has a port", "write 'demo.chu.exampl"),
    ("idle_over_absolute", 7, "realms.chu.sessions.idle_s", "idle_s is longer than absolute_s", "make it shorter"),
    ("include_missing", 10, "include[0]", "no file fits this name", "check it: it is looked"),
    ("jsonpath", 26, "apps.demo.routes[1].patients.json", "'$.patients[' is no JSONPath: unex", "write it as in RFC 9"),
    ("limit_mode", 9, "realms.chu.classes.ward.patients_24h.mode", "this is none of the words th", "write 'observe', "),
    ("limit_quoted", 9, "realms.chu.classes.ward.patients_24h", "this is no whole number", "write digits without q"),
    ("limit_true", 9, "realms.chu.classes.ward.patients_24h", "this is no whole number", "write digits without q"),
    ("limit_zero", 9, "realms.chu.classes.ward.patients_24h", "this number is too small", "it must be more than 0"),
    ("list_at_top", 1, "", "the file's top is no mapping", "write 'key: value' lin"),
    ("listed_weight", 9, "realms.chu.classes.ward.listed_weight", "this number is too large", "it must be at most 1.0"),
    ("listen_address", 3, "gateway.listen.address", "'localhost' is no IP address", "write an address such "),
    ("lock_before_free", 7, "realms.chu.failures.free", "the account is locked before the f", "make it less than lo"),
    ("login_account_without_place", 19, "apps.demo.login[0].account", "no place is named", "write one entry each, "),
    ("login_anywhere", 17, "apps.demo.login[0]", "neither path nor when: every request w", "write path, or a param"),
    ("login_page_behind_the_gate", 15, "apps.demo.login_page", "no route lets strangers see th", "add a route of kin"),
    ("login_page_missing", 11, "apps.demo", "login_page is missing: strangers have ", "write the path of the "),
    ("login_status", 20, "apps.demo.login[0].success.status", "999 is no HTTP status", "write a number such as"),
    ("login_with_empty_success", 20, "apps.demo.login[0].success", "this group has no sign", "write at least one, su"),
    ("login_without_success", 17, "apps.demo.login[0]", "'success' is missing", "write success here"),
    ("logo_type", 5, "body.logo", "logo.gif is neither SVG nor PNG", "name an .svg or .png f"),
    ("method_in_small_letters", 25, "apps.demo.routes[1].methods[0]", "'get' is no HTTP method", "write methods in ca"),
    ("method_trace", 15, "apps.demo.methods[2]", "TRACE never passes the gateway", "take it out of the lis"),
    ("metrics_on_the_same_port", 4, "gateway.metrics.port", "this is the gateway's own port", "choose another"),
    ("misspelt_key", 7, "realms.chu.defualt_class", "unknown key 'defualt_class'", "did you mean 'default_"),
    ("network_with_host_bits", 4, "gateway.trusted_proxies[0]", "'10.1.2.3/24' is no network: 1", "write it as 10.1.2"),
    ("no_apps", 1, "", "there is no app", "write one under apps, "),
    ("no_place", 26, "apps.demo.routes[1].patients.from[0]", "no place is named", "write one entry each, "),
    ("no_realms", 1, "", "'realms' is missing", "write realms here"),
    ("node_is_no_name", 6, "audit.node", "this is not written as it must be", "it has to fit ^[a-z0-9]"),
    ("not_utf8", 12, "", "this line is not UTF-8", "save the file as UTF-8"),
    ("other_node_twice", 7, "audit.also[1]", "this folder is read already", "take it out"),
    ("other_nodes_without_a_name", 6, "audit.also", "other nodes write logs too, and this one", "write audit.node"),
    ("page_with_patients", 26, "apps.demo.routes[1].patients", "a page route names no patients", "make it record, lis"),
    ("path_template", 25, "apps.demo.routes[1].path", "path '/patients/{id': write {name}, ", "write a path such as "),
    ("path_with_query", 25, "apps.demo.routes[1].path", "path '/patients/{id}?full=1' holds", "write a path such as"),
    ("path_without_the_name", 26, "apps.demo.routes[1].patients.path", "the path /patients/{id} ", "write the name "),
    ("prefix_of_two_segments", 3, "gateway.prefix", "'/gateway/pages/' is no prefix", "write one segment betw"),
    ("prefix_over_a_route", 26, "apps.demo.routes[1].path", "this stands under /patients/, wh", "choose another gate"),
    ("publish_address", 7, "audit.publish[0].url", "this address holds credentials", "write http://host/path"),
    ("publish_half_a_key", 7, "audit.publish[0]", "access_key_id and secret_file belong tog", "write both, or nei"),
    ("publish_key_of_another_place", 7, "audit.publish[0].region", "region says nothing about a dir", "take it out"),
    ("plan_blanc_raises", 5, "plan_blanc.raises[0]", "this is none of the words that may stan", "write 'patients_10"),
    ("posture_share", 5, "posture.caps_share", "this number is too large", "it must be at most 1"),
    ("publish_nowhere", 7, "audit.publish[0]", "no place is named", "write exactly one of d"),
    ("publish_to_two_places", 7, "audit.publish[0]", "directory and bucket in one entry", "write exactly one of d"),
    ("publish_token_missing", 8, "audit.publish[0].token_file", "nowhere cannot be read: No such f", "check its name"),
    ("re2_pattern", 26, "apps.demo.routes[1].patients.pattern", "'(?<=P)[0-9]+' is no RE2 patte", "RE2 has no look-ar"),
    ("record_without_patients", 23, "apps.demo.routes[1]", "a record route without patients:", "write under patient"),
    ("retention_without_reason", 6, "audit.retention_days", "400 days is none of 183, 365, 1095", "write one of t"),
    ("route_method_unknown_to_app", 25, "apps.demo.routes[1].methods[1]", "the app refuses DELETE", "add DELETE to "),
    ("route_name_twice", 27, "apps.demo.routes[2].name", "the name login stands here twice", "give each its own name"),
    ("route_never_reached", 27, "apps.demo.routes[2].path", "this route is never reached: rou", "put the narrower ro"),
    ("route_written_twice", 27, "apps.demo.routes[2].path", "this route is never reached: rou", "put the narrower ro"),
    ("service_from_anywhere", 17, "apps.demo.services[0].networks[0]", "0.0.0.0/0 is everybody", "name the networks t"),
    ("service_without_networks", 17, "apps.demo.services[0].networks", "this is empty", "write at least 1"),
    ("services_but_basic_refused", 16, "apps.demo.services", "services are refused by this app", "write 'basic: servi"),
    ("replicas_of_embedded_store", 5, "store.replicas", "this store has no replicas", "take it out"),
    ("sentinel_password_in_option", 5, "store.url", "sentinel_password in the address", "leave it out: auth"),
    ("sentinel_password_without_sentinels", 5, "store.sentinel_password_file", "no Sentinels", "take it out"),
    ("sentinel_port", 5, "store.url", "h2:263790 has no port of a Sentinel", "write 1 to 65535"),
    ("sentinel_twice", 5, "store.url", "a Sentinel stands twice", "name each of them once"),
    ("sentinels_without_group", 5, "store.url", "the address does not say which prim", "write it after the hosts"),
    ("store_authorities_missing", 5, "store.ca_file", "nowhere.pem cannot be read: No suc", "check its name, it"),
    ("store_authorities_without_tls", 5, "store.ca_file", "only a rediss://, sentinels://, clus", "take it out"),
    ("store_option_in_address", 5, "store.url", "password, ssl_cert_reqs in the addr", "leave it out: auth"),
    ("store_password_file_missing", 5, "store.password_file", "nowhere cannot be read: No suc", "check its name, it"),
    ("store_password_in_address", 5, "store.url", "a password stands in the address", "put it alone in a file"),
    ("store_scheme", 5, "store.url", "this is no store's address", "write embedded, or red"),
    ("strangers_shown_before_login", 16, "apps.demo.strangers", "'show' is for apps that ask fo", "take it out, or wr"),
    ("streamed_record", 25, "apps.demo.routes[1].stream", "a record route is inspected whole", "take stream out, or m"),
    ("trusted_everybody", 4, "gateway.trusted_proxies[0]", "0.0.0.0/0 is everybody", "name the networks that"),
    ("two_apps_one_host", 29, "apps.other.hosts[1]", "host demo.chu.example belongs to app", "give each host to one"),
    ("two_places_in_one_entry", 26, "apps.demo.routes[1].patients", "path and query in one entry", "write one entry e"),
    ("unknown_class", 7, "realms.chu.default_class", "there is no class 'wards' in this re", "write one of grace, h"),
    ("unknown_key_without_likeness", 4, "gateway.zzz", "unknown key 'zzz'", "take it out, or write "),
    ("unknown_realm", 12, "apps.demo.realm", "there is no realm 'chr'", "write one of chu, or a"),
    ("unknown_service_class", 17, "apps.demo.services[0].class", "there is no class 'nobody' i", "write one of grac"),
    ("upload_to_record", 25, "apps.demo.routes[1].max_upload_bytes", "a record route is inspected", "take max_upload"),
    ("upstream_is_ftp", 14, "apps.demo.upstream", "scheme 'ftp' is neither http nor https", "write http://host:port"),
    ("upstream_with_credentials", 14, "apps.demo.upstream", "this address holds credentials", "write http://host:port"),
    ("upstream_with_path", 14, "apps.demo.upstream", "'http://127.0.0.1:8000/app' is more ", "write http://host:por"),
    ("version", 1, "version", "this is none of the words that may sta", "write 1"),
    ("version_missing", 1, "", "'version' is missing", "write version here"),
    ("witness_key", 7, "audit.witnesses[0].key", "this is no Ed25519 verifier key", "write it as it was pri"),
    ("witness_twice", 8, "audit.witnesses[1].key", "this witness is named twice", "take one out"),
    ("signals_lock_below_ask", 5, "signals.lock_at", "an account would be locked", "make it more than ask_at"),
    ("signals_mode", 5, "signals.pace.mode", "this is none of the words that", "write 'off', 'observe'"),
    ("signals_timezone", 5, "signals.timezone", "there is no time zone 'Europe/Lille'", "write its name, such as"),
    ("yaml_merge", 12, "apps.demo", "'<<' is not read here", "write the keys out"),
    ("yaml_syntax", 14, "", "this is no YAML: expected ',' or ']', ", "check indentation, col"),
    ("yaml_tab", 12, "", "this is no YAML: found character '\\t' ", "check indentation, col"),
    ("yaml_tag", 12, "apps.demo.realm", "tag !!python/name:os.system is not rea", "take the tag out"),
]
# fmt: on


@pytest.mark.parametrize(("name", "line", "where", "what", "mend"), BUSTED, ids=[row[0] for row in BUSTED])
def test_busted_file_names_fault_place_and_mend(
    name: str, line: int, where: str, what: str, mend: str
) -> None:
    file = CONFIGS / f"busted_{name}.yml"
    with pytest.raises(ConfigurationFaults) as caught:
        load(file)
    assert len(caught.value.faults) == 1, str(caught.value)
    fault = caught.value.faults[0]
    assert (fault.file, fault.line, fault.where) == (file, line, where)
    assert what in fault.what.replace(f"{CONFIGS}/", "")
    assert fault.mend.startswith(mend)
    assert str(fault).startswith(f"{file}:{line}:")


def test_every_busted_file_is_in_the_table() -> None:
    assert {file.stem for file in CONFIGS.glob("busted_*.yml")} == {f"busted_{row[0]}" for row in BUSTED}


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("working_*.yml")), ids=lambda file: file.stem)
def test_working_file_loads(file: Path) -> None:
    loaded = load(file)
    assert loaded.policy.apps["demo"].realm == "chu"
    assert loaded.settings.config_path == file


def test_a_token_does_not_travel_in_clear_nor_stand_in_a_repr(tmp_path: Path) -> None:
    text = (CONFIGS / "working_offsite.yml").read_text("utf-8")
    (tmp_path / "token").write_text("a-token-of-ours\n")
    (tmp_path / "token").chmod(0o600)
    entry = '{url: "https://archive.example/ecluse/"}'
    main = tmp_path / "ecluse.yaml"
    main.write_text(text.replace(entry, '{url: "https://archive.example/", token_file: token}'), "utf-8")
    settings = load(main).settings
    assert settings.publish[1].token == "a-token-of-ours"
    assert "a-token-of-ours" not in repr(settings)
    for place in ("http://127.0.0.1:8080/", "http://localhost/"):
        main.write_text(text.replace(entry, f'{{url: "{place}", token_file: token}}'), "utf-8")
        assert load(main).settings.publish[1].url == place
    main.write_text(text.replace(entry, '{url: "http://archive.example/", token_file: token}'), "utf-8")
    with pytest.raises(ConfigurationFaults) as caught:
        load(main)
    assert "travel in clear" in str(caught.value)


def test_samples_load_together(tmp_path: Path) -> None:
    samples = CONFIGS.parents[1] / "config"
    text = (samples / "ecluse.yaml").read_text("utf-8").replace("  # - apps/", "  - apps/")
    (tmp_path / "ecluse.yaml").write_text(text, "utf-8")
    (tmp_path / "apps").symlink_to(samples / "apps")
    assert set(load(tmp_path / "ecluse.yaml").policy.apps) == {"form", "django", "basic", "spa"}
    assert set(load(samples / "ecluse.yaml").policy.apps) == {"form"}


def test_all_faults_at_once_over_several_files(tmp_path: Path) -> None:
    main = tmp_path / "ecluse.yaml"
    main.write_text(
        "version: 1\nstore: {url: http://x}\nrealms:\n  chu: {defualt_class: ward}\n"
        "include: [apps/*.yaml, nothing.yaml]\n"
    )
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "one.yaml").write_text(
        "realm: chu\nhosts: [A.example]\nupstream: http://127.0.0.1\n"
    )
    (tmp_path / "apps" / "two.yaml").write_text(
        "realm: chu\nrealm: chu\nhosts: [b.example]\nupstream: http://127.0.0.1:1/x\n"
    )
    (tmp_path / "apps" / "Three.yaml").write_text("realm: chu\n")
    with pytest.raises(ConfigurationFaults) as caught:
        load(main)
    told = [(fault.file.name, fault.line, fault.where) for fault in caught.value.faults]
    assert told == [
        ("one.yaml", 2, "apps.one.hosts[0]"),
        ("two.yaml", 2, "apps.two.realm"),
        ("two.yaml", 4, "apps.two.upstream"),
        ("ecluse.yaml", 2, "store.url"),
        ("ecluse.yaml", 4, "realms.chu.defualt_class"),
        ("ecluse.yaml", 5, "include[0]"),
        ("ecluse.yaml", 5, "include[1]"),
    ]


def test_app_written_twice_and_included_file_missing_its_realm(tmp_path: Path) -> None:
    main = tmp_path / "ecluse.yaml"
    app = "{realm: chu, hosts: [a.example], upstream: 'http://127.0.0.1', flow: before-login, basic: login}"
    main.write_text(f"version: 1\nrealms: {{chu: {{}}}}\ninclude: [demo.yaml]\napps:\n  demo: {app}\n")
    (tmp_path / "demo.yaml").write_text("realm: chu\n")
    with pytest.raises(ConfigurationFaults, match="app demo is written twice"):
        load(main)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        # Not there, not a file, not readable as text.
        ("absent.yaml", None, "cannot be read: No such file"),
        (".", None, "cannot be read: Is a directory"),
        ("nul\0.yaml", None, "holds a NUL"),
        # Hostile YAML: deep, wide, self-referring, several documents, huge numbers.
        ("deep.yaml", "[" * 600, "this is no YAML"),
        ("nested.yaml", "a: " * 1 + "{a: " * 60 + "1" + "}" * 60, "nested or repeated too often"),
        (
            "laughs.yaml",
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdef", "bcdefg", strict=True)
            ),
            "nested or repeated too often",
        ),
        ("circle.yaml", "a: &a [*a]\n", "nested or repeated too often"),
        ("two.yaml", "version: 1\n---\nversion: 1\n", "this is no YAML"),
        ("huge.yaml", "version: 9223372036854775808999\nrealms: {a: {}}\n", "none of the words"),
        ("long.yaml", "a: " + "b" * 1_000_001, "longer than"),
        ("keys.yaml", "{[a]: 1}", "a key is no plain text"),
    ],
)
def test_hostile_file_is_a_fault(tmp_path: Path, name: str, content: str | None, what: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationFaults) as caught:
        load(tmp_path / name)
    assert any(what in fault.what for fault in caught.value.faults), str(caught.value)


@pytest.mark.parametrize(
    "name", ["store_password_in_address", "store_option_in_address", "sentinel_password_in_option"]
)
def test_values_that_may_be_secret_are_never_repeated(name: str) -> None:
    with pytest.raises(ConfigurationFaults) as caught:
        load(CONFIGS / f"busted_{name}.yml")
    assert "hunter2" not in str(caught.value)


def test_store_password_comes_from_its_own_file_and_stays_out_of_reprs(tmp_path: Path) -> None:
    text = (CONFIGS / "working_smallest.yml").read_text()
    main = tmp_path / "ecluse.yaml"
    main.write_text(
        text.replace("realms:", "store: {url: 'redis://gate@store:6379', password_file: pw}\nrealms:", 1)
    )
    (tmp_path / "pw").write_text("p@ss word\n")
    (tmp_path / "pw").chmod(0o644)
    with pytest.raises(ConfigurationFaults, match="can be read by others"):
        load(main)
    (tmp_path / "pw").chmod(0o600)
    loaded = load(main)
    assert loaded.settings.store_url == "redis://gate:p%40ss%20word@store:6379"
    assert "p%40ss" not in repr(loaded)


def test_every_node_of_a_cluster_is_spoken_to_in_the_same_way(tmp_path: Path) -> None:
    main = tmp_path / "ecluse.yaml"
    text = (CONFIGS / "working_cluster.yml").read_text()
    main.write_text(text.replace('7002"', '7002", password_file: pw'))
    (tmp_path / "pw").write_text("p@ss/wörd")
    (tmp_path / "pw").chmod(0o600)
    settings = load(main).settings
    address = read_address(settings.store_url)
    assert address.seeds == (("h1", 7000), ("h2", 6379), ("fd00::3", 7002))
    for host, port in (*address.seeds, ("node4.chu.example", 6379)):
        assert parse_url(address.server_url(host, port)) == {
            "host": host, "port": port, "username": "gate", "password": "p@ss/wörd",
            "connection_class": SSLConnection,
        }  # fmt: skip
    assert address.public == "clusters://h1:7000,h2,[fd00::3]:7002"
    assert "wörd" not in repr(settings) + repr(address)
    assert settings.store_replicas == 1


def test_passwords_of_servers_and_sentinels_are_kept_apart(tmp_path: Path) -> None:
    main = tmp_path / "ecluse.yaml"
    text = (CONFIGS / "working_sentinels.yml").read_text()
    main.write_text(text.replace("replicas: 2", "password_file: pw, sentinel_password_file: spw"))
    for name, password in (("pw", "p@ss/wörd"), ("spw", "s&nt=nel +1")):
        (tmp_path / name).write_text(password)
        (tmp_path / name).chmod(0o600)
    settings = load(main).settings
    address = read_address(settings.store_url)
    assert parse_url(address.server_url("fd00::7", 6380)) == {
        "host": "fd00::7", "port": 6380, "db": 2, "username": "gate", "password": "p@ss/wörd",
        "connection_class": SSLConnection,
    }  # fmt: skip
    assert [parse_url(url) for url in address.sentinel_urls()] == [
        {"host": host, "port": port, "password": "s&nt=nel +1", "connection_class": SSLConnection}
        for host, port in (("h1", 26379), ("h2", 26379), ("h3", 26380))
    ]
    named = read_address(settings.store_url.replace("?", "?sentinel_user=watch&", 1))
    assert parse_url(named.sentinel_urls()[1])["username"] == "watch"
    assert parse_url(named.server_url("h", 1))["username"] == "gate"
    assert address.public == "sentinels://h1:26379,h2,h3:26380/ecluse"
    assert "wörd" not in repr(settings) + repr(address)
    # Behind Sentinels a failover is to be expected: one replica confirms, unless another number is written.
    assert settings.store_replicas == 1
    assert load(CONFIGS / "working_sentinels.yml").settings.store_replicas == 2
    assert load(CONFIGS / "working_smallest.yml").settings.store_replicas == 0


def test_relative_names_are_looked_for_beside_the_file_they_stand_in(tmp_path: Path) -> None:
    text = (CONFIGS / "working_smallest.yml").read_text()
    main = tmp_path / "ecluse.yaml"
    main.write_text(text.replace("gateway:", "gateway:\n  state_dir: state\n  keys_dir: keys", 1))
    found = load(main).settings
    assert (found.state_dir, found.keys_dir) == (tmp_path / "state", tmp_path / "keys")
    assert found.audit_dir == tmp_path / "state" / "audit"
    assert found.pid_file == tmp_path / "state" / "ecluse.pid"


def test_each_node_has_a_name_and_knows_the_logs_of_the_others() -> None:
    found = load(CONFIGS / "working_several_nodes.yml").settings
    assert found.audit_node == "a"
    assert found.audit_dirs == (
        Path("/var/lib/ecluse/audit"),
        Path("/var/lib/ecluse/of-b"),
        CONFIGS / "of-c",
    )
    assert (found.keeper, found.retention_days) == (False, 3650)
    assert found.retention_reason == "hospital archives, art. R1112-7"


def test_one_node_writes_alone_and_keeps_a_year() -> None:
    found = load(CONFIGS / "working_smallest.yml").settings
    assert (found.audit_node, found.audit_dirs) == (None, (found.audit_dir,))
    assert (found.keeper, found.retention_days, found.retention_reason) == (True, 365, "")


def test_alerts_are_read() -> None:
    found = load(CONFIGS / "working_alerts.yml").settings.alerts
    assert (found.again_after_s, found.at_most_per_hour) == (600, 20)
    assert found.mail == MailSettings(
        "localhost", 25, "none", "a@chu.example", ("b@chu.example",), names=True
    )
    assert found.webhook == WebhookSettings("https://astreinte.chu.example/ecluse")
    assert found.syslog == SyslogSettings("tls", "siem.chu.example", 6514)
    assert load(CONFIGS / "working_smallest.yml").settings.alerts == AlertSettings()


def test_signals_are_read_with_what_is_left_out_as_it_is_by_default() -> None:
    found, usual = load(CONFIGS / "working_signals.yml").settings, Rules()
    assert not found.watcher
    rules = found.rules
    assert (rules.timezone, rules.ask_at, rules.lock_at, rules.settled_s) == (
        "Indian/Reunion",
        50,
        120,
        3_600,
    )
    assert rules.signals[Signal.ENUMERATION] == SignalRule(SignalMode.OBSERVE, 60)
    assert rules.signals[Signal.PACE] == SignalRule(SignalMode.ACT, 20)
    assert rules.signals[Signal.NEW_DEVICE] == SignalRule(SignalMode.ACT, 10, 43_200)
    assert rules.signals[Signal.UNUSUAL_HOURS] == SignalRule(SignalMode.OFF, 30)
    assert rules.signals[Signal.CANARY] == SignalRule(SignalMode.OBSERVE, 0, 0)
    assert (rules.walk_patients, rules.fast_ms, rules.paced_patients) == (12, 3_000, 20)
    assert (rules.known_logins, usual.known_logins) == (9, 8)
    assert load(CONFIGS / "working_smallest.yml").settings.rules == usual


_words = st.sampled_from(
    [
        "version",
        "gateway",
        "realms",
        "apps",
        "demo",
        "chu",
        "hosts",
        "login",
        "routes",
        "path",
        "kind",
        "record",
        "patients",
        "from",
        "json",
        "when",
        "query",
        "success",
        "status",
        "account",
        "upstream",
        "realm",
        "1",
        "true",
        "null",
        "0.5",
        "http://a",
        "/x/{id}",
        "$.a[",
        "(?<=",
        "page",
        "blocked",
    ]
)
_leaves = st.one_of(_words, st.text(max_size=8), st.integers().map(str), st.just("'"))
_trees = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: "[" + ", ".join(items) + "]"),
        st.lists(st.tuples(_words, inner), max_size=4).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"
        ),
    ),
    max_leaves=25,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.sampled_from(["", "version: 1\n", "version: 1\nrealms: {chu: {}}\n"]), key=_words, tree=_trees)
def test_loader_raises_nothing_but_faults_on_random_yaml(
    tmp_path: Path, head: str, key: str, tree: str
) -> None:
    file = tmp_path / "random.yaml"
    file.write_text(f"{head}{key}: {tree}\n", "utf-8", errors="replace")
    with pytest.raises(ConfigurationFaults) as caught:
        load(file)
    assert all(fault.line >= 1 and fault.what and fault.mend for fault in caught.value.faults)


_SMALLEST = (CONFIGS / "working_smallest.yml").read_text().splitlines(keepends=True)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=st.integers(0, len(_SMALLEST) - 1), tree=_trees)
def test_one_value_replaced_gives_a_policy_or_faults(tmp_path: Path, index: int, tree: str) -> None:
    lines = list(_SMALLEST)
    key, separator, _ = lines[index].partition(": ")
    lines[index] = f"{key}{separator or ': '}{tree}\n".replace(":\n: ", ": ")
    file = tmp_path / "changed.yaml"
    file.write_text("".join(lines), "utf-8", errors="replace")
    try:
        assert load(file).policy.policy_id
    except ConfigurationFaults as found:
        assert found.faults


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200))
def test_loader_raises_nothing_but_faults_on_random_bytes(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "random.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigurationFaults):
        load(file)
