"""``ecluse account`` as an operator types it, on a real store and with a real log."""

import asyncio
import csv
import errno
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from gateway.accounts.names import account_ref
from gateway.assembly.office import open_for_operator
from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.operator import operator_log
from gateway.audit.segments import Journal
from gateway.cli.account import account
from gateway.configuration import init_keys, load_keys
from gateway.demo.children import free_port
from gateway.sessions.store import Link
from gateway.vocabulary.identity import Stage
from tests.stores.conftest import emptied

CONFIG = """\
version: 1
gateway: {{listen: {{address: 127.0.0.1, port: 8443}}, state_dir: {dir}/state, keys_dir: {dir}/keys}}
store: {{url: "{url}"}}
audit: {{dir: {dir}/audit}}
realms:
  chu: {{}}
apps:
  demo:
    realm: chu
    hosts: [demo.chu.example]
    upstream: http://127.0.0.1:8000
    flow: before-login
    basic: login
    routes:
      - {{name: patient, kind: record, path: "/patients/{{id}}", patients: {{path: id}}}}
"""


class Desk:
    """An operator's desk: types commands, reads the log."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.config = directory / "ecluse.yaml"
        self.config.write_text(CONFIG.format(dir=directory, url=url), encoding="utf-8")
        init_keys(directory / "keys")

    def types(self, *words: str, config: str | None = None) -> Result:
        return CliRunner().invoke(
            account, [*words, "--config", config or str(self.config)], standalone_mode=False
        )

    def reads(self, *words: str) -> tuple[object, int]:
        done = self.types(*words, "--json")
        return json.loads(done.stdout), code_of(done)

    def events(self) -> list[dict[str, object]]:
        lines = [
            json.loads(line)
            for path in sorted((self.directory / "audit" / "operator").glob("*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        return [{name: line.get(name) for name in ("kind", "account", "reason")} for line in lines]


def code_of(done: Result) -> int:
    return done.return_value if done.exception is None else done.exit_code


@pytest.fixture
def desk(store_url: str, tmp_path: Path) -> Desk:
    asyncio.run(emptied(store_url))
    return Desk(tmp_path, store_url)


def test_a_life_at_the_desk(desk: Desk) -> None:
    rows, code = desk.reads("invite", "Dr.Martin", "ben", "--display", "x")
    assert isinstance(rows, list)
    assert code == 0
    assert [row["login"] for row in rows] == ["dr.martin", "ben"]
    assert all(len(row["code"]) == 19 for row in rows)
    rows, code = desk.reads("lock", "dr.martin", "--reason", "stolen")
    assert rows == [
        {
            "login": "dr.martin", "outcome": "done", "standing": "locked", "sessions_closed": 0, "known": "yes",
            "because": "named",
            "fault": None,
        }
    ]  # fmt: skip
    told, code = desk.reads("show", "DR.MARTIN")
    assert isinstance(told, dict)
    assert (told["standing"], told["locked_reason"], code) == ("locked", "stolen", 0)
    rows, _ = desk.reads("list", "--standing", "locked")
    assert isinstance(rows, list)
    assert [row["login"] for row in rows] == ["dr.martin"]
    refused = desk.types("invite", "dr.martin")
    assert code_of(refused) == 2
    assert "unlock it first" in refused.stderr
    assert desk.reads("unlock", "dr.martin", "ben", "--reason", "sorted out")[1] == 1
    assert desk.reads("reset", "dr.martin", "--reason", "telephone lost")[1] == 0
    assert desk.reads("retire", "dr.martin", "--reason", "left")[1] == 0
    assert desk.reads("reset", "dr.martin", "--reason", "again")[1] == 1
    assert desk.reads("sessions", "dr.martin") == ([], 0)
    assert desk.reads("sessions", "dr.martin", "--close-all", "--reason", "left") == ([], 1)
    assert [(event["kind"], event["account"], event["reason"]) for event in desk.events()] == [
        ("invited", "dr.martin", None),
        ("invited", "ben", None),
        ("account-locked", "dr.martin", "stolen"),
        ("account-unlocked", "dr.martin", "sorted out"),
        ("account-unlocked", "ben", "sorted out"),
        ("factor-reset", "dr.martin", "telephone lost"),
        ("account-locked", "dr.martin", "left"),
        ("factor-reset", "dr.martin", "again"),
    ]


def test_the_runbook_of_a_stolen_telephone(desk: Desk) -> None:
    # docs/operations.md: in any other order the person could not enrol again, or the thief still could log in.
    assert desk.reads("invite", "dr.martin")[1] == 0
    assert desk.reads("lock", "dr.martin", "--reason", "stolen")[1] == 0
    rows, _ = desk.reads("reset", "dr.martin", "--reason", "telephone lost")
    assert isinstance(rows, list)
    assert rows[0]["standing"] == "locked"
    assert desk.reads("unlock", "dr.martin", "--reason", "password changed")[1] == 0
    rows, code = desk.reads("invite", "dr.martin")
    assert isinstance(rows, list)
    assert (rows[0]["standing"], len(rows[0]["code"]), code) == ("invited", 19, 0)


def test_importing_a_list(desk: Desk) -> None:
    people = desk.directory / "people.csv"
    people.write_text(
        "login;class;establishment;display\ndr.martin;;590000001;Dr Martin\nben;;;\n", encoding="utf-8"
    )
    done = desk.types("import", str(people), "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert (code_of(done), [row["login"] for row in rows]) == (0, ["dr.martin", "ben"])
    again = desk.types("import", str(people), "--csv")
    assert next(csv.DictReader(io.StringIO(again.stdout)))["code"] != rows[0]["code"]
    # One locked account, one impossible name: nobody is invited, whatever the order.
    desk.types("lock", "ben", "--reason", "x")
    before = len(desk.events())
    refused = desk.types("import", str(people))
    assert (code_of(refused), "line 3: 'ben' is locked" in refused.stderr) == (2, True)
    people.write_text("login\nzoe\n\u0430lice\n", encoding="utf-8")
    assert code_of(desk.types("import", str(people))) == 2
    assert len(desk.events()) == before
    assert code_of(desk.types("show", "zoe")) == 1


@pytest.mark.parametrize("text", ["zoe\n\nDR.Martin\ndr.martin\n", "class;Login\nx;zoe\n;dr.martin\n"])
def test_containing_a_whole_list(desk: Desk, text: str) -> None:
    desk.reads("invite", "dr.martin")
    people = desk.directory / "stolen.txt"
    people.write_text(text, encoding="utf-8")
    done = desk.types("lock", "--file", str(people), "--reason", "September", "--json")
    rows = {row["login"]: (row["outcome"], row["standing"], row["known"]) for row in json.loads(done.stdout)}
    assert (code_of(done), rows) == (
        0,
        {"zoe": ("done", "locked", "no"), "dr.martin": ("done", "locked", "yes")},
    )
    assert "nobody had invited them, so look at the spelling: zoe" in done.stderr
    assert [(event["kind"], event["account"]) for event in desk.events()[1:]] == [
        ("account-locked", "zoe"),
        ("account-locked", "dr.martin"),
    ]


def test_one_impossible_login_keeps_no_other_open(desk: Desk) -> None:
    people = desk.directory / "stolen.txt"
    people.write_text("ben\ndr.m\u0430rtin\nlea\n", encoding="utf-8")
    rows, code = desk.reads("lock", "--from", str(people), "--reason", "September")
    assert isinstance(rows, list)
    assert (code, [row["outcome"] for row in rows]) == (1, ["done", "failed", "done"])
    assert "stolen.txt:2: " in rows[1]["fault"]
    assert "foreign-script" in rows[1]["fault"]
    assert [event["account"] for event in desk.events()] == ["ben", "lea"]


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("act", ["write_all", "open_file"], ids=["no-entry", "no-log"])
def test_containment_does_not_wait_for_the_log(desk: Desk, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    assert desk.reads("invite", "dr.martin")[1] == 0
    assert desk.reads("invite", "ben")[1] == 0
    before = desk.events()
    with monkeypatch.context() as full:
        full.setattr(files, act, _no_space)
        done = desk.types("lock", "dr.martin", "ben", "--reason", "stolen", "--json")
        assert code_of(done) == 2
        assert [row["outcome"] for row in json.loads(done.stdout)] == ["done-unrecorded"] * 2
        assert [row["standing"] for row in json.loads(done.stdout)] == ["locked"] * 2
        for login in ("dr.martin", "ben"):
            assert f"{login}: lock WAS DONE BUT IS NOT RECORDED" in done.stderr
        assert "No space left" in done.stderr
        # To look needs no log; to let in again does, and nothing of that is done without it.
        assert desk.reads("list", "--standing", "locked")[1] == 0
        assert code_of(desk.types("unlock", "dr.martin", "--reason", "sorted out")) == 2
        told, _ = desk.reads("show", "dr.martin")
        assert isinstance(told, dict)
        assert told["standing"] == "locked"
    assert [event for event in desk.events() if event["kind"] != "gap"] == before
    # The same command again records what stands.
    assert desk.reads("lock", "dr.martin", "ben", "--reason", "stolen")[1] == 0
    told_of = [event["account"] for event in desk.events() if event["kind"] == "account-locked"]
    assert told_of == ["dr.martin", "ben"]


def test_a_log_held_by_another_command_holds_no_lock_back(desk: Desk) -> None:
    assert desk.reads("invite", "dr.martin")[1] == 0
    keys = load_keys(desk.directory / "keys")
    with operator_log(desk.directory / "audit", LOG_NAME, keys.checkpoint):
        done = desk.types("lock", "dr.martin", "--reason", "stolen", "--json")
        assert code_of(done) == 2
        assert json.loads(done.stdout)[0]["outcome"] == "done-unrecorded"
        assert "another command is still running" in done.stderr
    told, _ = desk.reads("show", "dr.martin")
    assert isinstance(told, dict)
    assert told["standing"] == "locked"


def test_what_was_recorded_and_could_not_be_signed_is_answered_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.reads("invite", "dr.martin")[1] == 0
    with monkeypatch.context() as full:
        full.setattr(Journal, "close", _no_space)
        done = desk.types("lock", "dr.martin", "--reason", "stolen", "--json")
    assert (code_of(done), json.loads(done.stdout)[0]["outcome"]) == (0, "done")
    assert "not yet signed" in done.stderr
    assert desk.reads("unlock", "dr.martin", "--reason", "sorted out")[1] == 0
    assert [event["kind"] for event in desk.events()] == [
        "invited", "account-locked", "gap", "account-unlocked",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("lock", "--reason", "x"), "at least one LOGIN"),
        (("invite", "dr.m\u0430rtin"), "foreign-script"),
        (("invite", "x", "--class", "surgeon"), "class 'surgeon' is not one of realm 'chu'"),
        (("invite", "x", "--realm", "nowhere"), "one of chu"),
        (("sessions", "x", "--close-all"), "--reason"),
        (("lock", "dr.m\u0430rtin", "ben", "--reason", "x"), "foreign-script"),
        (("lock", "--file", "/nowhere.txt", "--reason", "x"), "No such file"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(desk: Desk, words: tuple[str, ...], said: str) -> None:
    done = desk.types(*words)
    assert code_of(done) == 2
    assert said in done.stderr
    assert desk.events() == []


def test_a_store_that_is_not_there_is_said(desk: Desk) -> None:
    text = desk.config.read_text(encoding="utf-8").replace("valkey.sock", "nothing.sock")
    desk.config.write_text(text, encoding="utf-8")
    done = desk.types("list")
    assert code_of(done) == 2
    assert done.stderr.startswith("ecluse: ")


@pytest.fixture
def by_port(store_url: str) -> Iterator[int]:
    """A TCP port of the store, as one with replicas has."""
    with redis.Redis(unix_socket_path=store_url.removeprefix("unix://")) as client:
        port = free_port()
        client.config_set("port", port)
        yield port
        client.config_set("port", 0)


def test_a_lock_that_no_replica_confirmed_may_have_been_done_and_that_is_said(
    desk: Desk, store_url: str, by_port: int
) -> None:
    """What is known is told: neither that it is done, nor that it is not; and the same command mends it."""
    desk.types("invite", "dr.martin")
    text = desk.config.read_text(encoding="utf-8")
    assert f'url: "{store_url}"' in text
    lonely = f'url: "redis://127.0.0.1:{by_port}", replicas: 1'
    desk.config.write_text(text.replace(f'url: "{store_url}"', lonely), "utf-8")
    words = ("lock", "dr.martin", "--reason", "stolen")
    done = desk.types(*words)
    assert code_of(done) == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "dr.martin" in line]
    assert line.startswith(
        "perhaps locked: dr.martin: it may have been done, and may not last; run the same command"
    )
    assert "fewer than 1 replicas confirmed" in line
    assert "not locked" not in done.stderr
    rows, code = desk.reads(*words)
    assert isinstance(rows, list)
    assert [(row["outcome"], row["known"]) for row in rows] == [("uncertain", "yes")]
    assert code == 1
    assert "account-locked" not in [each["kind"] for each in desk.events()]
    desk.config.write_text(text, "utf-8")
    # It was done, on the one server that there is; once nobody has to confirm it, the same command records it.
    rows, _ = desk.reads("list", "--standing", "locked")
    assert isinstance(rows, list)
    assert [each["login"] for each in rows] == ["dr.martin"]
    assert code_of(desk.types(*words)) == 0
    assert [each["kind"] for each in desk.events()][-1] == "account-locked"


async def _log_in(desk: Desk, logins: Sequence[str], device: str) -> None:
    async with open_for_operator(desk.config) as office:
        realm = office.policy.realms["chu"]
        for login in logins:
            ref = account_ref(login, realm.name, realm.mapping, office.keys.names)
            link = Link(device, 20, 604_800_000)
            await office.sessions.open(ref.id, "demo", Stage.FULL, realm.sessions, link=link)


def test_who_shared_a_device_is_locked_with_the_thief(desk: Desk) -> None:
    ten = [f"agent{number}" for number in range(10)]
    desk.types("invite", *ten, "ben", "zoe")
    thiefs, hers = "ab" * 8, "cd" * 8
    asyncio.run(_log_in(desk, ten, thiefs))
    asyncio.run(_log_in(desk, ["ben"], hers))
    before, code = desk.reads("lock", "agent3", "--cluster", "--dry-run", "--reason", "look first")
    assert isinstance(before, list)
    assert (code, {row["outcome"] for row in before}) == (0, {"would"})
    assert desk.reads("list", "--standing", "locked") == ([], 0)
    rows, code = desk.reads("lock", "agent3", "--cluster", "--reason", "one thief, ticket 4711")
    assert isinstance(rows, list)
    assert code == 0
    assert [row["login"] for row in rows] == ["agent3", *(name for name in ten if name != "agent3")]
    assert [row["because"] for row in rows] == ["named"] + ["cluster"] * 9
    assert all((row["outcome"], row["sessions_closed"]) == ("done", 1) for row in rows)
    told = [(one["account"], one["reason"]) for one in desk.events() if one["kind"] == "account-locked"]
    assert sorted(told) == [(name, "one thief, ticket 4711") for name in ten]
    rows, code = desk.reads("lock", "--device", hers, "--reason", "hers too")
    assert isinstance(rows, list)
    assert [(row["login"], row["because"]) for row in rows] == [("ben", "device")]
    zoe, _ = desk.reads("show", "zoe")
    assert isinstance(zoe, dict)
    assert zoe["standing"] == "invited"


def test_a_hundred_accounts_of_a_file_are_locked_together(desk: Desk, tmp_path: Path) -> None:
    names = [f"agent{number:03}" for number in range(150)]
    (tmp_path / "accounts.txt").write_text("\n".join(names))
    rows, code = desk.reads("lock", "--file", str(tmp_path / "accounts.txt"), "--reason", "ticket 4711")
    assert isinstance(rows, list)
    assert (code, [row["login"] for row in rows]) == (0, names)
    assert {(row["outcome"], row["standing"]) for row in rows} == {("done", "locked")}
    assert sum(one["kind"] == "account-locked" for one in desk.events()) == 150
