"""The configuration that the demo writes for itself, from the two files beside this one."""

from pathlib import Path

SYSTEM = "parcours"
"""The numbering of the demo's patients."""

REALM = "demo"
"""The directory of the demo's logins."""

_UNBOUNDED = """\
    classes:
      standard: &unbounded
        requests_10s: 100000000
        patients_10min: 1000000
        patients_1h: 1000000
        patients_24h: 1000000
        patients_7d: 1000000
        rows_1h: 1000000000
        bytes_1h: 1000000000000
        exports_24h: 1000000
        probes_1h: 1000000
        sightings_1h: 1000000
      heavy: *unbounded
"""


def write_configuration(directory: Path, port: int, upstream_port: int, *, unbounded: bool = False) -> Path:
    """Write ``ecluse.yaml`` and ``parcours.yaml`` into *directory* and return the first.

    The gateway will listen on loopback *port*, in front of an app on *upstream_port*. *unbounded* sets every
    limit so high that a load generator never meets it; each is still counted.
    """
    words = {
        "@PORT@": str(port),
        "@UPSTREAM_PORT@": str(upstream_port),
        "@DIRECTORY@": str(directory),
        "@CLASSES@": _UNBOUNDED if unbounded else "",
    }
    for name in ("ecluse.yaml", "parcours.yaml"):
        text = (Path(__file__).parent / name).read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        (directory / name).write_text(text, encoding="utf-8")
    return directory / "ecluse.yaml"
