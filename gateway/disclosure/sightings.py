"""Personal data on routes that nobody mapped: valid NIRs, French phones, e-mails, counted and never kept.

A safety net, linear in the answer: RE2 finds candidates, arithmetic throws the look-alikes out.
"""

import html
import re
from dataclasses import dataclass, field

from gateway.policy import bodies
from gateway.policy.patterns import compiled
from gateway.vocabulary.messages import RequestFacts, ResponseFacts
from gateway.vocabulary.records import Sightings, Uninspectable, Unreadable

_BODILESS = frozenset({204, 304})
_START = r"(?:^|[^0-9A-Za-z_])"
_NIR = (
    _START + r"([1-478][ .]?[0-9]{2}[ .]?(?:0[1-9]|1[0-2]|[2-9][0-9])[ .]?(?:[0-9]{2}|2[ABab])"
    r"[ .]?[0-9]{3}[ .]?[0-9]{3}[ .]?[0-9]{2})\b"
)
_PAIRS = "|".join(rf"(?:{blank}[0-9]{{2}}){{4}}" for blank in ("", " ", r"\.", "-"))
_PHONE = rf"(?:^|[^0-9A-Za-z_])((?:\+33|0033)[ .-]?(?:\(0\)[ ]?)?[1-9](?:{_PAIRS})|0[1-9](?:{_PAIRS}))\b"
_EMAIL = r"([A-Za-z0-9._%+'-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24})\b"
_NOT_TOP_LEVEL = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "map", "html", "php"})
_BLANKS = ("\u00a0", "\u2007", "\u2009", "\u202f", "\t")
_ESCAPE = re.compile(r"\\(?:u00([0-9a-fA-F]{2})|u(2007|2009|202[fF])|[nrt/])")
_CORSICA = {"2A": "19", "2B": "18"}
_KEY_MODULUS = 97
_NATIONAL_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Pieces:
    """The personal data of one answer, each piece once and in one spelling. Never leaves the process."""

    nirs: frozenset[bytes] = field(repr=False)
    phones: frozenset[bytes] = field(repr=False)
    emails: frozenset[bytes] = field(repr=False)

    @property
    def counted(self) -> Sightings:
        """Return how many there are of each kind."""
        return Sightings(len(self.nirs), len(self.phones), len(self.emails))

    @property
    def all(self) -> frozenset[bytes]:
        """Return all of them. A NIR, a phone and an address never spell alike: their lengths and letters differ."""
        return self.nirs | self.phones | self.emails


NO_PIECES = Pieces(frozenset(), frozenset(), frozenset())


def count(request: RequestFacts, response: ResponseFacts, max_bytes: int) -> Sightings | Uninspectable:
    """Return how many distinct NIRs, phones and e-mails a text answer of at most *max_bytes* shows.

    Scripts, style sheets, images and other files are not scanned; an answer without content type is.
    JSON and HTML escapes are undone first. NIR: 15 digits, Corsica included, whose key is right (INSEE).
    """
    seen = pieces(request, response, max_bytes)
    return seen if isinstance(seen, Uninspectable) else seen.counted


def pieces(request: RequestFacts, response: ResponseFacts, max_bytes: int) -> Pieces | Uninspectable:
    """Return what ``count`` counts."""
    if request.method == "HEAD" or response.status in _BODILESS:
        return NO_PIECES
    media = bodies.answered_type(response)
    if media is not None and (media.is_script or not media.is_text):
        return NO_PIECES
    data = bodies.decoded(response, max_bytes)
    if isinstance(data, Unreadable):
        return Uninspectable(data)
    text = bodies.text_of(data, media)
    if isinstance(text, Unreadable):
        # What is looked for is ASCII, so a page that breaks its own charset is scanned all the same.
        text = data.decode("latin-1")
    text = _plain(text)
    wire = text.encode("utf-8", "surrogatepass")
    return Pieces(frozenset(_nirs(wire)), frozenset(_phones(wire)), frozenset(_emails(wire)))


def shows_personal_data(text: str) -> bool:
    """Tell whether *text*, typed by a person, holds a NIR, a phone, an address, or a number long enough to be an id."""
    wire = _plain(text).encode("utf-8", "surrogatepass")
    digits = re.sub(r"(?<=\d)[ .\-/](?=\d)", "", text)
    return bool(_nirs(wire) or _phones(wire) or _emails(wire) or re.search(r"\d{5}", digits))


def _plain(text: str) -> str:
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    if "&" in text:
        text = html.unescape(text)
    for blank in _BLANKS:
        text = text.replace(blank, " ")
    return text.replace("%40", "@")


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match.group(1), 16)) if match.group(1) else " "


def _nirs(wire: bytes) -> set[bytes]:
    seen = set()
    for match in compiled(_NIR).finditer(wire):
        digits = bytes(match.group(1)).replace(b" ", b"").replace(b".", b"").upper()
        if not _inside_number(wire, match.start(1), match.end(1)) and nir_holds(digits.decode("ascii")):
            seen.add(digits)
    return seen


def nir_holds(nir: str) -> bool:
    """Tell whether *nir*, 15 characters without blanks, carries the right key: 97 - (number mod 97)."""
    number = nir[:5] + _CORSICA.get(nir[5:7], nir[5:7]) + nir[7:13]
    if not (number + nir[13:]).isdecimal():
        return False
    return _KEY_MODULUS - int(number) % _KEY_MODULUS == int(nir[13:])


def _phones(wire: bytes) -> set[bytes]:
    seen = set()
    for match in compiled(_PHONE).finditer(wire):
        if not _inside_number(wire, match.start(1), match.end(1)):
            digits = re.sub(rb"\(0\)|[^0-9]", b"", match.group(1))
            seen.add(digits[-_NATIONAL_DIGITS:])
    return seen


def _emails(wire: bytes) -> set[bytes]:
    seen = set()
    for match in compiled(_EMAIL).finditer(wire):
        address = bytes(match.group(1)).lower()
        if address.rpartition(b".")[2].decode("ascii") not in _NOT_TOP_LEVEL:
            seen.add(address)
    return seen


def _inside_number(wire: bytes, start: int, end: int) -> bool:
    """Tell whether digits go on beyond one separator: references, amounts, tables of numbers."""
    before, after = wire[max(start - 2, 0) : start], wire[end : end + 3]
    if before[1:] in (b".", b"-", b"/") and before[:1].isalnum():
        return True
    return after[:1] in (b".", b"-", b"/", b" ") and after[1:].isdigit() and len(after) == 3
