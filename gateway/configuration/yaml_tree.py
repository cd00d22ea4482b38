"""YAML as plain values, each with its line. Duplicate keys, tags and odd characters are faults."""

import re
import unicodedata
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gateway.configuration.faults import Fault, Location, Positions, spell

MAX_FILE_BYTES: Final = 1_000_000
_MAX_NODES: Final = 50_000
_MAX_DEPTH: Final = 24
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]{0,18})")
_FRACTION = re.compile(r"[-+]?[0-9]+\.[0-9]+")
_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Tree:
    """One file: its plain *value* (None when it could not be read), where all stands, its faults."""

    value: Any
    positions: Positions
    faults: tuple[Fault, ...]


def read_tree(file: Path, base: Location = ()) -> Tree:
    """Read *file*; *base* is the place in the whole configuration where its top stands. Never raises."""
    try:
        with file.open("rb") as handle:
            raw = handle.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        return _unread(
            file, base, f"the file cannot be read: {why}", "check its name, its owner and its mode"
        )
    except ValueError:
        return _unread(file, base, "the file's name holds a NUL", "write a plain file name")
    if len(raw) > MAX_FILE_BYTES:
        return _unread(
            file, base, f"the file is longer than {MAX_FILE_BYTES} bytes", "split it with 'include'"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _unread(file, base, "this line is not UTF-8", "save the file as UTF-8", line)
    return parse_tree(text, file, base)


def parse_tree(text: str, file: Path, base: Location = ()) -> Tree:
    """Read *text* as *file* would be read. Never raises."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = f"this is no YAML: {error.problem or error.context or 'unreadable'}"
        return _unread(
            file, base, what, "check indentation, colons and quotes here and on the line above", line, column
        )
    except YAMLError as error:
        why = str(error).splitlines()[0] if str(error) else "unreadable"
        return _unread(file, base, f"this is no YAML: {why}", "take out odd characters")
    except (
        RecursionError,
        ValueError,
        AttributeError,
        TypeError,
        IndexError,
        KeyError,
        NotImplementedError,
    ) as error:
        # The parser itself fails like this on hostile input; the operator needs a fault all the same.
        return _unread(file, base, f"this is no YAML: {type(error).__name__}", "check the file's syntax")
    if node is None:
        return _unread(
            file, base, "the file is empty", "write a configuration; config/ecluse.yaml is a sample"
        )
    reader = _Reader(file, base)
    value = reader.plain(node, ())
    if not isinstance(value, dict) and not reader.faults:
        reader.fault(node, (), "the file's top is no mapping", "write 'key: value' lines")
    return Tree(
        value if isinstance(value, dict) else None, Positions(file, base, reader.marks), tuple(reader.faults)
    )


def _unread(
    file: Path, base: Location, what: str, mend: str, line: int = 1, column: int | None = None
) -> Tree:
    return Tree(None, Positions(file, base, {}), (Fault(file, line, column, spell(base), what, mend),))


@dataclass(slots=True)
class _Reader:
    file: Path
    base: Location
    marks: dict[Location, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0

    def fault(self, node: Node, place: Location, what: str, mend: str) -> None:
        mark = node.start_mark
        self.faults.append(
            Fault(self.file, mark.line + 1, mark.column + 1, spell((*self.base, *place)), what, mend)
        )

    def plain(self, node: Node, place: Location) -> Any:
        self.nodes += 1
        if self.nodes > _MAX_NODES or len(place) > _MAX_DEPTH:
            if self.nodes <= _MAX_NODES + 1 or len(place) > _MAX_DEPTH:
                self.fault(
                    node,
                    place[:_MAX_DEPTH],
                    "this is nested or repeated too often",
                    "write it flat, without aliases",
                )
            self.nodes = _MAX_NODES + 2
            return None
        self.marks.setdefault(place, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, MappingNode):
            return self._mapping(node, place)
        if isinstance(node, SequenceNode):
            return [self.plain(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: MappingNode, place: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, Hashable) or not isinstance(key, str) or not key.isprintable() or not key:
                self.fault(key_node, place, "a key is no plain text", "write a word before the colon")
                continue
            if key_node.tag == f"{_TAG}merge":
                self.fault(key_node, place, "'<<' is not read here", "write the keys out")
                continue
            if key in result:
                line, _ = self.marks[(*place, key)]
                self.fault(
                    key_node,
                    (*place, key),
                    f"'{key}' stands here twice, first on line {line}",
                    "keep one of the two",
                )
                continue
            # A fault in a value is shown at its key: that is the word the operator looks for.
            self.marks[(*place, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            result[key] = self.plain(value_node, (*place, key))
        return result

    def _scalar(self, node: Node, place: Location) -> Any:
        text: str = node.value
        tag = str(node.tag).removeprefix(_TAG)
        if not all(character in "\n\t" or unicodedata.category(character)[0] != "C" for character in text):
            self.fault(node, place, "this holds a control character", "take it out")
            return None
        if tag == "null":
            return None
        if tag == "bool" and text.lower() in {"true", "false"}:
            return text.lower() == "true"
        # Numbers with leading zeros, signs of the sexagesimal system or exponents are read as text.
        if tag == "int":
            return int(text.replace("_", "")) if _WHOLE.fullmatch(text) else text
        if tag == "float":
            return float(text) if _FRACTION.fullmatch(text) else text
        if tag in {"str", "bool", "timestamp"}:
            return text
        self.fault(node, place, f"tag {node.tag!s} is not read here".replace(_TAG, "!!"), "take the tag out")
        return None
