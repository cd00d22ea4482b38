"""HTTP Basic credentials (RFC 7617): the user name, never the password."""

import base64
import binascii
from dataclasses import dataclass

from gateway.vocabulary.messages import RequestFacts

MAX_USER = 256


@dataclass(frozen=True, slots=True)
class BasicMalformed:
    """Authorization claims Basic, or stands several times, and servers would not agree on its user."""


def user(request: RequestFacts) -> str | BasicMalformed | None:
    """Return the user name of HTTP Basic credentials, None when the request carries none.

    UTF-8, then Latin-1 (RFC 7617, 2.1 leaves the charset to the server). Several Authorization
    headers, bad base64, a missing colon, control characters, an empty name: BasicMalformed.
    """
    values = request.header_values("authorization")
    if not values:
        return None
    schemes = [value.strip().partition(" ")[0].partition("\t")[0].lower() for value in values]
    if len(values) > 1:
        return BasicMalformed()
    if schemes[0] != "basic":
        return BasicMalformed() if schemes[0].startswith("basic") else None
    token = values[0].strip()[len("basic") :].strip(" \t")
    try:
        pair = base64.b64decode(token.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return BasicMalformed()
    try:
        text = pair.decode("utf-8")
    except UnicodeDecodeError:
        text = pair.decode("latin-1")
    name, colon, _ = text.partition(":")
    if not colon or not name.strip() or len(name) > MAX_USER or not name.isprintable():
        return BasicMalformed()
    return name
