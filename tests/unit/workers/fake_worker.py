"""A worker that only talks: ``python fake_worker.py FOLDER SEAT``. What it does stands in files of FOLDER.

``config``, or ``config.N`` for worker N, is its policy, and refused when it says ``bad``; ``exit`` is what it ends
with at once; from the moment that ``silent.N`` is there, worker N says nothing more.
"""

import json
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

FOLDER, SEAT = Path(sys.argv[1]), json.loads(sys.argv[2])
NUMBER = SEAT["number"]
POLICY = ""


def policy() -> str:
    """Return what the files say now."""
    own = FOLDER / f"config.{NUMBER}"
    return (own if own.exists() else FOLDER / "config").read_text("ascii")


def main() -> None:
    """Beat, and answer."""
    global POLICY  # noqa: PLW0603 - a script
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if (FOLDER / "exit").exists():
        sys.exit(int((FOLDER / "exit").read_text("ascii")))
    POLICY = policy()
    link = socket.socket(fileno=SEAT["link"])
    silent = FOLDER / f"silent.{NUMBER}"

    def say(**words: Any) -> None:
        if not silent.exists():
            link.sendall(json.dumps({"ready": True, "policy_id": POLICY, **words}).encode() + b"\n")

    def beat() -> None:
        while True:
            say(say="beat")
            time.sleep(0.05)

    threading.Thread(target=beat, daemon=True).start()
    for line in link.makefile("rb"):
        asked = json.loads(line)
        if asked["do"] == "leave":
            return
        now = policy()
        loaded = now != "bad"
        if asked["do"] == "reload" and loaded:
            POLICY = now
        shown = {"drain_s": 1, "memory_bytes": None} if loaded else {}
        told = now if loaded else POLICY
        say(
            say="answer",
            id=asked["id"],
            **shown,
            loaded=loaded,
            policy_id=told,
            faults=[] if loaded else ["bad"],
        )


main()
