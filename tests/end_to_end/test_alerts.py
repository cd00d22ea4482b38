"""Alerts reach real peers: a mail server with STARTTLS and login, a web address over HTTPS, a collector over TCP."""

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.alerts import Kept, MailChannel, SyslogChannel, WebhookChannel
from gateway.alerts.channels import SIGNATURE, NotTaken, sign
from gateway.vocabulary.alerts import Alert
from tests.attacks.harness import Authority
from tests.people import DR_MARTIN

NAME = "localhost"
NOW_MS = 1_790_000_000_123
KEPT = Kept(
    "1f2e3d4c",
    Alert(
        "canary",
        "lock",
        "region",
        DR_MARTIN.login,
        NOW_MS,
        "Un dossier leurre a été ouvert.",
        "A decoy was opened.",
    ),
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def context_of(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.leaf(NAME))
    return context


def _line(file: Any) -> str:
    try:
        return str(file.readline().decode().rstrip("\r\n"))
    except OSError:
        return ""


class MailServer:
    """One connection of SMTP (RFC 5321): STARTTLS and AUTH are offered as asked."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.lines: list[str] = []
        self.login = ""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self.listener:
            connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(10)
            self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        file = connection.makefile("rwb")

        def say(text: str) -> None:
            file.write(text.encode() + b"\r\n")
            file.flush()

        say("220 mail")
        secured = False
        while line := _line(file):
            word = line.upper().split(" ")[0]
            if word in {"EHLO", "HELO"}:
                offer = "250 AUTH PLAIN" if secured or self.context is None else "250 STARTTLS"
                say(f"250-mail\r\n{offer}")
            elif word == "STARTTLS" and self.context is not None:
                say("220 go")
                file.close()
                try:
                    connection = self.context.wrap_socket(connection, server_side=True)
                except OSError:
                    return
                file, secured = connection.makefile("rwb"), True
            elif word == "AUTH":
                self.login = base64.b64decode(line.split(" ")[2]).decode()
                say("235 yes")
            elif word == "DATA":
                say("354 go")
                while (part := file.readline().decode()) != ".\r\n":
                    self.lines.append(part.rstrip("\r\n"))
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                break
            else:
                say("250 ok")
        file.close()
        connection.close()


def mail(server: MailServer, **changes: Any) -> MailChannel:
    values: dict[str, Any] = {
        "host": NAME, "port": server.port, "security": "starttls", "sender": "ecluse@grades.example",
        "recipients": ("ssi@grades.example",), "user": "ecluse", "password": "Roseau-9", **changes,
    }  # fmt: skip
    return MailChannel(**values)


def test_mail_goes_over_starttls_with_a_login(authority: Authority) -> None:
    server = MailServer(context_of(authority))
    mail(server, ca_file=authority.ca_file).send(KEPT, NOW_MS)
    server.thread.join(10)
    assert server.login == "\0ecluse\0Roseau-9"
    assert "Subject: [Ecluse] canary 1f2e3d4c" in server.lines
    assert "To: ssi@grades.example" in server.lines
    assert DR_MARTIN.login not in "\n".join(server.lines)


def test_no_password_goes_to_a_server_without_starttls_or_with_a_foreign_certificate(
    authority: Authority,
) -> None:
    plain = MailServer(None)
    with pytest.raises(Exception, match="STARTTLS"):
        mail(plain, ca_file=authority.ca_file).send(KEPT, NOW_MS)
    foreign = MailServer(context_of(authority))
    with pytest.raises(ssl.SSLCertVerificationError):
        mail(foreign).send(KEPT, NOW_MS)
    foreign.thread.join(10)
    plain.thread.join(10)
    assert plain.login == foreign.login == ""
    assert plain.lines == foreign.lines == []


@contextmanager
def web(context: ssl.SSLContext, status: int) -> Iterator[tuple[int, list[tuple[dict[str, str], bytes]]]]:
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1], got
    finally:
        server.shutdown()
        server.server_close()


def test_a_web_address_is_posted_a_signed_document_over_https(authority: Authority) -> None:
    with web(context_of(authority), 204) as (port, got):
        url = f"https://{NAME}:{port}/ecluse"
        WebhookChannel(url, "shared", authority.ca_file, names=True).send(KEPT, NOW_MS)
        ((headers, body),) = got
        assert headers[SIGNATURE] == sign("shared", NOW_MS // 1_000, body)
        document = json.loads(body)
        assert (document["rule"], document["done"], document["account"]) == (
            "canary",
            "lock",
            DR_MARTIN.login,
        )
        assert document["next"] == 'ecluse audit account dr.martin --from 24h --reason "alert 1f2e3d4c"'
        with pytest.raises(ssl.SSLCertVerificationError):
            WebhookChannel(url, "shared").send(KEPT, NOW_MS)
        assert len(got) == 1


@pytest.mark.parametrize("status", [302, 401, 500])
def test_only_an_answer_that_says_yes_is_one(authority: Authority, status: int) -> None:
    with web(context_of(authority), status) as (port, _), pytest.raises(NotTaken, match=str(status)):
        WebhookChannel(f"https://{NAME}:{port}/", None, authority.ca_file).send(KEPT, NOW_MS)


def test_a_collector_gets_one_message_of_rfc_5424() -> None:
    listener, got = socket.create_server(("127.0.0.1", 0)), bytearray()

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
        while part := connection.recv(4_096):
            got.extend(part)
        connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    SyslogChannel("tcp", "127.0.0.1", listener.getsockname()[1], "gw1").send(KEPT, NOW_MS)
    thread.join(10)
    length, _, message = got.decode().partition(" ")
    assert int(length) == len(message)
    assert message.startswith("<81>1 2026-09-21T")
    assert message.endswith(
        "gw1 ecluse - alert - canary id=1f2e3d4c A decoy was opened. The account is locked."
    )
