"""The app behind the gateways: ``python -m loadtest.endurance.app PORT``. It keeps no body, sent or received."""

import asyncio
import hashlib
import secrets
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

from loadtest.endurance import content
from loadtest.endurance.content import Asked

COOKIE = "parcours_session"
MOST_UPLOAD_BYTES = 8_000_000_000
_visits: dict[str, str] = {}


def password_of(login: str) -> str:
    """Return the one password of *login*: what the app's people have is nobody's secret."""
    return f"Ecluse-{login}-Nord"


class Handler(RequestHandler):
    """What every address has: who asks, and a page's type."""

    def asked(self) -> Asked | None:
        """Return who asks; None after a stranger was sent to the login."""
        login = _visits.get(self.get_cookie(COOKIE) or "")
        if login is None:
            self.redirect("/connexion", status=302)
            return None
        return Asked(login, self.get_query_argument("n", ""))

    def show(self, text: str, kind: str = "text/html; charset=utf-8") -> None:
        """Answer with *text*."""
        self.set_header("Content-Type", kind)
        self.finish(text)

    def compute_etag(self) -> str | None:
        """Have no validator: every answer is whole."""
        return None


class Login(Handler):
    """The form, and who is let in by it."""

    def get(self) -> None:
        self.show(content.LOGIN_PAGE)

    def post(self) -> None:
        login = self.get_body_argument("identifiant", "")
        if self.get_body_argument("mot_de_passe", "") != password_of(login):
            self.show(content.wrong_password())
            return
        fresh = secrets.token_urlsafe(24)
        _visits[fresh] = login
        self.set_cookie(COOKIE, fresh, httponly=True, path="/")
        self.redirect("/", status=302)


class Logout(Handler):
    """The way out."""

    def post(self) -> None:
        _visits.pop(self.get_cookie(COOKIE) or "", None)
        self.clear_cookie(COOKIE, path="/")
        self.redirect("/connexion", status=302)


class Home(Handler):
    """The first page, and the help page."""

    def get(self) -> None:
        if (asked := self.asked()) is not None:
            self.show(content.home(asked))


class Record(Handler):
    """One patient."""

    def initialize(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def get(self, number: str) -> None:
        if (asked := self.asked()) is None:
            return
        if not content.exists(int(number)):
            self.set_status(404)
            self.show(content.ABSENT)
        elif self.as_json:
            self.show(content.record_json(asked, int(number)), "application/json")
        else:
            self.show(content.record_html(asked, int(number)))


class Listing(Handler):
    """Several patients: by page or by search, as a page, for programs, or as a file."""

    def initialize(self, *, form: str) -> None:
        self.form = form

    def get(self) -> None:
        if (asked := self.asked()) is None:
            return
        words = self.get_query_argument("q", None)
        rows = int(self.get_query_argument("taille", str(content.MOST_ROWS)))
        page = int(self.get_query_argument("page", "1"))
        shown = content.found_by(words) if words is not None else content.page_of(page, rows)
        if self.form == "json":
            self.show(content.list_json(asked, shown), "application/json")
        elif self.form == "csv":
            self.show(content.export_csv(asked, shown), "text/csv; charset=utf-8")
        else:
            self.show(content.list_html(asked, shown))


class Piece(Handler):
    """A file of any size: a public one, or one that is made for who asks."""

    def initialize(self, *, public: bool) -> None:
        self.public = public

    async def get(self, size: str) -> None:
        seed = size
        if not self.public:
            if (asked := self.asked()) is None:
                return
            seed = asked.words
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", size)
        for block in content.blocks(seed, int(size)):
            self.write(block)
            await self.flush()
        await self.finish()


@stream_request_body
class Upload(Handler):
    """Takes a file of any size, and tells its length and its digest."""

    def prepare(self) -> None:
        self.request.connection.set_max_body_size(MOST_UPLOAD_BYTES)  # type: ignore[union-attr]
        self.size, self.digest = 0, hashlib.sha256()

    def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.digest.update(chunk)

    def post(self) -> None:
        if (asked := self.asked()) is not None:
            self.show(content.receipt(asked, self.size, self.digest.hexdigest()), "application/json")


class Wire(WebSocketHandler):
    """Says back what it is told, and to whom."""

    def open(self, *_args: str, **_kwargs: str) -> None:
        self.login = _visits.get(self.get_cookie(COOKIE) or "")
        if self.login is None:
            self.close()

    def on_message(self, message: str | bytes) -> None:
        self.write_message(Asked(self.login or "", str(message)).words)


def make() -> Application:
    """Return every address."""
    return Application(
        [
            (r"/connexion", Login),
            (r"/deconnexion", Logout),
            (r"(?:/|/aide)", Home),
            (r"/dossiers/(\d+)", Record, {"as_json": False}),
            (r"/api/dossiers/(\d+)", Record, {"as_json": True}),
            (r"(?:/usagers|/recherche)", Listing, {"form": "html"}),
            (r"/api/dossiers", Listing, {"form": "json"}),
            (r"/export\.csv", Listing, {"form": "csv"}),
            (r"/static/(\d+)", Piece, {"public": True}),
            (r"/pieces/(\d+)", Piece, {"public": False}),
            (r"/envois", Upload),
            (r"/fil", Wire),
        ]
    )


async def serve(port: int) -> None:
    """Serve on loopback *port* until the process ends."""
    server = HTTPServer(make(), max_buffer_size=1_000_000, idle_connection_timeout=3_600)
    server.add_sockets(bind_sockets(port, "127.0.0.1", backlog=1_024))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
