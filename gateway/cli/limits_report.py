"""The report of ``ecluse limits suggest``: what was found, and one page that shows it, with nothing loaded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gateway.audit.breach.charts import Picture, upright
from gateway.audit.breach.html import svg
from gateway.audit.drafts import text_draft
from gateway.limits.suggest import ENOUGH_DAYS, Finding
from gateway.vocabulary.limits import Control

_TEMPLATES = Path(__file__).parent / "templates"
_PLOTTED = (Control.PATIENTS_10MIN, Control.PATIENTS_24H, Control.PATIENTS_7D)
_BARS = 24
_NAMED = 10


@dataclass(frozen=True, slots=True)
class ClassReport:
    """One class: how many accounts, what was found for each control, what was in fact withheld.

    *withheld* counts answers by control and account.
    """

    label: str
    accounts: int
    findings: tuple[Finding, ...]
    withheld: Mapping[tuple[str, str], int]

    @property
    def enough(self) -> bool:
        """Whether there are enough account-days to propose caps from."""
        return bool(self.findings) and self.findings[0].days >= ENOUGH_DAYS

    def people(self) -> Iterator[str]:
        """Yield a line for each cap that stops somebody: whom, and on how many days."""
        for one in self.findings:
            for name, cap, stops in (
                ("present", one.present, one.stopped_present),
                ("proposed", one.proposed, one.stopped_proposed),
            ):
                if not stops.by_account:
                    continue
                named = list(stops.by_account.items())
                told = ", ".join(
                    f"{who} on {days} day{'s' if days > 1 else ''}" for who, days in named[:_NAMED]
                )
                more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
                yield f"{one.control.value} {name} {cap} stops {told}{more}"
        for (control, who), times in sorted(self.withheld.items()):
            yield f"{control} did withhold {times} answers from {who}"


@dataclass(frozen=True, slots=True)
class Report:
    """All classes over a period; *days* is its length."""

    from_ms: int
    to_ms: int
    days: int
    classes: tuple[ClassReport, ...]


def write_html(report: Report, path: Path) -> None:
    """Write the page to *path*, whole or not at all, readable by its owner only (it names professionals).

    Raises:
        NotWritten: it cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Every text in a picture was escaped when it was drawn.
    environment.globals["plots"] = lambda number, each: [
        Markup(svg(picture))  # noqa: S704
        for picture in _plots(number, each)
    ]
    environment.filters["moment"] = lambda at_ms: datetime.fromtimestamp(at_ms / 1000, UTC).strftime(
        "%Y-%m-%d %H:%M UTC"
    )
    page = environment.get_template("limits_suggest.html").render(report=report, enough=ENOUGH_DAYS)
    with text_draft(path) as file:
        file.write(page)


def _plots(number: int, each: ClassReport) -> Iterator[Picture]:
    for one in each.findings:
        if one.control not in _PLOTTED:
            continue
        width = max(1, -(-(max(one.most, one.present or 0) + 1) // _BARS))
        bars = [0] * ((one.most // width) + 1)
        for peak in one.peaks:
            bars[peak // width] += 1
        caps = f"present cap {one.present if one.present is not None else 'unknown'}, proposed "
        caps += f"{one.proposed if one.proposed is not None else 'none'}"
        yield upright(
            f"p{number}-{one.control.value}",
            f"{each.label}, {one.control.value}",
            f"Account-days by the most patients in the window. Half of them up to {one.p50}, 95 of 100 up to "
            f"{one.p95}, 995 of 1000 up to {one.p995}, the greatest {one.most}. {caps}.",
            [(f"{at * width}", count) for at, count in enumerate(bars)],
        )
