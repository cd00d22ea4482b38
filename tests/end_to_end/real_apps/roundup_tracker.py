"""Roundup, an issue tracker, with issues for patients: ``python -m tests.end_to_end.real_apps.roundup_tracker FOLDER``.

Makes a tracker from Roundup's classic template with Roundup's own tool, closes it to anonymous visitors as its
handbook tells, and serves it through its WSGI handler on a free port of loopback, which it prints.
"""

import re
import socketserver
import sys
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

ISSUES = 150
PASSWORD = "Cerfeuil-Gris-17"
USERS = tuple(f"agent{number:02d}" for number in range(1, 25))
HOST = "dossiers.grades.example"
SURNAMES = ("GALLIMARD", "HAUTECOEUR", "IMBERT", "JOUFFROY", "KERVELLA", "LAMOTHE")


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def make(home: Path) -> None:
    """Install and initialise the tracker, its people and its issues."""
    from roundup import configuration, instance
    from roundup.admin import AdminTool
    from roundup.password import Password

    def tool(*words: str) -> None:
        kept, sys.argv = sys.argv, ["roundup-admin", "-i", str(home), *words]
        try:
            if AdminTool().main():
                raise RuntimeError(f"roundup-admin {words[0]} failed")
        finally:
            sys.argv = kept

    tool("install", "classic", "sqlite")
    config = configuration.CoreConfig(str(home))
    config["PASSWORD_PBKDF2_DEFAULT_ROUNDS"] = "1000"
    config["TRACKER_WEB"] = f"http://{HOST}/"
    config["MAIL_DOMAIN"], config["MAIL_HOST"] = "grades.example", "localhost"
    config["MAIL_DEBUG"] = str(home / "mail.txt")
    config.save()
    schema = home / "schema.py"
    private = re.sub(
        r"for cl in [^\n]+:\n    db\.security\.addPermissionToRole\('Anonymous', 'View', cl\)\n",
        "",
        schema.read_text(),
    )
    schema.write_text(private)
    tool("initialise", PASSWORD)

    db = instance.open(str(home)).open("admin")
    try:
        for name in USERS:
            db.user.create(username=name, password=Password(PASSWORD, config=db.config), roles="User")
        note = db.msg.create(author="1", content="Rappeler la famille", summary="Rappeler")
        for number in range(1, ISSUES + 1):
            db.issue.create(
                title=f"{SURNAMES[number % len(SURNAMES)]}-{number:03d} Prénom{number}",
                priority=str(number % 5 + 1),
                status="1",
                messages=[note] if number == 1 else [],
            )
        db.commit()
    finally:
        db.close()


def main(folder: Path) -> None:
    """Serve until killed."""
    from roundup.cgi.wsgi_handler import RequestDispatcher

    home = folder / "tracker"
    make(home)
    server = _Server(("127.0.0.1", 0), _Quiet)
    server.set_app(RequestDispatcher(str(home)))
    print(f"port {server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
