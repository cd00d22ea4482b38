"""Looking for a planted text in bytes, however it may have been dressed: spelled, encoded, packed or hashed."""

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

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
