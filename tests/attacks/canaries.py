"""Looking for a planted text in bytes, however it may have been dressed: spelled, encoded, packed, hashed or filed."""

import base64
import hashlib
import html
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import duckdb
import zstandard

_SHORTEST_IN_BASE64 = 9
_MOST_UNPACKED_BYTES = 50_000_000
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|\x28\xb5\x2f\xfd")


def dressed(text: str) -> set[bytes]:
    """Return the ways in which *text* may stand in a file, each long enough not to be there by chance."""
    plain = {text, text.lower(), text.upper(), text.replace("-", ""), text.replace(" ", "")}
    found = set[bytes]()
    for one in plain:
        raw = one.encode()
        found |= {
            raw,
            one.encode("utf-16-le"),
            one.encode("utf-16-be"),
            raw.hex().encode(),
            raw.hex().upper().encode(),
            quote(one, safe="").encode(),
            quote_plus(one).encode(),
            "".join(f"%{byte:02X}" for byte in raw).encode(),
            "".join(f"%{byte:02x}" for byte in raw).encode(),
            json.dumps(one).strip('"').encode(),
            html.escape(one).encode(),
            raw[::-1],
        }
        for name in ("md5", "sha1", "sha256", "sha512"):
            # A hash without key of a number that can be guessed is that number.
            digest = hashlib.new(name, raw).digest()
            found |= {digest, digest.hex().encode(), base64.b64encode(digest), base64.b64encode(digest[:16])}
        if len(raw) >= _SHORTEST_IN_BASE64:
            found |= set(_in_base64(raw))
    return found


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """Yield what is the same in base64 wherever *raw* stands among other bytes."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw)
        # Characters that also hold bits of the neighbours are left out at both ends.
        first = (before * 8 + 5) // 6
        last = (before + len(raw)) * 8 // 6
        core = encoded[first:last]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def unpacked(data: bytes) -> Iterator[bytes]:
    """Yield *data*, and what every gzip, zlib or zstd stream inside it unpacks to."""
    yield data
    for found in _PACKED.finditer(data):
        packed = data[found.start() :]
        try:
            if packed.startswith(b"\x28\xb5\x2f\xfd"):
                yield zstandard.ZstdDecompressor().decompressobj().decompress(packed)
            else:
                yield zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(packed, _MOST_UNPACKED_BYTES)
        except (zlib.error, zstandard.ZstdError):
            continue


def holds(data: bytes, spellings: set[bytes]) -> bool:
    """Tell whether *data*, or anything packed in it, holds one of *spellings*."""
    return any(spelling in content for content in unpacked(data) for spelling in spellings)


def columns(path: Path) -> dict[str, bytes]:
    """Return every value of every column of a Parquet file, as bytes, a line each."""
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.execute("select * from read_parquet(?)", [str(path)])
        names = [column[0] for column in engine.description or ()]
        rows = engine.fetchall()
    return {name: b"\n".join(_bytes_of([row[at] for row in rows])) for at, name in enumerate(names)}


def _bytes_of(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _bytes_of(pair)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _bytes_of(one)
    elif value is not None:
        yield str(value).encode()


def members(packed: bytes) -> dict[str, bytes]:
    """Return what each file of a tar under zstd holds, by name."""
    with (
        zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as plain,
        tarfile.open(fileobj=io.BytesIO(plain.read())) as tar,
    ):
        return {about.name: file.read() for about in tar if (file := tar.extractfile(about)) is not None}
