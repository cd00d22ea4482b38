"""Ten right passwords and no code: every door that ever let such people into an app, one after the other."""

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from gateway.demo.client import Answer, Client, Fields, log_in
from gateway.demo.office import REMEMBER_COOKIE, SESSION_COOKIE

JSON: Fields = (("Content-Type", "application/json"),)
FORM: Fields = (("Content-Type", "application/x-www-form-urlencoded"),)

PLACES = (
    "/dossiers/1001",
    "/dossiers",
    "/usagers?taille=200",
    "/recherche?q=m",
    "/export.csv",
    "/dossiers/1002/imprimer",
    "/api/dossiers?taille=200",
    "/api/dossiers/1003",
    "/administration",
)
"""Where the app keeps patients."""

ALIASES = (
    "//dossiers/1001",
    "/dossiers//1001",
    "/dossiers/1001/",
    "/dossiers/01001",
    "/dossiers/1_001",
    "/dossiers/1%30%301",
    "/DOSSIERS/1001",
    "/dossiers/1001;x=1",
    "/dossiers/1001%00",
    "/dossiers/1001.css",
    "/dossiers%2f1001",
    "/static/../dossiers/1001",
    "/static/%2e%2e/dossiers/1001",
    "/static/..%2fdossiers/1001",
    "/static/..%252fdossiers/1001",
    "/static\\..\\dossiers\\1001",
    "/connexion/../dossiers/1001",
    "/./dossiers/1001",
    "/dossiers/1001?x=/static/parcours.css",
    "/dossiers/1001#/static/parcours.css",
    "/static/parcours.css?dossier=1001",
    "/.ecluse/../dossiers/1001",
    "/api/./dossiers",
    "/api//dossiers",
    "/export.csv/",
)
"""The same places in other words."""

CLAIMS: tuple[Fields, ...] = (
    (("Range", "bytes=0-400"),),
    (("If-None-Match", '"x"'), ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")),
    (("Accept-Encoding", "gzip, br, zstd"),),
    (("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")),
    (("X-Forwarded-Host", "localhost"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Prefix", "/static")),
    (("X-Original-URL", "/static/parcours.css"), ("X-Rewrite-URL", "/static/parcours.css")),
    (("X-HTTP-Method-Override", "OPTIONS"), ("X-Method-Override", "OPTIONS")),
    (("X-Ecluse-Assertion", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJkLnJvdXNzZWF1In0."),),
    (("X_Ecluse_Assertion", "x"), ("Remote-User", "d.rousseau"), ("Auth-User", "d.rousseau")),
    (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")),
    (
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ),
    (("Connection", "Upgrade"), ("Upgrade", "parcours")),
    (("Connection", "cookie, x-ecluse-assertion"),),
    (("Accept", "application/json"), ("X-Requested-With", "XMLHttpRequest")),
    (("Sec-Fetch-Dest", "style"), ("Accept", "text/css")),
    (("Origin", "http://localhost"), ("Referer", "http://localhost/static/parcours.css")),
)
"""What a request may claim about itself."""

OWN_PAGES = (
    "",
    "code",
    "recovery",
    "invitation",
    "enrol",
    "start",
    "sessions",
    "logout",
    "welcome",
    "jwks.json",
    "metrics",
    "healthz",
    "..%2fdossiers%2f1001",
)
"""The gateway's own addresses, under its prefix."""

GUESSES = ("000000", "123456", "", "１２３４５６", "-1", "0" * 4_096)
"""Codes that thieves try."""


@dataclass
class Thief:
    """Somebody who holds one right *login* and *password*, and nothing else.

    *gate* is the port that everybody reaches; *inside* the app's own port, which the attackers reached from
    the hospital's network and where one app session was stolen. *guesses* are wrong codes to try. *doors*
    maps each door to its answers.
    """

    gate: int
    inside: int
    login: str
    password: str
    guesses: tuple[str, ...] = ()
    prefix: str = "/.ecluse/"
    doors: dict[str, list[Answer]] = field(default_factory=dict)
    _inside_cookies: dict[str, str] = field(default_factory=dict)

    async def try_everything(self) -> None:
        """Try every door; a door that fails to open must not keep the thief from the next."""
        await self._steal_app_session()
        for name, door in self._all_doors().items():
            client = Client(self.gate)
            try:
                await door(client)
            except (OSError, ValueError, EOFError):
                pass
            finally:
                self.doors[name] = [answer for _, _, answer in client.seen]
                await client.close()

    def _all_doors(self) -> dict[str, Callable[[Client], Awaitable[None]]]:
        return {
            "the app's own form, then every place": self._by_form,
            "wrong codes, and places while a code is owed": self._guessing,
            "login by address, JSON and other forms": self._by_other_logins,
            "the login's parameters twice": self._polluted,
            "HTTP Basic": self._by_basic,
            "the mobile app's token": self._by_token,
            "the remember-me cookie": self._by_remembering,
            "an app session from elsewhere": self._by_foreign_cookie,
            "other hosts": self._by_other_hosts,
            "other spellings": self._by_aliases,
            "what a request claims about itself": self._by_claims,
            "other methods": self._by_methods,
            "the gateway's own pages": self._by_own_pages,
            "requests inside requests": self._by_smuggling,
        }

    async def _steal_app_session(self) -> None:
        client = Client(self.inside)
        await log_in(client, self.login, self.password, None)
        await client.close()
        self._inside_cookies = {k: v for k, v in client.cookies.items() if k == SESSION_COOKIE}

    async def _look_around(self, client: Client, headers: Fields = ()) -> None:
        for place in PLACES:
            await client.request("GET", place, headers)

    async def _by_form(self, client: Client) -> None:
        await log_in(client, self.login, self.password, None)
        await self._look_around(client)
        await client.browse("GET", "/")

    async def _guessing(self, client: Client) -> None:
        page = await log_in(client, self.login, self.password, None)
        asked = page.form_with("code") or page.form_with("invitation")
        for guess in self.guesses:
            if asked is not None:
                name = "code" if "code" in asked.fields else "invitation"
                await client.post_form(asked.action, asked.fields | {name: guess})
            await client.request("GET", PLACES[0])
        # One cookie without the others must be worth nothing, whoever set it.
        for name, value in list(client.cookies.items()):
            client.cookies = {name: value}
            await self._look_around(client)

    async def _by_other_logins(self, client: Client) -> None:
        typed = {"identifiant": self.login, "mot_de_passe": self.password}
        query = urlencode(typed)
        as_json = json.dumps(typed).encode()
        multipart = b"".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in typed.items()
        )
        for method, target, headers, body in (
            ("GET", f"/connexion?{query}", (), None),
            ("GET", f"/connexion?{query}&souvenir=1", (), None),
            ("GET", f"/dossiers/1001?{query}", (), None),
            ("HEAD", f"/connexion?{query}", (), None),
            ("POST", f"/connexion?{query}", FORM, b""),
            ("POST", "/connexion", JSON, as_json),
            ("POST", "/connexion/", JSON, as_json),
            ("POST", "/CONNEXION", JSON, as_json),
            ("POST", "/connexion", (("Content-Type", "application/vnd.x+json"),), as_json),
            (
                "POST",
                "/connexion",
                (("Content-Type", "multipart/form-data; boundary=x"),),
                multipart + b"--x--",
            ),
            ("PUT", "/connexion", FORM, query.encode()),
            ("POST", "/", FORM, query.encode()),
        ):
            await client.request(method, target, headers, body)
            await self._look_around(client)

    async def _polluted(self, client: Client) -> None:
        mine = {"identifiant": "d.rousseau", "mot_de_passe": "faux"}
        form = (await client.request("GET", "/connexion")).form_with("mot_de_passe")
        token = {"jeton": form.fields.get("jeton", "")} if form else {}
        theirs = {"identifiant": self.login, "mot_de_passe": self.password}
        for target, body in (
            (f"/connexion?{urlencode(theirs)}", urlencode(mine | token)),
            ("/connexion", urlencode(mine | token) + "&" + urlencode(theirs)),
            ("/connexion", urlencode(theirs) + "&" + urlencode(mine | token)),
        ):
            await client.request("POST", target, FORM, body.encode())
            await self._look_around(client)

    async def _by_basic(self, client: Client) -> None:
        pair = base64.b64encode(f"{self.login}:{self.password}".encode()).decode()
        for name in ("Basic", "basic", "BASIC"):
            await self._look_around(client, (("Authorization", f"{name} {pair}"),))
        await log_in(client, self.login, self.password, None)
        await self._look_around(client, (("Authorization", f"Basic {pair}"),))

    async def _by_token(self, client: Client) -> None:
        typed = json.dumps({"identifiant": self.login, "mot_de_passe": self.password}).encode()
        answer = await client.request("POST", "/api/jeton", JSON, typed)
        inside = Client(self.inside)
        stolen = await inside.request("POST", "/api/jeton", JSON, typed)
        await inside.close()
        for told in (answer, stolen):
            if told.text.startswith("{") and "jeton" in told.text:
                token = str(json.loads(told.text)["jeton"])
                await self._look_around(client, (("Authorization", f"Bearer {token}"),))

    async def _by_remembering(self, client: Client) -> None:
        form = (await client.browse("GET", "/")).form_with("mot_de_passe")
        fields = form.fields if form else {}
        typed = {"identifiant": self.login, "mot_de_passe": self.password, "souvenir": "1"}
        await client.post_form("/connexion", fields | typed)
        client.cookies = {REMEMBER_COOKIE: client.cookies.get(REMEMBER_COOKIE, "")}
        await self._look_around(client)

    async def _by_foreign_cookie(self, client: Client) -> None:
        client.cookies = dict(self._inside_cookies)
        await self._look_around(client)
        # With the app's session in hand, the login page and a half-finished login are tried as a way in.
        await client.browse("GET", "/connexion")
        await log_in(client, self.login, self.password, None)
        client.cookies |= self._inside_cookies
        await self._look_around(client)

    async def _by_other_hosts(self, client: Client) -> None:
        client.cookies = dict(self._inside_cookies)
        gate, inside = self.gate, self.inside
        for host in (
            f"127.0.0.1:{gate}", f"127.0.0.1:{inside}", f"LOCALHOST:{gate}", f"localhost.:{gate}",
            "mitm.it", "parcours.exemple.example", f"[::1]:{gate}", f"localhost:{gate}@evil.example", "",
        ):  # fmt: skip
            for place in PLACES[:3]:
                await client.request("GET", place, (("Host", host),))
        for target in (
            f"http://127.0.0.1:{inside}/dossiers/1001", f"http://localhost:{gate}/dossiers/1001",
            "http://mitm.it/dossiers/1001", "https://localhost/dossiers/1001",
        ):  # fmt: skip
            await client.request("GET", target)
        await client.request("CONNECT", f"127.0.0.1:{inside}")

    async def _by_aliases(self, client: Client) -> None:
        for cookies in ({}, dict(self._inside_cookies)):
            client.cookies = cookies
            for alias in ALIASES:
                await client.request("GET", alias)

    async def _by_claims(self, client: Client) -> None:
        await log_in(client, self.login, self.password, None)
        client.cookies |= self._inside_cookies
        for claim in CLAIMS:
            for place in (PLACES[0], PLACES[6]):
                await client.request("GET", place, claim)

    async def _by_methods(self, client: Client) -> None:
        client.cookies = dict(self._inside_cookies)
        for method in (
            "HEAD",
            "POST",
            "PUT",
            "OPTIONS",
            "TRACE",
            "PROPFIND",
            "get",
            "PATCH",
            "DELETE",
            "FOO",
        ):
            for place in PLACES[:2]:
                await client.request(method, place, body=b"" if method in {"POST", "PUT", "PATCH"} else None)

    async def _by_own_pages(self, client: Client) -> None:
        await log_in(client, self.login, self.password, None)
        for page in OWN_PAGES:
            await client.request("GET", self.prefix + page)
            if not self.guesses:
                continue
            typed = {"code": "000000", "invitation": "AAAA-AAAA-AAAA-AAAA", "login": self.login, "token": "x"}
            await client.request("POST", self.prefix + page, FORM, urlencode(typed).encode())
        await self._look_around(client)

    async def _by_smuggling(self, client: Client) -> None:
        cookie = "; ".join(f"{name}={value}" for name, value in self._inside_cookies.items())
        host = f"Host: localhost:{self.gate}\r\n"
        inner = f"GET /dossiers/1001 HTTP/1.1\r\n{host}Cookie: {cookie}\r\n\r\n"
        for head in (
            f"Content-Length: {len(inner) + 5}\r\nTransfer-Encoding: chunked\r\n",
            f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n",
            f"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: {len(inner)}\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
        ):
            wire = f"POST /connexion HTTP/1.1\r\n{host}{head}\r\n0\r\n\r\n{inner}".encode()
            client.seen.append(("POST", "smuggled", await client.send(wire)))
            # Whatever was left over on the connection would answer the next request.
            await client.request("GET", "/static/parcours.css")
            await client.close()
