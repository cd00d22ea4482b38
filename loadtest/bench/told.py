"""The figures as people read them: ratios in one line, tables for docs/performance.md, and one picture. Pure but for
``write``."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from loadtest.bench.answers import PATIENTS

Figures = dict[str, Any]

BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
_EDGE = {
    "edge": "our check, four people",
    "edge_apart": "our check, as many people as connections",
    "lemonldap": "LemonLDAP::NG's handler (nginx, FastCGI, 4 processes)",
    "traefik": "our check, asked by Traefik `forwardAuth`",
    "constant_python": "the same Python server, always 200",
    "constant": "nginx, always 200, over a socket",
    "constant_within": "nginx itself, always 200",
}


def summary(figures: Figures) -> Figures:
    """Return the ratios that have targets; None for what was not measured."""
    edge, workers = figures.get("edge", {}), figures.get("workers", {})
    two = workers.get("held") or workers.get("competing") or {}
    return {
        "inspect_vs_bare": figures.get("inspected", {}).get("ratio"),
        "edge_vs_lemonldap": edge.get("edge_vs_lemonldap"),
        "edge_vs_traefik": edge.get("edge_vs_traefik"),
        "edge_vs_constant": edge.get("edge_vs_constant"),
        "two_workers": two.get("two_over_one"),
        "added_p99_ms": figures.get("latency", {}).get("added_p99_ms_over_direct"),
    }


def write(figures: Figures, folder: Path) -> None:
    """Write the picture, and the tables into performance.md, in *folder*."""
    (folder / "performance.svg").write_text(svg(bars(figures)), "utf-8")
    page = folder / "performance.md"
    text = page.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page} has no place for the figures: {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{tables(figures)}\n{END}{after}", "utf-8")


def tables(figures: Figures) -> str:
    """Return every measured part as a table."""
    parts = [_targets(figures), _machine(figures)]
    makers = {
        "inspected": _inspected, "edge": _edge, "latency": _latency, "workers": _workers, "appends": _appends,
        "phases": _phases, "processes": _processes,
    }  # fmt: skip
    for name, make in makers.items():
        part = figures.get(name)
        if part is None:
            continue
        parts.append(f"Not measured: {part['error'].splitlines()[0]}\n" if "error" in part else make(part))
        parts += [
            f"Not measured: {one}, for want of {want}.\n" for one, want in part.get("absent", {}).items()
        ]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_cell(one) for one in line) + " |\n" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}" if value < 1 else f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _targets(figures: Figures) -> str:
    got, apart = summary(figures), figures.get("edge", {}).get("edge_apart_vs_constant")
    rows = (
        ("inspected path, everything on, to the bare Master", got["inspect_vs_bare"], "1.0 or more"),
        ("edge to LemonLDAP::NG's handler", got["edge_vs_lemonldap"], "2.0 or more"),
        ("edge to Traefik `forwardAuth`", got["edge_vs_traefik"], "2.0 or more"),
        ("edge to nginx with a constant 200", got["edge_vs_constant"], "0.6 or more"),
        ("the same, as many people as connections", apart, "0.6 or more"),
        ("two workers to one", got["two_workers"], "1.7 or more"),
        ("added latency, 99th percentile, half load (ms)", got["added_p99_ms"], ""),
    )
    return _table(("ratio", "measured", "target"), rows)


def _machine(figures: Figures) -> str:
    one = figures.get("machine", {})
    parts = [part for part in figures.values() if isinstance(part, dict) and "load" in part]
    busy = max((part["load"] for part in parts), default=0.0)
    short = "A short run, good for seeing that all works. " if any(part["short"] for part in parts) else ""
    return (
        f"{one.get('processor')}, {one.get('cores')} cores that load, app, store and gateway share; Python "
        f"{one.get('python')}, mitmproxy {one.get('mitmproxy')}. "
        f"{short}Highest load average as a part ended: {busy:.1f}, of which the benchmark itself is one to three.\n"
    )


def _inspected(part: Figures) -> str:
    names = {
        "bare": "bare Master, as mitmproxy ships it", "door": "our door without guard", "guarded": "the gateway",
    }  # fmt: skip
    rows = (
        (words, part[name], part[f"{name}_cpu_us"], part[f"{name}_median_ms"], part[f"{name}_p99_ms"])
        for name, words in names.items()
    )
    head = ("inspected path", "requests/s", "CPU us a request", "median ms", "p99 ms")
    return _table(head, rows)


def _edge(part: Figures) -> str:
    if "edge" not in part:
        return ""
    rows = (
        (
            words,
            *(part[name][figure] for figure in ("per_second", "median_ms", "p99_ms")),
            part.get(f"edge_vs_{name}"),
        )
        for name, words in _EDGE.items()
        if name in part
    )
    return _table(("before a page of the app", "requests/s", "median ms", "p99 ms", "the edge to it"), rows)


def _latency(part: Figures) -> str:
    rows = ((name, part[name]["median_ms"], part[name]["p99_ms"]) for name in ("direct", "bare", "guarded"))
    added = ("added to direct", part["added_median_ms_over_direct"], part["added_p99_ms_over_direct"])
    head = (f"at {part['offered_per_second']:,.0f} requests/s", "median ms", "p99 ms")
    return _table(head, [*rows, added])


def _workers(part: Figures) -> str:
    rows = (
        (words, *(one.get(f"{name}_per_second") for name in ("alone", "one", "two")), one.get("two_over_one"))
        for words, one in (
            ("sharing the cores with the load", part["competing"]),
            ("each held to a fifth of a core", part["held"]),
        )
        if one is not None
    )
    return _table(("workers, requests/s", "alone", "one", "two", "two to one"), rows)


def _appends(part: Figures) -> str:
    rows = (
        (at, part[f"at_once_{at}"]["per_second"], part[f"at_once_{at}"]["median_ms"]) for at in (1, 16, 128)
    )
    return _table(("entries at once", "durable appends/s", "median ms"), rows)


def _phases(part: Figures) -> str:
    names = ["request", *(f"response_{form}_{count}" for form in ("json", "html") for count in PATIENTS)]
    counted = part["instructions"] or {}
    rows = (
        (name.replace("_", " "), part["cpu_us"].get(name), part["cpu_us_whole"].get(name), counted.get(name))
        for name in names
    )
    return _table(("phase, patients", "CPU us", "CPU us with store and log", "instructions"), rows)


def _processes(part: Figures) -> str:
    rows = (
        (
            name.replace("_", " "),
            part["start_s"][name],
            part["mb"][name].get("worker", part["mb"][name].get("gateway")),
            part["mb"][name].get("store"),
        )
        for name in part["start_s"]
    )
    return _table(("started", "seconds until it listens", "MB an inspector", "MB store"), rows)


def bars(figures: Figures) -> list[tuple[str, list[tuple[str, float]]]]:
    """Return the groups of the picture: requests a second by side."""
    groups: list[tuple[str, list[tuple[str, float]]]] = []
    if "guarded" in (one := figures.get("inspected", {})):
        groups.append(
            (
                "Inspected path",
                [("bare Master", one["bare"]), ("door alone", one["door"]), ("gateway", one["guarded"])],
            )
        )
    if "edge" in (one := figures.get("edge", {})):
        found = [
            (re.sub(r" \(.*\)|`", "", words), one[name]["per_second"])
            for name, words in _EDGE.items()
            if name in one
        ]
        groups.append(("Before a page", found))
    if "competing" in (one := figures.get("workers", {})):
        found = [
            (words, one["competing"][f"{name}_per_second"])
            for name, words in (("one", "one worker"), ("two", "two workers"))
        ]
        if one["held"] is not None:
            held = one["held"]
            found += [("one, held", held["one_per_second"]), ("two, held", held["two_per_second"])]
        groups.append(("Workers", found))
    return groups


def svg(groups: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> str:
    """Return horizontal bars, each group to a scale of its own."""
    width, left, right, bar = 720, 270, 80, 20
    out, y = [], 20
    for title, rows in groups:
        most = max((value for _, value in rows), default=1.0) or 1.0
        out.append(f'<text x="10" y="{y + 14}" font-weight="bold">{title}, requests a second</text>')
        y += 26
        for label, value in rows:
            length = value / most * (width - left - right)
            fill = "#1f6feb" if label.startswith(("gateway", "our", "one", "two")) else "#8c959f"
            out.append(
                f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{label}</text>'
                f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 5}" fill="{fill}"/>'
                f'<text x="{left + length + 6:.1f}" y="{y + 13}">{value:,.0f}</text>'
            )
            y += bar
        y += 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 6}" font-family="sans-serif" '
        'font-size="12" role="img"><title>Requests a second, side by side</title>'
        f'<rect width="{width}" height="{y + 6}" fill="#ffffff"/>'
    )
    return "\n".join([head, *out, "</svg>\n"])
