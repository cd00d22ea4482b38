"""Time-stamps by an authority made with openssl, over HTTP; its certificate leads to a root of its own."""

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.audit.checkpoint import LOG_NAME, Checkpoint, sign, verifier_of
from gateway.audit.encoding import encode
from gateway.audit.segments import Journal
from gateway.audit.stamp import StampFails, StampUnavailable, check_stamp, stamp
from gateway.audit.witness_client import Undelivered
from gateway.cli import main
from gateway.configuration import init_keys, load_keys
from tests.unit.audit.logs import PRIVATE, SALT, SITE, an_event

CONFIGS = Path(__file__).parents[1] / "configs"
NOTE = sign(Checkpoint("site/gw", 7, b"\xab" * 32), SITE, PRIVATE)
SETTINGS = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[authority]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = it
[it]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = no
"""


class Authority:
    """A time-stamping authority in a folder: openssl makes root, certificate and every reply."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.place = place
        self.root = place / "root.pem"
        for name in ("root", "tsa"):
            (place / f"{name}.cnf").write_text(SETTINGS.format(name=name))
            self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        self.openssl(
            "req", "-x509", "-config", "root.cnf", "-extensions", "root", "-key", "root.key", "-days", "2",
            "-out", "root.pem",
        )  # fmt: skip
        self.openssl("req", "-new", "-config", "tsa.cnf", "-key", "tsa.key", "-out", "tsa.csr")
        self.openssl(
            "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-days", "2",
            "-set_serial", "7", "-extfile", "tsa.cnf", "-extensions", "authority", "-out", "tsa.pem",
        )  # fmt: skip
        (place / "serial").write_text("01\n")

    def openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.place, check=True, capture_output=True, timeout=60)

    def reply(self, query: bytes) -> bytes:
        (self.place / "query").write_bytes(query)
        self.openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply")
        return (self.place / "reply").read_bytes()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "tsa")


@pytest.fixture(scope="module")
def url(authority: Authority) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            answer = b"" if self.path == "/broken" else authority.reply(query)
            self.send_response(500 if self.path == "/broken" else 200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_a_stamp_holds_for_its_checkpoint_and_its_root_alone(
    authority: Authority, url: str, tmp_path: Path
) -> None:
    roots = authority.root.read_bytes()
    raw, said = await stamp(NOTE, f"{url}/tsa", roots)
    assert said.policy == "1.2.3.4.1"
    assert check_stamp(NOTE, raw, roots) == said
    # openssl itself reads it the same way.
    (authority.place / "note").write_bytes(NOTE)
    (authority.place / "stamp").write_bytes(raw)
    authority.openssl("ts", "-verify", "-data", "note", "-in", "stamp", "-CAfile", "root.pem")
    other = await asyncio.to_thread(Authority, tmp_path / "other")
    for note, stamped, trusted, failure in (
        (NOTE.replace(b"\n7\n", b"\n8\n"), raw, roots, StampFails),
        (NOTE, raw[:-9] + bytes(9), roots, StampFails),
        (NOTE, raw, other.root.read_bytes(), StampFails),
        (NOTE, b"junk", roots, StampFails),
        (NOTE, raw, b"junk", StampUnavailable),
    ):
        with pytest.raises(failure):
            check_stamp(note, stamped, trusted)
    with pytest.raises(Undelivered, match="answers 500"):
        await stamp(NOTE, f"{url}/broken", roots)
    with pytest.raises(StampFails):
        await stamp(NOTE, f"{url}/tsa", other.root.read_bytes())


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["audit", *map(str, arguments)])
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_stamped_log_shows_when_it_held_what(
    authority: Authority, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "ecluse.yaml"
    text = (CONFIGS / "working_smallest.yml").read_text()
    text = text.replace("gateway:", "gateway:\n  keys_dir: keys\n  state_dir: state", 1)
    config.write_text(text.replace("realms:", "audit: {dir: audit}\nrealms:", 1))
    init_keys(tmp_path / "keys")
    ring = load_keys(tmp_path / "keys").checkpoint
    key = verifier_of(LOG_NAME, ring.key()).text()
    path = tmp_path / "audit" / "gateway"

    def write(count: int, **values: object) -> None:
        log = Journal(path, LOG_NAME, ring, segment_bytes=1_000_000)
        log.open()
        for number in range(count):
            log.commit([encode(an_event(number, **values), seq=log.size, salt=SALT)])
        log.close()

    write(5)
    code, out, err = run(
        capsys, "stamp", "--url", url, "--roots", authority.root, "--config", config, "--json"
    )
    assert code == 0, err
    kept = Path(json.loads(out)["file"])
    assert kept == path / "stamps" / "0000000005.tsr"
    asked = ("verify", tmp_path / "audit", "--key", key, "--stamp", kept, "--roots", authority.root)
    write(3)
    code, out, err = run(capsys, *asked)
    assert code == 0, err
    assert "stamped" in out
    assert "holds the kept checkpoint of 5" in out
    # A proof by the stamped checkpoint is itself stamped.
    proof = tmp_path / "x.tlog-proof"
    made = (
        "prove",
        "gateway:2",
        "-o",
        proof,
        "--checkpoint",
        kept.with_suffix(".checkpoint"),
        "--reason",
        "x",
    )
    assert run(capsys, *made, "--config", config)[0] == 0
    stamped = ("verify", "--proof", proof, "--key", key, "--stamp", kept, "--roots", authority.root)
    code, out, err = run(capsys, *stamped)
    assert code == 0, err
    assert "stamped at 2" in out
    # A later proof is of another checkpoint: the stamp says nothing of it.
    assert run(capsys, "prove", "gateway:2", "-o", proof, "--reason", "x", "--config", config)[0] == 0
    code, out, _ = run(capsys, *stamped)
    assert code == 1
    assert "time-stamp does not hold" in out
    # A log written anew after the stamp no longer holds what was stamped.
    stamps = tmp_path / "stamps"
    shutil.move(path / "stamps", stamps)
    shutil.rmtree(path)
    write(8, account="somebody.else")
    code, out, _ = run(
        capsys, "verify", path, "--key", key, "--stamp", stamps / kept.name, "--roots", authority.root
    )
    assert code == 1
    assert "BROKEN" in out
    code, _, err = run(capsys, "verify", path, "--key", key, "--stamp", stamps / kept.name)
    assert (code, "belong together" in err) == (2, True)
