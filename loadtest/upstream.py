"""A raw asyncio app that is never the slow part: ``python -m loadtest.upstream PORT``.

It speaks the login of the demo app and answers everything under /api/ with the same two patients.
"""

import asyncio
import sys

RECORDS = (
    b'{"dossiers":[{"id":1001,"nom":"Morel","prenom":"Antoinette","age":87},'
    b'{"id":1002,"nom":"Barbe","prenom":"Lucien","age":91}],"page":1,"total":2}'
)
"""The two patients, in the demo's JSON."""

_FORM = (
    b'<!doctype html><title>x</title><form method="post" action="/connexion">'
    b'<input type="hidden" name="jeton" value="x"><input name="identifiant">'
    b'<input name="mot_de_passe" type="password"></form>'
)


def _message(status: bytes, kind: bytes, body: bytes, extra: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n"
    return head % (status, kind, len(body), extra) + body


_ANSWER_RECORDS = _message(b"200 OK", b"application/json", RECORDS)
_ANSWER_FORM = _message(b"200 OK", b"text/html; charset=utf-8", _FORM)
_ANSWER_HOME = _message(
    b"200 OK", b"text/html; charset=utf-8", b"<!doctype html><title>x</title><h1>Bonjour</h1>"
)


class App(asyncio.Protocol):
    """One connection, kept; requests are answered in their order."""

    logins = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer every whole request that has arrived."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = 0
            at = head.lower().find(b"\r\ncontent-length:")
            if at >= 0:
                length = int(head[at + 17 :].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._write(self._answer(head))

    def _write(self, content: bytes) -> None:
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(content)

    def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"GET /api/"):
            return _ANSWER_RECORDS
        if head.startswith(b"POST /connexion"):
            App.logins += 1
            cookie = b"Location: /\r\nSet-Cookie: parcours_session=s%d; HttpOnly; Path=/\r\n" % App.logins
            return _message(b"302 Found", b"text/plain", b"", cookie)
        return _ANSWER_FORM if head.startswith(b"GET /connexion") else _ANSWER_HOME


async def serve(port: int) -> None:
    """Serve on loopback *port* until killed."""
    server = await asyncio.get_running_loop().create_server(App, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
