"""Instructions of a piece of work, counted by valgrind's callgrind from inside the process that runs under it.

Valgrind knows a request by an instruction sequence that does nothing on a real processor (valgrind.h, x86-64):
``python -m`` starts as fast as valgrind lets it, and only the piece is counted. Virtual machines often offer no
counters of the processor; callgrind counts there all the same, and the same each time.
"""

import ctypes
import mmap
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# mov rax, rdi; xor edx, edx; rol rdi, 3; rol rdi, 13; rol rdi, 61; rol rdi, 51; xchg rbx, rbx; mov rax, rdx; ret
_ASK = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
_TOOL = ord("C") << 24 | ord("T") << 16
_ZERO, _DUMP_AT, _START, _STOP = (_TOOL + number for number in (1, 3, 4, 5))
_TRIGGER = re.compile(r"^desc: Trigger: Client Request: (.+)$", re.MULTILINE)
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


class Counter:
    """Counts what runs between ``start`` and ``stop``; does nothing to speak of outside valgrind."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._page.write(_ASK)
        place = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(place)

    def start(self) -> None:
        """Count from here."""
        self._ask(_START)
        self._ask(_ZERO)

    def stop(self, name: str) -> None:
        """Count no more, and keep the count under *name*."""
        kept = ctypes.create_string_buffer(name.encode("ascii"))
        self._ask(_DUMP_AT, ctypes.addressof(kept))
        self._ask(_STOP)

    def _ask(self, request: int, argument: int = 0) -> None:
        words = (ctypes.c_uint64 * 6)(request, argument)
        self._call(ctypes.addressof(words))


def missing() -> str | None:
    """Return what is missing to count here, None when nothing is."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "an x86-64 Linux"
    return None if shutil.which("valgrind") is not None else "valgrind (apt-get install valgrind)"


def count(arguments: Sequence[str], folder: Path) -> dict[str, int]:
    """Run ``python ARGUMENTS`` under callgrind and return the instructions of each named piece.

    Raises:
        subprocess.CalledProcessError: it failed; its words are in the error's ``stderr``.
    """
    out = folder / "callgrind.out"
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    environment = {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(Path.cwd()),
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    subprocess.run(
        [*valgrind, sys.executable, *arguments], env=environment, check=True, capture_output=True, timeout=300
    )
    found = {}
    for dump in folder.glob("callgrind.out.*"):
        text = dump.read_text("utf-8", "replace")
        named, totals = _TRIGGER.search(text), _TOTALS.search(text)
        if named is not None and totals is not None:
            found[named[1]] = int(totals[1])
    return found
