"""The single words of a configuration, checked as they are read: no bad pattern waits for a request."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import jsonpath_rfc9535
import re2
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from gateway.age import AgeRefused, read_recipients
from gateway.policy.paths import PathRefused, canonical_path, compile_template
from gateway.policy.policy import Network

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METHOD = re.compile(r"[A-Z][A-Z0-9-]{0,31}")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_VERIFIER_KEY = re.compile(r"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}")
_STATUS = re.compile(r"[1-5](xx|[0-9]{2})")
_STANDARD_PORT: Final = {"http": 80, "https": 443}
_COLLECTOR_SCHEMES: Final = ("tls", "tcp", "udp")
_FORBIDDEN_METHODS: Final = frozenset({"CONNECT", "TRACE", "TRACK"})
_LONGEST_PATTERN: Final = 1_000
_LONGEST_HOST: Final = 253


def problem(what: str, mend: str) -> PydanticCustomError:
    """Return a pydantic error that carries its own mend."""
    # The texts travel as values: pydantic would read braces in them as placeholders.
    return PydanticCustomError("ecluse", "{what}", {"what": what, "mend": mend})


def _quiet_re2() -> "re2.Options":
    options = re2.Options()
    options.log_errors = False
    return options


_RE2: Final = _quiet_re2()


def _pattern(text: str) -> str:
    if len(text) > _LONGEST_PATTERN:
        raise problem(
            f"this pattern has {len(text)} characters", f"keep patterns under {_LONGEST_PATTERN} characters"
        )
    try:
        re2.compile(text, options=_RE2)
    except re2.error as error:
        raw = error.args[0] if error.args else b""
        why = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        raise problem(
            f"{text!r} is no RE2 pattern: {why}",
            "RE2 has no look-around and no back-references; quote the pattern with '…'",
        ) from None
    return text


def _json_path(text: str) -> str:
    try:
        jsonpath_rfc9535.compile(text)
    except jsonpath_rfc9535.JSONPathError as error:
        why = str(error).splitlines()[0]
        raise problem(
            f"{text!r} is no JSONPath: {why}", "write it as in RFC 9535, such as $.items[*].id"
        ) from None
    return text


def _css(text: str) -> str:
    try:
        LexborHTMLParser("<p></p>").css(text)
    except SelectolaxError:
        raise problem(
            f"{text!r} is no CSS selector", "write it as in a style sheet, such as 'tr[data-id]'"
        ) from None
    return text


def _template(text: str) -> str:
    try:
        compile_template(text)
    except ValueError as error:
        raise problem(str(error), "write a path such as /patients/{id} or /static/*") from None
    return text


def _method(text: str) -> str:
    if not _METHOD.fullmatch(text):
        raise problem(f"{text!r} is no HTTP method", "write methods in capitals, such as GET or POST")
    if text in _FORBIDDEN_METHODS:
        raise problem(f"{text} never passes the gateway", "take it out of the list")
    return text


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise problem(
            f"{text!r} is no HTTP token", "names of headers and cookies hold no blank, comma or semicolon"
        )
    return text


def _cookie_pattern(text: str) -> str:
    if not _TOKEN.fullmatch(re.sub(r"[\[\]?]", "x", text)):
        raise problem(
            f"{text!r} is no cookie name",
            "cookie names hold no blank, comma or semicolon; * and ? stand for any",
        )
    if not text.strip("*?"):
        raise problem(f"{text!r} stands for every cookie", "name the cookies one by one")
    return text


def _header(text: str) -> str:
    return _token(text).lower()


def _host(text: str) -> str:
    if text != text.lower():
        raise problem(
            f"host {text!r} has capitals", f"write {text.lower()!r}: hosts are compared in lower case"
        )
    if is_address(text):
        return text
    name, separator, port = text.rpartition(":")
    if separator and port.isdigit():
        raise problem(
            f"host {text!r} has a port", f"write {name!r}: the port is gateway.listen.port's affair"
        )
    labels = text.split(".")
    if len(text) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise problem(
            f"{text!r} is no host name",
            "write the plain name, such as parcours.chu.example (accents in their xn-- form)",
        )
    return text


def is_address(text: str) -> bool:
    """Tell whether *text* is an IPv4 address, or an IPv6 address in brackets, as in a Host header."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        parsed = ip_address(bare)
    except ValueError:
        return False
    return isinstance(parsed, IPv6Address) == (bare is not text) and str(parsed) == bare


def _address(text: str) -> str:
    try:
        parsed: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        raise problem(
            f"{text!r} is no IP address", "write an address such as 127.0.0.1, 0.0.0.0 or ::1"
        ) from None
    return str(parsed)


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise problem(
            f"{text!r} is no network: {error}", "write it as 10.1.2.0/24, with the host bits zero"
        ) from None
    return text


def network(text: str) -> Network:
    """Return *text*, a checked network, as a value."""
    return ip_network(text)


def _base_url(text: str) -> str:
    base_url(text)
    return text


def _verifier_key(text: str) -> str:
    if not _VERIFIER_KEY.fullmatch(text):
        raise problem("this is no Ed25519 verifier key", "write it as it was printed: name+hash+base64")
    return text


def _http_url(text: str) -> str:
    mend = "write http://host/path or https://host/path, without user, query or fragment"
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
        parts = urlsplit("")
    if not is_whole or parts.scheme not in _STANDARD_PORT or not text.isprintable() or " " in text:
        raise problem("this address cannot be read", mend)
    if parts.username is not None or parts.password is not None:
        raise problem("this address holds credentials", mend)
    if "?" in text or "#" in text:
        raise problem("this address has a query or a fragment", mend)
    return text


def base_url(text: str) -> tuple[str, str, int]:
    """Return scheme, host and port of ``http[s]://host[:port]``.

    Raises:
        PydanticCustomError: it has another scheme, credentials, a path or a query.
    """
    mend = "write http://host:port or https://host:port and nothing more"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise problem("this address cannot be read", mend) from None
    if parts.scheme not in _STANDARD_PORT:
        raise problem(f"scheme {parts.scheme!r} is neither http nor https", mend)
    if parts.username is not None or parts.password is not None:
        raise problem("this address holds credentials", mend)
    if parts.path not in {"", "/"} or "?" in text or "#" in text or port == 0:
        raise problem(f"{text!r} is more than scheme, host and port", mend)
    host = parts.hostname or ""
    _host(f"[{host}]" if ":" in host else host)
    return parts.scheme, host, port or _STANDARD_PORT[parts.scheme]


def _collector_url(text: str) -> str:
    collector_url(text)
    return text


def collector_url(text: str) -> tuple[str, str, int]:
    """Return scheme, host and port of ``tls://host:port``, or the same with tcp or udp.

    Raises:
        PydanticCustomError: it has another scheme, no port, or more than scheme, host and port.
    """
    mend = "write tls://host:6514, with the collector's name as its certificate has it"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise problem("this address cannot be read", mend) from None
    if parts.scheme not in _COLLECTOR_SCHEMES:
        raise problem(f"scheme {parts.scheme!r} is none of {', '.join(_COLLECTOR_SCHEMES)}", mend)
    if parts.username is not None or parts.path or "?" in text or "#" in text or not port:
        raise problem(f"{text!r} is not scheme, host and port", mend)
    host = parts.hostname or ""
    _host(f"[{host}]" if ":" in host else host)
    return parts.scheme, host, port


def is_here(host: str) -> bool:
    """Tell whether *host* is this machine: what goes there crosses no network."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _local_path(text: str) -> str:
    path, _, query = text.partition("?")
    try:
        canonical = canonical_path(path)
    except PathRefused as error:
        raise problem(
            f"{text!r} is no path: {error.fault}", "write a path of the app, such as /connexion"
        ) from None
    if canonical != path or "#" in query or not query.isascii() or not query.isprintable():
        raise problem(f"{text!r} is not the canonical spelling", f"write {canonical!r}")
    return text


def _prefix(text: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._-]+/", text) or text.strip("/") in {".", ".."}:
        raise problem(f"{text!r} is no prefix", "write one segment between slashes, such as /.ecluse/")
    return text


def _status(value: object) -> object:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _STATUS.fullmatch(text):
        raise problem(f"{value!r} is no HTTP status", "write a number such as 302, or a class such as 3xx")
    return text


def _age_recipient(text: str) -> str:
    try:
        read_recipients([text])
    except AgeRefused as error:
        what, _, mend = str(error).partition(": ")
        raise problem(what, mend) from None
    return text


def _time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise problem(f"there is no time zone {text!r}", "write its name, such as Europe/Paris") from None
    return text


def _scalar(value: object) -> object:
    # YAML reads 1 as a number where the operator means the text of a parameter.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _workers(value: object) -> object:
    if value == "auto" or (
        isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WORKERS
    ):
        return value
    raise problem("this is no number of workers", f"write a number from 1 to {MOST_WORKERS}, or auto")


MOST_WORKERS = 64
WorkerCount = Annotated[int | Literal["auto"], BeforeValidator(_workers)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""A name of ours: small letters, digits, hyphens."""
Text = Annotated[str, Field(min_length=1, max_length=200)]
FilePath = Annotated[str, Field(min_length=1, max_length=4_096)]
Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]
JsonPath = Annotated[str, AfterValidator(_json_path)]
Css = Annotated[str, AfterValidator(_css)]
Template = Annotated[str, AfterValidator(_template)]
Method = Annotated[str, AfterValidator(_method)]
HeaderName = Annotated[str, AfterValidator(_header)]
CookiePattern = Annotated[str, AfterValidator(_cookie_pattern)]
Host = Annotated[str, AfterValidator(_host)]
Address = Annotated[str, AfterValidator(_address)]
NetworkText = Annotated[str, AfterValidator(_network)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
HttpUrl = Annotated[str, Field(max_length=1_000), AfterValidator(_http_url)]
VerifierKeyText = Annotated[str, Field(max_length=400), AfterValidator(_verifier_key)]
"""The text form of an Ed25519 verifier key, ``name+hash+base64``."""
CollectorUrl = Annotated[str, AfterValidator(_collector_url)]
LocalPath = Annotated[str, AfterValidator(_local_path)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Status = Annotated[str, BeforeValidator(_status)]
AgeRecipient = Annotated[str, AfterValidator(_age_recipient)]
"""A public key of age, ``age1...``."""
TimeZone = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_time_zone)]
Scalar = Annotated[str, BeforeValidator(_scalar)]
Category = Annotated[str, Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=64)]
Port = Annotated[int, Field(ge=1, le=65_535)]
ListenPort = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[int, Field(gt=0, le=315_360_000)]
Bytes = Annotated[int, Field(gt=0, le=1_000_000_000_000)]
