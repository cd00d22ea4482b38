"""The questions of auditors as SQL: one text for every engine.

Two tables are asked, ``events`` and ``accesses`` (gateway.audit.columns); what stands behind these names is
the engine's. The text is plain SQL that DuckDB and ClickHouse read alike. Whatever was asked stands in it as
a typed placeholder, ``{name:Type}``, never as text: only names of our own do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.audit.columns import ACCESS_COLUMNS, EVENT_COLUMNS
from gateway.audit.question import DECISIONS, Question

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

GROUPS: Final[tuple[str, ...]] = (
    *(
        "account",
        "account_class",
        "establishment",
        "realm",
        "operator",
        "patient",
        "app",
        "route",
        "route_kind",
    ),
    *("method", "kind", "reason", "control", "status", "opened", "sensitivity", "client", "session", "rule"),
    *("policy_id", "writer", "day", "hour"),
)
"""What events can be counted by; ``day`` and ``hour`` are in UTC and told by their first millisecond."""

MEASURES: Final = ("events", "patients", "rows", "bytes")
"""What is counted in each group: events, distinct patients, rows and bytes."""

_MOMENTS = {"day": f'"at_ms" - "at_ms" % {DAY_MS}', "hour": f'"at_ms" - "at_ms" % {HOUR_MS}'}
_ACCOUNTS_NAMED = 1_000

Value = str | int


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT and the values of its placeholders."""

    text: str
    values: dict[str, Value]


class _Conditions:
    """Conditions that must all hold, and the values they wait for."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.values: dict[str, Value] = {}

    def bind(self, name: str, value: Value) -> str:
        """Return the placeholder of *value*."""
        self.values[name] = value
        return f"{{{name}:{'String' if isinstance(value, str) else 'Int64'}}}"

    def among(self, column: str, name: str, values: Sequence[str]) -> str:
        """Return the condition that *column* is one of *values*."""
        bound = (self.bind(f"{name}_{number}", value) for number, value in enumerate(values))
        return f'"{column}" in ({", ".join(bound)})'

    def clause(self) -> str:
        """Return the WHERE clause, empty when nothing was asked."""
        return f" where {' and '.join(self.texts)}" if self.texts else ""


def select_events(question: Question, *, accounts: Sequence[str | None] | None = None) -> Statement:
    """Return the statement whose rows are the EVENT_COLUMNS of the events that answer *question*.

    *accounts* are those known to appear in the answer (None for an event without one): naming them spares
    the engine the rest of a table sorted by account. Ordered by ``at_ms, writer, seq``.
    """
    asked = _Conditions()
    _ask_events(asked, question)
    if accounts is not None and len(accounts) <= _ACCOUNTS_NAMED:
        named = [account for account in accounts if account is not None]
        either = [asked.among("account", "known", named)] if named else []
        if len(named) < len(accounts):
            either.append('"account" is null')
        if either:
            asked.texts.append(f"({' or '.join(either)})")
    shown = ", ".join(f'"{name}"' for name in EVENT_COLUMNS)
    text = f"select {shown} from events{asked.clause()} order by {_order(question)}"
    return _limited(text, asked, question.limit)


def select_accesses(question: Question) -> Statement:
    """Return the statement whose rows are the ACCESS_COLUMNS of the accesses that answer *question*.

    Ordered by ``at_ms, writer, seq, patient``. *question* must not ask for what only an event holds: see
    `needs_events`.
    """
    asked = _Conditions()
    _ask_accesses(asked, question)
    shown = ", ".join(f'"{name}"' for name in ACCESS_COLUMNS)
    text = f"select {shown} from accesses{asked.clause()} order by {_order(question, 'patient')}"
    return _limited(text, asked, question.limit)


def select_places(question: Question) -> Statement:
    """Return the statement that tells when, and by which account, the patients of *question* were named."""
    asked = _Conditions()
    _ask_accesses(asked, question)
    return Statement(f'select distinct "at_ms", "account" from accesses{asked.clause()}', asked.values)


def select_groups(question: Question, columns: Sequence[str], *, by: str = "patients") -> Statement:
    """Return the statement that counts the MEASURES of *question* for each value of *columns*.

    Rows are the *columns*, then the four measures; the greatest of *by* first, then by the other columns.
    With ``patient`` among the columns, rows and bytes are those of the events that named the patient.
    *question.limit* bounds the groups.

    Raises:
        ValueError: a column or measure that is none of GROUPS or MEASURES.
    """
    if strange := [name for name in columns if name not in GROUPS]:
        raise ValueError(f"no grouping by {strange[0]!r}: give {', '.join(GROUPS)}")
    if by not in MEASURES:
        raise ValueError(f"no order by {by!r}: give {', '.join(MEASURES)}")
    asked = _Conditions()
    parts = [_count_patients(asked, question, columns)]
    if "patient" not in columns:
        parts.insert(0, _count_events(asked, question, columns))
    names = "".join(f'"{name}", ' for name in columns)
    sums = ", ".join(f"sum(n_{measure}) as total_{measure}" for measure in MEASURES)
    grouped = f" group by {names[:-2]}" if columns else ""
    ranks = [f"total_{by} desc", *(f"total_{name} desc" for name in MEASURES if name != by)]
    ranks += [f'"{name}" asc nulls last' for name in columns]
    text = (
        f"select {names}{sums} from ({' union all '.join(parts)}) as counted"
        f"{grouped} order by {', '.join(ranks)}"
    )
    return _limited(text, asked, question.limit)


def select_named(question: Question, columns: Sequence[str]) -> Statement:
    """Return the statement whose rows are the distinct *columns* and patients of *question*, patient last."""
    asked = _Conditions()
    return Statement(_distinct(asked, question, [*columns, "patient"]), asked.values)


def needs_events(question: Question, columns: Sequence[str] = ()) -> bool:
    """Tell whether *question* or *columns* ask for what the accesses do not hold."""
    return bool(question.outcomes or question.reference) or any(
        name not in ACCESS_COLUMNS and name not in _MOMENTS for name in columns
    )


def _count_events(asked: _Conditions, question: Question, columns: Sequence[str]) -> str:
    mine = _Conditions()
    _ask_events(mine, question)
    asked.values |= mine.values
    sums = ", ".join(
        (
            "cast(count(*) as BIGINT) as n_events",
            "cast(0 as BIGINT) as n_patients",
            'cast(coalesce(sum("rows"), 0) as BIGINT) as n_rows',
            'cast(coalesce(sum("bytes"), 0) as BIGINT) as n_bytes',
        )
    )
    return f"select {_shown(columns)}{sums} from events{mine.clause()}{_grouped(columns)}"


def _count_patients(asked: _Conditions, question: Question, columns: Sequence[str]) -> str:
    nothing = "cast(0 as BIGINT)"
    names = "".join(f'"{name}", ' for name in columns)
    grouped = f" group by {names[:-2]}" if columns else ""
    if "patient" not in columns:
        pairs = _distinct(asked, question, [*columns, "patient"])
        return (
            f"select {names}{nothing} as n_events, cast(count(*) as BIGINT) as n_patients, "
            f"{nothing} as n_rows, {nothing} as n_bytes from ({pairs}) as named{grouped}"
        )
    rows = _accesses(asked, question, [*columns, "rows", "bytes"])
    return (
        f"select {names}cast(count(*) as BIGINT) as n_events, cast(1 as BIGINT) as n_patients, "
        'cast(coalesce(sum("rows"), 0) as BIGINT) as n_rows, '
        f'cast(coalesce(sum("bytes"), 0) as BIGINT) as n_bytes from ({rows}) as named{grouped}'
    )


def _distinct(asked: _Conditions, question: Question, columns: Sequence[str]) -> str:
    return "select distinct" + _accesses(asked, question, columns).removeprefix("select")


def _accesses(asked: _Conditions, question: Question, columns: Sequence[str]) -> str:
    """Return the SELECT of *columns* over accesses, joined to their events when only these can answer."""
    mine = _Conditions()
    if not needs_events(question, columns):
        _ask_accesses(mine, question)
        asked.values |= mine.values
        return f"select {_shown(columns)[:-2]} from accesses{mine.clause()}"
    _ask_events(mine, question)
    patients = _Conditions()
    _ask_common(patients, Question(from_ms=question.from_ms, to_ms=question.to_ms))
    if question.patients:
        patients.texts.append(patients.among("patient", "patients", question.patients))
    asked.values |= mine.values | patients.values
    inner = _shown([name for name in columns if name not in {"patient", "writer"}])
    shown = ", ".join(
        f'{"a" if name in {"patient", "writer"} else "e"}."{name}" as "{name}"' for name in columns
    )
    return (
        f'select {shown} from (select "patient", "writer", "seq" from accesses{patients.clause()}) as a '
        f'inner join (select {inner}"writer", "seq" from events{mine.clause()}) as e '
        'on a."writer" = e."writer" and a."seq" = e."seq"'
    )


def _ask_events(asked: _Conditions, question: Question) -> None:
    _ask_common(asked, question)
    if question.outcomes:
        asked.texts.append(
            f"({asked.among('reason', 'outcomes', question.outcomes)}"
            f" or {asked.among('control', 'outcomes', question.outcomes)})"
        )
    if question.reference is not None:
        asked.texts.append(f'"reference" = {asked.bind("reference", question.reference)}')
    if question.patients:
        naming = _Conditions()
        _ask_accesses(naming, replace(question, outcomes=(), reference=None))
        asked.values |= naming.values
        asked.texts.append(f'("writer", "seq") in (select "writer", "seq" from accesses{naming.clause()})')


def _ask_accesses(asked: _Conditions, question: Question) -> None:
    if question.patients:
        asked.texts.append(asked.among("patient", "patients", question.patients))
    _ask_common(asked, question)


def _ask_common(asked: _Conditions, question: Question) -> None:
    for column, name, values in (
        ("account", "accounts", question.accounts),
        ("account_class", "classes", question.classes),
        ("app", "apps", question.apps),
        ("route", "routes", question.routes),
        ("establishment", "establishments", question.establishments),
        ("kind", "kinds", question.kinds),
        ("kind", "decisions", [kind.value for one in question.decisions for kind in DECISIONS[one]]),
    ):
        if values:
            asked.texts.append(asked.among(column, name, values))
    for column, value in (("realm", question.realm), ("request_id", question.request_id)):
        if value is not None:
            asked.texts.append(f'"{column}" = {asked.bind(column, value)}')
    if question.from_ms is not None:
        asked.texts.append(f'"at_ms" >= {asked.bind("from_ms", question.from_ms)}')
    if question.to_ms is not None:
        asked.texts.append(f'"at_ms" < {asked.bind("to_ms", question.to_ms)}')


def _shown(columns: Sequence[str]) -> str:
    return "".join(
        f'{_MOMENTS[name]} as "{name}", ' if name in _MOMENTS else f'"{name}", ' for name in columns
    )


def _grouped(columns: Sequence[str]) -> str:
    if not columns:
        return ""
    return " group by " + ", ".join(_MOMENTS.get(name, f'"{name}"') for name in columns)


def _order(question: Question, *more: str) -> str:
    direction = "desc" if question.newest else "asc"
    return ", ".join(f'"{name}" {direction}' for name in ("at_ms", "writer", "seq", *more))


def _limited(text: str, asked: _Conditions, limit: int | None) -> Statement:
    if limit is not None:
        text += f" limit {asked.bind('most', limit)}"
    return Statement(text, asked.values)
