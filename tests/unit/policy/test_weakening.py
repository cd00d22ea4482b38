"""What changes in effect between two policies: every field has a direction, and requests tell what doors do."""

import itertools
import typing
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration import load
from gateway.policy.paths import PathTemplate
from gateway.policy.plain import NotPlain, identify, plain, restore, types_of
from gateway.policy.policy import Policy
from gateway.policy.weakening import Change, Effect, compare_policies, weakenings
from gateway.policy.weakening.changes import Field, Way, judged
from gateway.policy.weakening.table import TABLE, WHOLE

WEAKER, STRONGER, NEITHER = Effect.WEAKER, Effect.STRONGER, Effect.NEITHER
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("working_*.yml"))

BASE = """
version: 1
gateway: {trusted_proxies: [10.0.0.0/16], drain_s: 30}
pools: {device: {patients_1h: {hard: 100}}}
realms:
  chu:
    default_class: ward
    sessions: {idle_s: 1800, at_most: 2}
    failures: {free: 5}
    classes:
      ward: {patients_1h: {soft: 40, hard: 100}, rows_1h: {hard: 500, mode: observe}}
      offices: {patients_1h: {soft: 10, hard: 20}, break_glass: false}
    caps:
      - {name: nights, class: ward, hours: "21:00-07:00", patients_1h: {hard: 30}}
apps:
  demo:
    realm: chu
    hosts: [demo.chu.example]
    upstream: https://127.0.0.1:8000
    login_page: /login
    otherwise: page
    methods: [GET, HEAD, POST]
    login: [{name: form, path: /login, account: user, success: {status: 302}}]
    routes:
      - {name: login, kind: login, path: /login}
      - {name: logo, kind: public, path: /logo.png}
      - {name: patient, kind: record, path: "/patients/{id:int}", patients: {path: id}}
      - {name: list, kind: listing, path: /patients, patients: {json: "$[*].id", max_ids: 100}}
      - {name: admin, kind: blocked, path: /admin/*}
      - {name: news, kind: page, path: /news, inspect: true}
      - {name: view, kind: record, path: /view, when: {query: {id: {present: true}}}, patients: {query: id}}
"""


def compiled(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "ecluse.yaml"
    path.write_text(text, "utf-8")
    return load(path).policy


def changed(tmp_path: Path, *replacements: tuple[str, str]) -> tuple[Change, ...]:
    text = BASE
    for before, after in replacements:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return compare_policies(compiled(tmp_path, BASE), compiled(tmp_path, text))


def dataclasses_of(kind: Any) -> set[type]:
    """Return the dataclasses that *kind* is made of."""
    if kind is PathTemplate:
        return set()
    if isinstance(kind, type) and is_dataclass(kind):
        return {kind}.union(*(dataclasses_of(hint) for hint in types_of(kind).values()))
    return set().union(*(dataclasses_of(one) for one in typing.get_args(kind)))


def test_every_field_of_every_part_of_a_policy_has_a_direction_and_a_reason() -> None:
    parts = dataclasses_of(Policy) - WHOLE
    assert set(TABLE) == parts
    for part in parts:
        assert set(TABLE[part]) == {item.name for item in fields(part)}, part
        assert all(field.why for field in TABLE[part].values())


def test_what_is_judged_as_one_value_lies_in_fields_of_which_any_change_is_weaker() -> None:
    for part, table in TABLE.items():
        for name, hint in types_of(part).items():
            if WHOLE & {
                hint,
                *typing.get_args(hint),
                *itertools.chain(*map(typing.get_args, typing.get_args(hint))),
            }:
                assert table[name].way in (Way.UNKNOWN, Way.ELSEWHERE), (part, name)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_policy_comes_back_from_plain_values_and_does_what_it_did(file: Path) -> None:
    policy = load(file).policy
    again = restore(Policy, plain(policy))
    assert again == policy
    assert identify(again) == policy.policy_id
    assert compare_policies(policy, again) == ()


def test_what_was_no_policy_is_said() -> None:
    whole = plain(load(CONFIGS[0]).policy)
    for broken in ({**whole, "apps": 3}, {**whole, "odd": 1}, {**whole, "drain_s": "30"}, None):
        with pytest.raises(NotPlain):
            restore(Policy, broken)


@pytest.mark.parametrize("pair", pairwise(CONFIGS), ids=lambda pair: pair[0].stem)
def test_two_policies_that_differ_are_told_to_differ(pair: tuple[Path, Path]) -> None:
    old, new = (load(file).policy for file in pair)
    # Some configurations differ in what serves only, and have one policy.
    assert bool(compare_policies(old, new)) is (old.policy_id != new.policy_id)
    assert all(change.why and change.where for change in compare_policies(old, new))


@pytest.mark.parametrize(
    ("before", "after", "where", "effect"),
    [
        ("idle_s: 1800", "idle_s: 3600", "realms.chu.sessions.idle_s", WEAKER),
        ("idle_s: 1800", "idle_s: 900", "realms.chu.sessions.idle_s", STRONGER),
        ("at_most: 2", "at_most: 9", "realms.chu.sessions.at_most", WEAKER),
        ("free: 5", "free: 9", "realms.chu.budget.free", WEAKER),
        ("drain_s: 30", "drain_s: 20", "drain_s", NEITHER),
        ("[10.0.0.0/16]", "[10.0.0.0/8]", "trusted_proxies", WEAKER),
        ("[10.0.0.0/16]", "[10.0.1.0/24]", "trusted_proxies", STRONGER),
        ("[10.0.0.0/16]", "[10.0.0.0/16, 192.0.2.0/24]", "trusted_proxies", WEAKER),
        ("[10.0.0.0/16]", "[192.0.2.0/24]", "trusted_proxies", WEAKER),
        ("upstream: https:", "upstream: http:", "apps.demo.upstream.scheme", WEAKER),
        ("127.0.0.1:8000", "127.0.0.2:8000", "apps.demo.upstream.host", WEAKER),
        ("otherwise: page", "otherwise: blocked", "apps.demo.otherwise", STRONGER),
        ("[GET, HEAD, POST]", "[GET, HEAD, POST, PUT]", "apps.demo.methods", WEAKER),
        ("methods: [", "cookies: {neutral: [theme]}\n    methods: [", "apps.demo.neutral_cookies", WEAKER),
        ("methods: [", "strangers: show\n    methods: [", "apps.demo.strangers", WEAKER),
        ("{status: 302}", "{status: 303}", "apps.demo.logins.form.success", WEAKER),
        # Caps: what a rule comes to, not its text.
        ("hard: 100}, rows", "hard: 120}, rows", "realms.chu.classes.ward.patients-1h", WEAKER),
        ("soft: 40", "soft: 60", "realms.chu.classes.ward.patients-1h", WEAKER),
        ("soft: 40", "soft: 30", "realms.chu.classes.ward.patients-1h", STRONGER),
        ("mode: observe", "mode: enforce", "realms.chu.classes.ward.rows-1h", STRONGER),
        ("{hard: 30}", "{hard: 50}", "realms.chu.classes.ward.patients-1h", WEAKER),
        ('"21:00-07:00"', '"22:00-07:00"', "realms.chu.classes.ward.patients-1h", WEAKER),
        ('"21:00-07:00"', '"20:00-07:00"', "realms.chu.classes.ward.patients-1h", STRONGER),
        ("break_glass: false", "break_glass: true", "realms.chu.classes.offices.break_glass", WEAKER),
        ("default_class: ward", "default_class: offices", "realms.chu.default_class", NEITHER),
        ("default_class: ward", "default_class: heavy", "realms.chu.classes (any other).patients-24h", WEAKER),
        ("{device: {patients_1h: {hard: 100}}}", "{}", "pools.limits.device.device-patients-1h", WEAKER),
        ("{hard: 100}}}", "{hard: 90}}}", "pools.limits.device.device-patients-1h.hard", STRONGER),
        ("realms:\n", "posture: {caps_share: 0.75}\nrealms:\n", "measures.strict.caps_share_milli", WEAKER),
        # Doors: fields of one that is in both, and what becomes of requests.
        ("inspect: true", "inspect: false", "apps.demo.routes.news.inspect", WEAKER),
        ("max_ids: 100", "max_ids: 900", "apps.demo.routes.list.extraction.max_ids", WEAKER),
        ('kind: record, path: "/patients', 'kind: export, path: "/patients', "routes.patient.kind", WEAKER),
        ("/logo.png", "/img/*", "GET /img/1", WEAKER),
        ("kind: blocked, path: /admin/*", "kind: page, path: /admin/*", "apps.demo.routes.admin.kind", WEAKER),
        ("path: /admin/*", 'path: "/admin/{all}"', "GET /admin/x1/y2", WEAKER),
        ("path: /logo.png", 'path: "/{x:[a-z]+}.png"', "apps.demo.routes.logo", WEAKER),
        ("hosts: [demo.chu.example]", "hosts: [demo.chu.example, d.example]", "hosts.d.example", NEITHER),
    ],
)  # fmt: skip
def test_one_change(tmp_path: Path, before: str, after: str, where: str, effect: Effect) -> None:
    changes = changed(tmp_path, (before, after))
    found = [change for change in changes if where in change.where]
    assert effect in {change.effect for change in found}, changes
    if effect is not WEAKER and "default_class" not in where:
        assert not weakenings(changes)


PATIENT = '      - {name: patient, kind: record, path: "/patients/{id:int}", patients: {path: id}}\n'
ADMIN = "      - {name: admin, kind: blocked, path: /admin/*}\n"
FIRST = "    routes:\n"


@pytest.mark.parametrize(
    ("replacements", "told"),
    [
        # A record without its door is a page, which nobody counts.
        ([(PATIENT, "")], "GET /patients/1: record (patient) -> page (otherwise)"),
        ([(ADMIN, "")], "GET /admin/1: blocked (admin) -> page (otherwise)"),
        # A new door that stands before another one takes its requests, all or some.
        ([(FIRST, FIRST + '      - {name: a, kind: page, path: "/patients/{x}", methods: [GET]}\n')], "-> page (a)"),
        ([(FIRST, FIRST + "      - {name: help, kind: page, path: /admin/h/*}\n")], "blocked (admin) -> page (help)"),
        ([(FIRST, FIRST + '      - {name: ids, kind: page, path: /view, methods: [GET]}\n')], "-> page (ids)"),
        # The same one after it takes nothing, and weakens nothing.
        ([(PATIENT, PATIENT + '      - {name: all, kind: page, path: "/patients/{x}"}\n')], None),
        ([(FIRST, FIRST + "      - {name: secret, kind: blocked, path: /secret/*}\n")], None),
        ([("name: patient,", "name: dossier,")], None),
        # An open door over what nobody declared.
        ([(ADMIN, ADMIN + "      - {name: open, kind: public, path: /open/*}\n")], "page (otherwise) -> public (open)"),
        # Conditions that no request can be made for.
        (
            [(FIRST, FIRST + '      - {name: p, kind: page, path: /a, when: {query: {a: {matches: x+}}}}\n')],
            "shapes or conditions",
        ),
    ],
)  # fmt: skip
def test_what_becomes_of_requests(
    tmp_path: Path, replacements: list[tuple[str, str]], told: str | None
) -> None:
    found = changed(tmp_path, *replacements)
    assert found
    weaker = [str(change) for change in weakenings(found)]
    if told is None:
        assert not weaker
    else:
        assert any(told in line for line in weaker), found


def test_two_doors_that_change_places(tmp_path: Path) -> None:
    one = '      - {name: help, kind: page, path: "/help/{x}"}\n'
    other = '      - {name: papers, kind: blocked, path: "/{x}/papers"}\n'
    old = compiled(tmp_path, BASE.replace(FIRST, FIRST + other + one))
    new = compiled(tmp_path, BASE.replace(FIRST, FIRST + one + other))
    assert any("GET /help/papers" in change.where for change in weakenings(compare_policies(old, new)))
    assert not weakenings(compare_policies(new, old))


def test_another_application_and_another_realm(tmp_path: Path) -> None:
    old = compiled(tmp_path, BASE)
    more = BASE.replace("\napps:\n", "\n  other: {}\napps:\n") + BASE.partition("apps:\n")[2].replace(
        "  demo:", "  second:"
    ).replace("demo.chu.example", "second.chu.example")
    both = compiled(tmp_path, more)
    assert [change.where for change in weakenings(compare_policies(old, both))] == ["apps.second"]
    assert not weakenings(compare_policies(both, old))
    taken = compiled(
        tmp_path, more.replace("demo.chu.example", "x.example").replace("second.chu", "demo.chu")
    )
    assert any("hosts.demo.chu.example: demo -> second" in str(c) for c in compare_policies(old, taken))


MORE, LESS = Field(Way.WEAKENS, "why"), Field(Way.STRENGTHENS, "why")
RANKED = Field(Way.RANKED, "why", ranks={"low": 0, "odd": 0, "high": 1})


@pytest.mark.parametrize(
    ("field", "before", "after", "effect"),
    [
        (MORE, 1, 2, WEAKER),
        (MORE, 2, 1, STRONGER),
        (MORE, 1, None, WEAKER),
        (MORE, None, 1, STRONGER),
        (Field(Way.WEAKENS, "why", STRONGER), None, 1, WEAKER),
        (Field(Way.WEAKENS, "why", STRONGER), 1, None, STRONGER),
        (MORE, False, True, WEAKER),
        (LESS, False, True, STRONGER),
        (LESS, 1, 2, STRONGER),
        (LESS, 2, 1, WEAKER),
        (MORE, frozenset("a"), frozenset("ab"), WEAKER),
        (MORE, frozenset("ab"), frozenset("a"), STRONGER),
        (LESS, frozenset("ab"), frozenset("a"), WEAKER),
        # Some more and some less: nobody can tell.
        (MORE, frozenset("a"), frozenset("b"), WEAKER),
        (LESS, frozenset("a"), frozenset("b"), WEAKER),
        (MORE, (("a", 1), ("b", 2)), (("a", 1), ("b", 1)), STRONGER),
        (MORE, (("a", 1), ("b", 2)), (("a", 1),), WEAKER),
        (MORE, (("a", 1), ("b", 2)), (("a", 2), ("b", 1)), WEAKER),
        (RANKED, "low", "high", STRONGER),
        (RANKED, "high", "low", WEAKER),
        (RANKED, "low", "odd", WEAKER),
        (RANKED, "high", "never heard of", WEAKER),
        (Field(Way.UNKNOWN, "why"), 1, 2, WEAKER),
        (Field(Way.NEITHER, "why"), 1, 2, NEITHER),
    ],
)
def test_one_value(field: Field, before: object, after: object, effect: Effect) -> None:
    assert judged(before, after, field) is effect
