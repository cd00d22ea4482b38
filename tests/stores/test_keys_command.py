"""``ecluse keys`` on a store that holds second factors: rotated, sealed anew, dropped, and everybody still gets in."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyotp
import pytest

from gateway.accounts.names import account_ref
from gateway.accounts.sealing import seal, sealed_under
from gateway.accounts.verification import SEALED_FACTOR, Verified, verify_code
from gateway.assembly.office import Office, open_for_operator
from gateway.cli import main
from gateway.configuration import fingerprint, init_keys, load_keys
from gateway.policy.policy import FailureBudget
from tests.stores.conftest import emptied
from tests.stores.test_account_command import CONFIG

PEOPLE = ("dr.martin", "ben", "lea")


class Site:
    """A configuration, its keys, a store, and enrolled people."""

    def __init__(self, directory: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory, self.capsys = directory, capsys
        self.config = directory / "ecluse.yaml"
        self.config.write_text(CONFIG.format(dir=directory, url=url), encoding="utf-8")
        init_keys(directory / "keys")
        self.secrets = {login: pyotp.random_base32(32) for login in PEOPLE}

    def types(self, *words: str) -> tuple[int, str, str]:
        """Type ``ecluse keys``; return exit code, output and error output."""
        with pytest.raises(SystemExit) as leaving:
            main(["keys", *words, "--config", str(self.config)])
        said = self.capsys.readouterr()
        assert isinstance(leaving.value.code, int)
        return leaving.value.code, said.out, said.err

    def rotates(self, purpose: str, *words: str) -> str:
        code, out, err = self.types("rotate", purpose, "--reason", "yearly", "--json", *words)
        assert code == 0, err
        return str(json.loads(out)["kid"])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Office]:
        """Open the store as a gateway would that starts now."""
        async with open_for_operator(self.config) as office:
            yield office

    def id(self, office: Office, login: str) -> str:
        realm = office.policy.realms["chu"]
        return account_ref(login, realm.name, realm.mapping, office.keys.names).id

    async def enrol(self) -> None:
        async with self.open() as office:
            for login, secret in self.secrets.items():
                account = f"ecluse:{{{self.id(office, login)}}}:account"
                sealed = seal(
                    office.keys.sealing,
                    secret.encode(),
                    purpose=SEALED_FACTOR,
                    account_id=self.id(office, login),
                )
                fields = (
                    "state",
                    "active",
                    "login",
                    login,
                    "realm",
                    "chu",
                    "secret",
                    sealed,
                    "last_step",
                    "0",
                )
                await office.store.execute("HSET", account, *fields)
                await office.store.execute("SADD", "ecluse:accounts", self.id(office, login))

    async def gets_in(self, login: str) -> bool:
        async with self.open() as office:
            now_ms = office.clock.now_ms()
            found = await verify_code(
                office.accounts,
                office.keys.sealing,
                self.id(office, login),
                pyotp.TOTP(self.secrets[login]).at(now_ms // 1000),
                FailureBudget(),
                now_ms,
            )
            return isinstance(found, Verified)

    async def sealed_with(self) -> set[str]:
        async with self.open() as office:
            return {sealed_under(value) for value in (await office.accounts.sealed()).values()}

    def acts(self) -> list[str]:
        lines = [
            json.loads(line)
            for path in sorted((self.directory / "audit" / "operator").glob("*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        return [line["detail"]["act"] for line in lines if line["kind"] == "keys-made"]


@pytest.fixture
def site(store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    asyncio.run(emptied(store_url))
    made = Site(tmp_path, store_url, capsys)
    asyncio.run(made.enrol())
    return made


def test_the_year_of_a_sealing_key(site: Site) -> None:
    (old,) = load_keys(site.directory / "keys").sealing.keys
    before = fingerprint(load_keys(site.directory / "keys"))
    fresh = site.rotates("sealing")
    # What was sealed before still opens, and the store knows the ring again.
    assert asyncio.run(site.gets_in("dr.martin"))
    code, _, err = site.types("drop", "sealing", old, "--reason", "x")
    assert (code, "3 second factors are sealed with" in err) == (1, True)
    code, out, _ = site.types("reseal", "--reason", "yearly", "--json")
    assert (code, json.loads(out)) == (0, {"resealed": 3, "broken": []})
    assert asyncio.run(site.sealed_with()) == {fresh}
    code, out, _ = site.types("reseal", "--reason", "again", "--json")
    assert json.loads(out)["resealed"] == 0
    assert site.types("drop", "sealing", old, "--reason", "leaked")[0] == 0
    held = load_keys(site.directory / "keys")
    assert list(held.sealing.keys) == [fresh]
    assert fingerprint(held) == before
    assert asyncio.run(site.gets_in("ben"))
    assert site.acts() == ["rotate", "reseal", "drop"]


def test_a_key_is_known_everywhere_before_it_is_used(site: Site) -> None:
    ready = site.rotates("sealing", "--prepare")
    held = load_keys(site.directory / "keys").sealing
    assert (ready in held.keys, held.current) == (True, next(iter(held.keys)))
    code, _, err = site.types("rotate", "sealing", "--prepare", "--reason", "x")
    assert (code, ready in err) == (1, True)
    assert site.rotates("sealing") == ready
    assert load_keys(site.directory / "keys").sealing.current == ready
    assert site.rotates("sealing") != ready
    assert site.acts() == ["prepare", "rotate", "rotate"]


def test_a_factor_that_cannot_be_opened_is_named_and_left(site: Site) -> None:
    site.rotates("sealing")

    async def spoil() -> None:
        async with site.open() as office:
            account = f"ecluse:{{{site.id(office, 'lea')}}}:account"
            await office.store.execute("HSET", account, "secret", "v1.dead.AAAA.BBBB")

    asyncio.run(spoil())
    code, out, err = site.types("reseal", "--reason", "yearly", "--json")
    assert (code, json.loads(out)) == (1, {"resealed": 2, "broken": ["lea"]})
    assert "lea cannot be opened" in err
    assert asyncio.run(site.gets_in("ben"))


def test_a_factor_that_changed_meanwhile_is_left_as_it_is(site: Site) -> None:
    async def late() -> tuple[bool, str]:
        async with site.open() as office:
            account_id = site.id(office, "ben")
            before = (await office.accounts.sealed())[account_id]
            await office.accounts.reset(account_id)
            done = await office.accounts.reseal(account_id, before, "v1.x.y.z")
            return done, (await office.accounts.sealed()).get(account_id, "")

    assert asyncio.run(late()) == (False, "")


@pytest.mark.parametrize("purpose", ["session", "binding", "assertion"])
def test_other_rings_give_their_old_keys_up(site: Site, purpose: str) -> None:
    (old,) = getattr(load_keys(site.directory / "keys"), purpose).keys
    fresh = site.rotates(purpose)
    for kid, code in ((fresh, 1), ("nothing", 1), (old, 0)):
        assert site.types("drop", purpose, kid, "--reason", "x")[0] == code, kid
    assert list(getattr(load_keys(site.directory / "keys"), purpose).keys) == [fresh]
    assert asyncio.run(site.gets_in("dr.martin"))


@pytest.mark.parametrize(
    "words", [("rotate", "names"), ("drop", "pseudonyms", "x"), ("drop", "checkpoint", "x")]
)
def test_what_would_lose_people_or_evidence_is_no_choice(site: Site, words: tuple[str, ...]) -> None:
    assert site.types(*words, "--reason", "x")[0] == 2
    assert site.acts() == []


def test_a_new_checkpoint_key_signs_and_the_old_one_still_verifies(site: Site) -> None:
    site.rotates("checkpoint")
    site.rotates("session")
    with pytest.raises(SystemExit) as leaving:
        main(["audit", "verify", "--config", str(site.config)])
    assert leaving.value.code == 0, site.capsys.readouterr()
