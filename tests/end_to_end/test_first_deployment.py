"""The ten steps of the README, walked as they are written: the commands, the samples, an app of one's own."""

import asyncio
import csv
import io
import json
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyotp
import pytest
from ruamel.yaml import YAML
from selectolax.lexbor import LexborHTMLParser

from gateway.cli import main
from tests.people import DR_MARTIN, NURSE_BEN, Person
from tests.stand import App, Browser, MiniApp, Said, Seen, form_token

ROOT = Path(__file__).parents[2]
HOST = "parcours.grades.example"
INVITATION = re.compile(r"[0-9A-Z]{4}(?:-[0-9A-Z]{4}){3}\Z")


class OwnApp(MiniApp):
    """An app that the sample profile for form logins fits: its paths, its fields, its cookie."""

    def __call__(self, seen: Seen) -> Said:
        user = self.sessions.get(seen.cookies.get("parcours_session", ""))
        if seen.path == "/connexion":
            form = seen.form if seen.method == "POST" else {}
            if not form or self.passwords.get(form.get("identifiant", "")) != form.get("mot_de_passe"):
                return Said(body="<form method=post><input type=password name=mot_de_passe></form>")
            self.counter += 1
            self.sessions[f"s{self.counter}"] = form["identifiant"]
            cookie = f"parcours_session=s{self.counter}; Path=/; HttpOnly"
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", cookie)))
        if user is None:
            return Said(302, headers=(("Location", "/connexion"),))
        if found := re.fullmatch(r"/dossiers/(\d+)", seen.path):
            return Said(body=f'<main data-dossier="{found[1]}">Patient{found[1]}</main>')
        return Said(body=f"<h1>Bonjour {user}</h1>")


@dataclass
class Bench:
    """A clean folder and the command line, as an operator has them."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "ecluse.yaml"

    async def types(self, *words: str) -> tuple[int, str]:
        """Type ``ecluse`` and *words*; return the exit code and what was said, errors too."""
        said = io.StringIO()

        def run() -> int:
            with redirect_stdout(said), redirect_stderr(said):
                try:
                    main(words)
                except SystemExit as leaving:
                    return leaving.code if isinstance(leaving.code, int) else 1
            return 0

        return await asyncio.to_thread(run), said.getvalue()

    def change(self, path: Path, change: Any) -> None:
        """Edit a YAML file by hand."""
        yaml = YAML()
        content = yaml.load(path)
        change(content)
        with path.open("w") as file:
            yaml.dump(content, file)

    @asynccontextmanager
    async def serves(self) -> AsyncIterator[int]:
        """Start the gateway as the unit does, and stop it with SIGTERM; give its port."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve", "--config", str(self.config)),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            port = 0
            async with asyncio.timeout(20):
                while not port and (line := await process.stderr.readline()):
                    said = json.loads(line) if line.startswith(b"{") else {}
                    port = int(said.get("port", 0)) if said.get("event") == "gateway_ready" else 0
            assert port, "the gateway did not start"
            yield port
            process.terminate()
            async with asyncio.timeout(20):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def password(browser: Browser, person: Person) -> None:
    """Log in with the password alone, as the sample's form does."""
    await browser.get("/connexion")
    got = await browser.post("/connexion", {"identifiant": person.login, "mot_de_passe": person.password})
    assert got.status == 303, got.text[:300]


async def test_the_ten_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    monkeypatch.setenv("ECLUSE_CONFIG", str(bench.config))
    async with App(OwnApp()) as app:
        # 2. Make the keys.
        code, said = await bench.types("keys", "init", "--dir", str(tmp_path / "keys"))
        assert code == 0, said
        # 3. Copy the sample and one profile. 6. Start with caps that only observe.
        (tmp_path / "apps").mkdir()
        (tmp_path / "ecluse.yaml").write_text((ROOT / "config/ecluse.yaml").read_text("utf-8"), "utf-8")
        (tmp_path / "apps/form.yaml").write_text((ROOT / "config/apps/form.yaml").read_text("utf-8"), "utf-8")

        def own_places(config: Any) -> None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                config["gateway"]["metrics"]["port"] = probe.getsockname()[1]
            config["gateway"]["listen"]["port"] = 0
            config["gateway"].update(state_dir=str(tmp_path / "state"), keys_dir=str(tmp_path / "keys"))
            config["audit"]["dir"] = str(tmp_path / "state/audit")
            realm = config["realms"]["territoire"]
            realm["default_class"] = "trial"
            realm["quarantine_s"] = 0
            realm["classes"]["trial"] |= {"patients_10min": 3, "soft_share": 1}

        bench.change(bench.config, own_places)
        # 4 and 5. The profile says how this app logs people in, and its doors; one fault is told with its place.
        bench.change(tmp_path / "apps/form.yaml", lambda one: one.update(upstreem="http://127.0.0.1:1"))
        code, said = await bench.types("config", "check")
        assert code == 2
        assert re.search(r"form\.yaml:\d+", said), said
        assert "upstream" in said

        def own_app(one: Any) -> None:
            del one["upstreem"]
            one["upstream"] = f"http://127.0.0.1:{app.port}"

        bench.change(tmp_path / "apps/form.yaml", own_app)
        # 7. Check, and ask which rule holds.
        code, said = await bench.types("config", "check")
        assert code == 0, said
        code, said = await bench.types(
            "config", "explain", "GET", f"https://{HOST}/dossiers/12", "--as", DR_MARTIN.login
        )
        assert (code, "file" in said) == (0, True), said
        # 8. Invite people.
        people = tmp_path / "people.csv"
        people.write_text(f"login,class\n{DR_MARTIN.login},\n{NURSE_BEN.login},ward\n", "utf-8")
        code, said = await bench.types("account", "import", str(people), "--csv")
        assert code == 0, said
        invitations = {row["login"]: row["code"] for row in csv.DictReader(io.StringIO(said))}
        assert all(INVITATION.match(each) for each in invitations.values())
        # 9. Put it in the way.
        async with bench.serves() as port:
            browser = Browser(port, HOST)
            await password(browser, DR_MARTIN)
            before = len(app.bytes)
            assert (await browser.get("/dossiers/12")).header("location") == "/.ecluse/invitation"
            assert len(app.bytes) == before
            page = await browser.get("/.ecluse/invitation")
            form = {"invitation": invitations[DR_MARTIN.login], "token": form_token(page)}
            assert (await browser.post("/.ecluse/invitation", form)).header("location") == "/.ecluse/enrol"
            page = await browser.get("/.ecluse/enrol")
            shown = LexborHTMLParser(page.text).css_first(".secret code")
            assert shown is not None
            secret = re.sub(r"\s", "", shown.text())
            form = {"code": pyotp.TOTP(secret).now(), "token": form_token(page)}
            assert (await browser.post("/.ecluse/enrol", form)).status == 200
            await browser.get("/.ecluse/continue")
            # The cap of three only observes; nobody is held up.
            for number in range(1, 6):
                assert f"Patient{number}" in (await browser.get(f"/dossiers/{number}")).text
            code, said = await bench.types(
                "audit",
                "query",
                "--account",
                DR_MARTIN.login,
                "--kind",
                "would",
                "--json",
                "--reason",
                "trial",
            )
            assert code == 0, said
            assert "patients-10min" in said
            # 10. Enforce.
            bench.change(
                bench.config, lambda c: c["realms"]["territoire"]["classes"]["trial"].update(mode="enforce")
            )
            code, said = await bench.types("config", "reload")
            assert code == 0, said
            assert (await browser.get("/dossiers/99")).status == 429
            await browser.close()
        code, said = await bench.types("audit", "verify")
        assert code == 0, said


@pytest.mark.parametrize("name", ["/opt/ecluse/bin/ecluse", "requirements.lock", "config/nginx/ecluse.conf"])
def test_the_steps_are_the_readmes(name: str) -> None:
    steps = (ROOT / "README.md").read_text("utf-8").partition("in ten steps")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\d+\. \*\*", steps, re.MULTILINE)) == 10
    assert name in steps
