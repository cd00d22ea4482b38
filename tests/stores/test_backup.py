"""Backup and restore of accounts, on every store: the same accounts, the same caps, no old session."""

import asyncio
import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pyrage
import pytest

from gateway.accounts.names import account_ref
from gateway.accounts.store import AccountStore, Labels
from gateway.audit.operator import OperatorLog
from gateway.audit.writer import AuditUnavailable
from gateway.backup import accounts
from gateway.backup.container import BackupRefused
from gateway.cli import main
from gateway.configuration import KeysRefused, init_keys
from gateway.limits.store import usage
from gateway.lookups import RevealQuestion, reveal
from gateway.valkey import dump, marker
from gateway.valkey.client import Store, StoreEmptied
from gateway.valkey.dump import Kept
from gateway.valkey.library import product_sources
from gateway.vocabulary.identity import AccountRef, NameMapping, Standing
from gateway.vocabulary.keys import KeyRing, Keys
from gateway.vocabulary.limits import Charge, Control, Limit, LimitSet
from tests.people import DR_MARTIN, NURSE_BEN
from tests.stores.conftest import emptied
from tests.stores.test_cli_store import CONFIG

SAFE, DEPUTY = (pyrage.x25519.Identity.generate() for _ in range(2))
TO = ("-r", str(SAFE.to_public()), "-r", str(DEPUTY.to_public()))
NAMES = KeyRing("names", "k", {"k": bytes(range(32))})
LIMITS = LimitSet("standard", (Limit(Control.PATIENTS_24H, 300), Limit(Control.ROWS_1H, 2_000)))
BINARY = bytes(range(248, 256))


def ref(login: str) -> AccountRef:
    return account_ref(login, "chu", NameMapping(), NAMES)


async def peopled(store: Store) -> None:
    """Two people, one of them enrolled, who opened patients."""
    people = AccountStore(store)
    for person in (DR_MARTIN, NURSE_BEN):
        await people.invite(
            ref(person.login), "0" * 64, 4_000_000_000_000, Labels("standard", display="Éloïse")
        )
    charge = Charge(opened=(BINARY, b"12345678"), rows=7)
    await reveal(store, RevealQuestion(ref(DR_MARTIN.login).id, None, LIMITS, charge))


async def test_any_key_comes_back_as_it_was(store: Store) -> None:
    everything = bytes(range(256))
    await store.execute("SET", "t:string", everything)
    await store.execute("SADD", "t:set", everything, "x")
    await store.execute("HSET", "t:hash", everything, everything, "empty", "")
    await store.execute("ZADD", "t:zset", "1789344000123", everything, "0.5", "x")
    await store.execute("PEXPIRE", "t:zset", 60_000)
    await store.execute("HSET", "t:long", *(str(number) for number in range(5_000)))
    keys = ["t:string", "t:set", "t:hash", "t:zset", "t:long", "t:absent"]
    kept = await dump.dump(store, keys)
    assert [one.key for one in kept] == keys[:-1]
    for one in kept:
        await store.execute("DEL", one.key)
    await store.execute("SET", "t:set", "in the way")
    await dump.restore(store, kept)
    again = await dump.dump(store, keys)
    assert [replace_ttl(one) for one in again] == [replace_ttl(one) for one in kept]
    assert {one.key for one in again if one.ttl_ms is not None} == {"t:zset"}


def replace_ttl(one: Kept) -> Kept:
    # A hash has no order of its own.
    pairs = sorted(zip(one.items[::2], one.items[1::2], strict=False)) if one.type == "hash" else one.items
    return Kept(one.key, one.type, None, list(map(str, pairs)))


async def test_a_type_that_is_not_ours_is_refused(store: Store) -> None:
    await store.execute("RPUSH", "t:list", "x")
    with pytest.raises(ValueError, match="another program"):
        await dump.dump(store, ["t:list"])


async def test_accounts_and_caps_come_back_and_old_sessions_do_not(store: Store, store_url: str) -> None:
    await peopled(store)
    before = await AccountStore(store).get(ref(DR_MARTIN.login).id)
    ids = await accounts.account_ids(store)
    content = await accounts.file_of(store, ids, with_caps=True)
    epoch = int(await store.execute("HGET", f"ecluse:{{{ids[0]}}}:account", "epoch"))
    await emptied(store_url)
    assert await accounts.load(store, accounts.parse("x", content.splitlines())) == 2
    with pytest.raises(StoreEmptied):
        await usage(store, ref(DR_MARTIN.login).id, LIMITS)
    assert await marker.adopt(store, store.store_id)
    assert before is not None
    found = await AccountStore(store).get(ref(DR_MARTIN.login).id)
    assert found == replace(before, epoch=epoch + 1)
    assert before.standing is Standing.INVITED
    used = await usage(store, ref(DR_MARTIN.login).id, LIMITS)
    assert [one.used_milli for one in used] == [2_000, 7_000]
    # The very same patient is not counted anew.
    await reveal(store, RevealQuestion(ref(DR_MARTIN.login).id, None, LIMITS, Charge(opened=(BINARY,))))
    assert (await usage(store, ref(DR_MARTIN.login).id, LIMITS))[0].used_milli == 2_000


@pytest.mark.parametrize(
    "one",
    [
        Kept("ecluse:store", "string", None, ["x"]),
        Kept("ecluse:{" + "0" * 32 + "}:session:x", "hash", None, ["a", "b"]),
        Kept("ecluse:{" + "0" * 32 + "}:account", "string", None, ["x"]),
        Kept("ecluse:{" + "0" * 32 + "}:account", "hash", None, ["x"]),
        Kept("ecluse:{" + "0" * 31 + "}:account", "hash", None, ["a", "b"]),
    ],
)
def test_a_key_that_is_no_accounts_is_refused(one: Kept) -> None:
    with pytest.raises(BackupRefused, match="line 1"):
        accounts.parse("x", [msgspec.json.encode(one)])


@dataclass(frozen=True)
class Ran:
    exit_code: int
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main(list(map(str, arguments)))
    return Ran(int(left.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture
def site(store_url: str, tmp_path: Path) -> Path:
    """A site with two accounts in its store."""
    asyncio.run(emptied(store_url))
    (tmp_path / "ecluse.yaml").write_text(CONFIG.format(directory=tmp_path, url=store_url), encoding="utf-8")
    init_keys(tmp_path / "keys")
    (tmp_path / "safe.txt").write_text(f"{SAFE}\n")

    async def people() -> None:
        opened = await Store.open(store_url, libraries=product_sources(), state_dir=tmp_path / "state")
        try:
            await peopled(opened)
        finally:
            await opened.close()

    asyncio.run(people())
    return tmp_path


def config(site: Path) -> tuple[str, Path]:
    return "--config", site / "ecluse.yaml"


def kinds(site: Path) -> list[str]:
    path = site / "audit" / "operator" / "0000000000.jsonl"
    return [json.loads(line)["kind"] for line in path.read_bytes().splitlines()] if path.exists() else []


def test_a_store_that_lost_everything_gets_its_accounts_and_serves(site: Path, store_url: str) -> None:
    made = run("backup", "-o", site / "backup.age", *TO, *config(site), "--reason", "nightly", "--json")
    assert made.exit_code == 0, made.stderr
    told = json.loads(made.stdout)
    assert (told["accounts"], told["parts"]) == (2, ["accounts", "config", "audit"])
    assert (site / "backup.age").stat().st_mode & 0o777 == 0o600
    asyncio.run(emptied(store_url))
    assert run("backup", "-o", site / "empty.age", *TO, *config(site)).exit_code == 1
    assert not list(site.glob("empty*"))

    restore = (
        "restore",
        site / "backup.age",
        "--identity",
        site / "safe.txt",
        "--reason",
        "lost",
        *config(site),
    )
    done = run(*restore, "--to", site / "out", "--only", "accounts", "--into-store", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["accounts_in_store"] == 2
    assert run("store", "status", *config(site)).exit_code == 0
    listed = json.loads(run("account", "list", "--json", *config(site)).stdout)
    assert len(listed) == 2
    assert kinds(site) == ["backup-made", "backup-restored"]

    again = run(*restore, "--to", site / "out2", "--only", "accounts", "--into-store")
    assert (again.exit_code, "knows 2 accounts already" in again.stderr) == (1, True)
    forced = run(*restore, "--to", site / "out2", "--only", "accounts", "--into-store", "--force")
    assert forced.exit_code == 0, forced.stderr


def test_other_keys_than_the_accounts_were_sealed_with_are_refused(site: Path, store_url: str) -> None:
    # The store remembers the keys from the first command that works with accounts.
    assert run("account", "list", *config(site)).exit_code == 0
    assert run("backup", "-o", site / "backup.age", *TO, *config(site)).exit_code == 0
    asyncio.run(emptied(store_url))
    (site / "keys").rename(site / "right")
    (site / "audit").rename(site / "old-audit")
    init_keys(site / "keys")
    done = run(
        "restore", site / "backup.age", "--identity", site / "safe.txt", "--reason", "x", *config(site),
        "--to", site / "out", "--only", "accounts", "--into-store",
    )  # fmt: skip
    assert done.exit_code == 1
    assert "other keys" in done.stderr


def backed_up(site: Path, *more: str) -> tuple[str | Path, ...]:
    """Back the site up and return the command that reads it back, without its folder."""
    # The first one begins the log that the second one holds.
    assert run("backup", "-o", site / "first.age", *TO, *config(site)).exit_code == 0
    made = run("backup", "-o", site / "backup.age", *TO, *config(site), *more)
    assert made.exit_code == 0, made.stderr
    return "restore", site / "backup.age", "--identity", site / "safe.txt", "--reason", "lost", *config(site)


async def as_anothers(store_url: str) -> None:
    """Empty the store and give it to another site."""
    await emptied(store_url)
    theirs = await Store.open(store_url, libraries=[], state_dir=None)
    try:
        assert await marker.adopt(theirs, "f" * 32, replace=True)
    finally:
        await theirs.close()


@pytest.mark.parametrize("why_not", ["not-empty", "anothers", "other-keys", "no-accounts-of-ours"])
def test_a_store_that_may_not_be_loaded_is_told_before_anything_takes_its_place(
    site: Path, store_url: str, why_not: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The store remembers the keys from the first command that works with accounts.
    assert run("account", "list", *config(site)).exit_code == 0
    restore = backed_up(site)
    match why_not:
        case "not-empty":
            said = "knows 2 accounts already"
        case "anothers":
            asyncio.run(as_anothers(store_url))
            said = "belongs to other gateways"
        case "other-keys":
            asyncio.run(emptied(store_url))
            (site / "keys").rename(site / "right")
            (site / "audit").rename(site / "old-audit")
            init_keys(site / "keys")
            said = "other keys"
        case _:
            asyncio.run(emptied(store_url))
            monkeypatch.setattr(accounts, "_OURS", re.compile("nothing"))
            said = "is no key of an account"
    (site / "out" / "accounts").mkdir(parents=True)
    (site / "out" / "accounts" / "mine").write_text("precious")
    recorded = kinds(site)
    force = () if why_not == "not-empty" else ("--force",)
    folder = site / ("out2" if why_not == "not-empty" else "out")
    done = run(*restore, "--to", folder, "--into-store", *force)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing was restored: " in done.stderr
    assert said in done.stderr
    assert not (site / "out2").exists() or list((site / "out2").iterdir()) == []
    assert [path.name for path in (site / "out").iterdir()] == ["accounts"]
    assert (site / "out" / "accounts" / "mine").read_text() == "precious"
    assert kinds(site) == recorded


def test_a_refusal_after_files_took_their_place_tells_what_is_there_and_how_to_go_on(
    site: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = backed_up(site)
    asyncio.run(emptied(store_url))
    (site / "out" / "config").mkdir(parents=True)
    (site / "out" / "config" / "ecluse.yaml").write_text("precious")

    async def too_late(*_: object, **__: object) -> bool:
        return False

    with monkeypatch.context() as patch:
        patch.setattr(marker, "adopt", too_late)
        done = run(*restore, "--to", site / "out", "--into-store", "--force")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing was restored" not in done.stderr
    assert "another gateway marked the store meanwhile" in done.stderr
    assert f"{site / 'out'} holds accounts, audit, config of the backup" in done.stderr
    assert "config.before-1" in done.stderr
    assert "some or all of the accounts may be in the store" in done.stderr
    assert (site / "out" / "config" / "ecluse.yaml").read_bytes() == (site / "ecluse.yaml").read_bytes()
    assert (site / "out" / "config.before-1" / "ecluse.yaml").read_text() == "precious"
    # What it says to do next does the rest.
    assert "--only accounts --into-store --force" in done.stderr
    again = run(*restore, "--to", site / "out", "--only", "accounts", "--into-store", "--force")
    assert again.exit_code == 0, again.stderr
    assert len(json.loads(run("account", "list", "--json", *config(site)).stdout)) == 2


def test_a_disk_that_fails_between_two_parts_tells_which_took_their_place(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = backed_up(site)
    (site / "out" / "config").mkdir(parents=True)
    really = Path.rename

    def rename(path: Path, to: Path) -> Path:
        if path.name == "config" and path.parent.name.startswith(".restoring-"):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return really(path, to)

    monkeypatch.setattr(Path, "rename", rename)
    done = run(*restore, "--to", site / "out", "--force")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{site / 'out'} holds accounts, audit of the backup, and not its config" in done.stderr
    assert "set aside there: config.before-1" in done.stderr
    assert "Input/output error" in done.stderr
    assert sorted(path.name for path in (site / "out").iterdir()) == ["accounts", "audit", "config.before-1"]


def test_restored_keys_that_cannot_be_used_are_told_before_anything_takes_its_place(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = backed_up(site, "--with-keys")

    def refused(_: Path) -> Keys:
        raise KeysRefused("sealing.json: not this")

    monkeypatch.setattr("gateway.cli.restore.load_keys", refused)
    done = run(*restore, "--to", site / "out")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing was restored: the restored keys cannot be used" in done.stderr
    assert list((site / "out").iterdir()) == []


def test_a_restored_log_that_takes_no_entry_is_told_with_what_is_there(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = backed_up(site, "--with-keys")[:-2]

    @contextmanager
    def full(*_: object, **__: object) -> Iterator[OperatorLog]:
        raise AuditUnavailable("the disk is full")
        yield

    monkeypatch.setattr("gateway.cli.restore.operator_log", full)
    done = run(*restore, "--config", site / "none.yaml", "--to", site / "out")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{site / 'out'} holds accounts, audit, config, keys of the backup" in done.stderr
    assert "not recorded" in done.stderr
    assert "the disk is full" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-r", "FIRST"), 2, "2 different ones"),
        (("-r", "FIRST", "-r", "FIRST"), 2, "2 different ones"),
        ((), 2, "0 recipients given"),
        (("-r", "FIRST", "-r", "age1nobody"), 2, "no age recipient"),
        (("-r", "FIRST", "-r", "SECRET"), 2, "secret key"),
        (("-r", "FIRST", "-r", "SECOND", "--verify"), 2, "belong together"),
        (("-r", "FIRST", "-r", "SECOND", "-o", "THERE"), 1, "there already"),
        (("-r", "FIRST", "-r", "SECOND", "-o", "IN-LOG"), 2, "inside the audit log"),
        (
            (
                "-r",
                "FIRST",
                "-r",
                "SECOND",
                "--without",
                "accounts",
                "--without",
                "config",
                "--without",
                "audit",
            ),
            2,
            "nothing to back up",
        ),
    ],
)
def test_a_backup_that_may_not_be_is_told_and_leaves_nothing(
    site: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (site / "there").write_text("precious")
    places = {
        "FIRST": str(SAFE.to_public()), "SECOND": str(DEPUTY.to_public()), "SECRET": str(SAFE),
        "THERE": site / "there", "IN-LOG": site / "audit" / "x.age",
    }  # fmt: skip
    given = [places.get(argument, argument) for argument in arguments]
    output = () if "-o" in arguments else ("-o", site / "new.age")
    found = run("backup", *output, *given, *config(site))
    assert (found.exit_code, said in found.stderr) == (code, True), found.stderr
    assert str(SAFE) not in found.stderr
    assert (site / "there").read_text() == "precious"
    assert not list(site.glob("*.age*"))
    assert kinds(site) == []


def test_verify_reads_it_back_and_a_recipients_file_will_do(site: Path) -> None:
    (site / "recipients").write_text(f"# safe\n{SAFE.to_public()}\n\n{DEPUTY.to_public()}\n")
    made = run(
        "backup", "-o", site / "b.age", "-R", site / "recipients", "--verify", "--identity", site / "safe.txt",
        "--with-keys", *config(site),
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    assert "found whole" in made.stdout


def test_without_a_place_in_the_log_there_is_no_backup(site: Path) -> None:
    (site / "audit").mkdir()
    (site / "audit" / "operator").write_bytes(b"")
    found = run("backup", "-o", site / "b.age", *TO, *config(site))
    assert found.exit_code == 2
    assert not list(site.glob("b.age*"))


_WRITING: list[str] | None = None


def _noted(event: str, arguments: tuple[object, ...]) -> None:
    if _WRITING is None or event != "open" or isinstance(arguments[0], int):
        return
    if isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        _WRITING.append(str(arguments[0]))


sys.addaudithook(_noted)


def test_nothing_is_written_before_it_is_encrypted(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """M06 Every file that the command opens for writing: the encrypted one, the log of commands, and no other."""
    written: list[str] = []
    monkeypatch.setattr(sys.modules[__name__], "_WRITING", written)
    made = run("backup", "-o", site / "b.age", *TO, "--with-keys", *config(site))
    monkeypatch.setattr(sys.modules[__name__], "_WRITING", None)
    assert made.exit_code == 0, made.stderr
    draft, log = f"{site}/.ecluse-", f"{site / 'audit' / 'operator'}/"
    assert any(path.startswith(draft) for path in written)
    assert [path for path in written if not path.startswith((log, draft))] == []
    assert DR_MARTIN.login.encode() not in (site / "b.age").read_bytes()
