"""Readers of each format, written from its specification and from nothing of ours."""

import json
import re
from typing import Any
from xml.etree import ElementTree

_HEADER = re.compile(r"<(\d{1,3})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) ")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_SD_NAME = re.compile(r"[!-~]{1,32}")


def read_json(text: str) -> Any:
    return json.loads(text)


def read_xml(text: str) -> ElementTree.Element:
    # Made by ourselves: no entities, no bombs.
    return ElementTree.fromstring(text)  # noqa: S314


def read_syslog(text: str) -> dict[str, Any]:
    """RFC 5424, 6: header, structured data, message."""
    header = _HEADER.match(text)
    assert header is not None, text[:200]
    assert 0 <= int(header[1]) <= 191
    assert _TIMESTAMP.fullmatch(header[2]), header[2]
    rest = text[header.end() :]
    elements: dict[str, list[tuple[str, str]]] = {}
    while rest.startswith("["):
        rest = rest[1:]
        name = re.match(r'[^ =\]"]{1,32}', rest)
        assert name is not None
        assert name[0] not in elements, "an SD-ID stands once (6.3.2)"
        rest, params = rest[name.end() :], []
        while rest.startswith(" "):
            param = re.match(r' ([^ =\]"]{1,32})="((?:[^"\\\]]|\\.)*)"', rest, re.DOTALL)
            assert param is not None, rest[:200]
            assert _SD_NAME.fullmatch(param[1])
            params.append((param[1], re.sub(r'\\(["\\\]])', r"\1", param[2])))
            rest = rest[param.end() :]
        assert rest.startswith("]"), rest[:200]
        rest = rest[1:]
        elements[name[0]] = params
    assert elements
    assert rest.startswith(" ")
    names = ("priority", "at", "host", "app", "process", "kind")
    return {**dict(zip(names, header.groups(), strict=True)), "data": elements, "text": rest[1:]}


def read_cef(text: str) -> dict[str, Any]:
    """CEF 0: seven header fields, then key=value pairs."""
    found = re.match(r"CEF:0((?:\|(?:[^|\\]|\\[|\\])*){6})\|", text)
    assert found is not None, text[:200]
    header = re.findall(r"\|((?:[^|\\]|\\[|\\])*)", found[1])
    extension = text[found.end() :]
    assert len(header) == 6
    keys = list(re.finditer(r"(?:^|(?<= ))([A-Za-z0-9]+)(?<!\\)=", extension))
    told = {}
    for number, key in enumerate(keys):
        end = keys[number + 1].start() - 1 if number + 1 < len(keys) else len(extension)
        raw = extension[key.end() : end]
        assert re.fullmatch(r"(?:[^\\=]|\\[\\=nr])*", raw), raw
        assert key[1] not in told, key[1]
        told[key[1]] = re.sub(r"\\([\\=])", r"\1", raw)
    return {"header": [re.sub(r"\\([\\|])", r"\1", each) for each in header], "told": told}


READERS = {
    "ecs": read_json,
    "fhir": read_json,
    "ans": read_json,
    "atna": read_xml,
    "syslog": read_syslog,
    "cef": read_cef,
}
