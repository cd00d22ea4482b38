"""The keeper beside the gateway takes its bound of memory and no more, whatever a segment weighs."""

import subprocess
import sys
from pathlib import Path

from gateway.audit.encoding import encode
from gateway.audit.manifest import read_manifest
from tests.unit.audit.archives import day_ms
from tests.unit.audit.logs import SALT, an_event, journal

CHILD = """
import sys
from pathlib import Path
from gateway.audit.keeper import keep
from tests.unit.audit.archives import day_ms
from tests.unit.audit.logs import KEY
done = keep(Path(sys.argv[1]), [KEY], day_ms(40))
assert not done.faults and done.segments == 1, done
# The peak of this program; getrusage would tell that of the process which began it, too.
(peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak.split()[1]) // 1024)
"""


def test_a_whole_segment_is_archived_in_less_than_300_mb(tmp_path: Path) -> None:
    log = journal(tmp_path / "gateway")
    log.open()
    while not log.is_full:
        log.commit(
            [
                encode(
                    an_event(
                        number,
                        at_ms=day_ms(0) + number,
                        account=f"user{number * 7919 % 9_000}",
                        # A page of fifty among five: the mean of a hospital's log, and ids that repeat.
                        patients=tuple(
                            f"k1:{(number * 31 + more * 7919) % 2_000_000:032x}"
                            for more in range(50 if number % 5 == 0 else 1)
                        ),
                    ),
                    seq=number,
                    salt=SALT,
                )
                for number in range(log.size, log.size + 500)
            ]
        )
    log.rotate()
    log.close()
    found = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) < 300
    assert sum(item.rows for item in read_manifest(tmp_path).events) == log.size
