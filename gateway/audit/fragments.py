"""Pieces of SQL for DuckDB that name files, values and columns: whatever stands in a name stays a name. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gateway.audit.encoding import MAX_LINE_BYTES

_GLOB = re.compile(r"[*?\[]")


def literal(text: str) -> str:
    """Return *text* as a string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def quoted(columns: Iterable[str]) -> str:
    """Return the names of *columns* in quotes, with commas between."""
    return ", ".join(f'"{column}"' for column in columns)


def read_parquet(files: Iterable[Path]) -> str:
    """Return the table of the Parquet *files*."""
    return f"read_parquet({_paths(files)})"


def read_json(files: Sequence[Path], columns: Mapping[str, str], *more: str) -> str:
    """Return the table of the JSON lines of *files*: *columns* by name and type, *more* options as they stand."""
    read = ", ".join(f"\"{column}\": '{kind}'" for column, kind in columns.items())
    options = ", ".join(("format='newline_delimited'", f"maximum_object_size={MAX_LINE_BYTES + 1}", *more))
    return f"read_json({_paths(files)}, columns={{{read}}}, {options})"


def _paths(files: Iterable[Path]) -> str:
    # A path is a pattern to DuckDB: what has a meaning there is put in brackets.
    return f"[{', '.join(literal(_GLOB.sub(r'[\g<0>]', str(path))) for path in files)}]"
