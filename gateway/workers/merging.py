"""The metrics of several processes as those of one. Pure, but for reading a registry.

Counters and histograms are summed, and what an ended worker had counted stays in the sum: a sum that falls would
look like a restart, and Prometheus would count everything twice. Of gauges the largest is shown. What tells of one
process (``process_…``) is told of each, with the label ``worker``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Families = list[list[Any]]
"""``[name, type, text, [[sample name, labels, value], …]]`` for each metric: what a worker sends."""

_ADDED = frozenset({"counter", "histogram", "summary"})
_OF_ONE_PROCESS = "process_"


def families_of(registry: CollectorRegistry) -> Families:
    """Return what *registry* holds now."""
    return [
        [
            metric.name,
            metric.type,
            metric.documentation,
            [[sample.name, dict(sample.labels), sample.value] for sample in metric.samples],
        ]
        for metric in registry.collect()
    ]


def merged(present: Mapping[str, Families], ended: Iterable[Families] = ()) -> Families:
    """Return the metrics of the *present* processes, by name, and what the *ended* ones had counted, as of one."""
    made: dict[str, tuple[str, str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for process, families in [*present.items(), *((None, families) for families in ended)]:
        for name, kind, text, samples in families:
            if process is None and kind not in _ADDED:
                continue
            own = name.startswith(_OF_ONE_PROCESS)
            if process is None and own:
                continue
            _, _, values = made.setdefault(name, (kind, text, {}))
            for sample, labels, value in samples:
                shown = {**labels, "worker": process} if own and process is not None else labels
                key = (sample, tuple(shown.items()))
                before = values.get(key)
                values[key] = value if before is None else _joined(kind, sample, before, value)
    return [
        [name, kind, text, [[sample, dict(labels), value] for (sample, labels), value in values.items()]]
        for name, (kind, text, values) in made.items()
    ]


def exposition(families: Families) -> bytes:
    """Return *families* in the text form of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Shown(families))
    return generate_latest(registry)


def _joined(kind: str, sample: str, one: float, other: float) -> float:
    if sample.endswith("_created"):
        return min(one, other)
    return one + other if kind in _ADDED else max(one, other)


class _Shown(Collector):
    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for name, kind, text, samples in self._families:
            metric = Metric(name, text, kind)
            for sample, labels, value in samples:
                metric.add_sample(sample, labels, value)
            yield metric
