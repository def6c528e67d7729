# SPDX-License-Identifier: MIT
"""Counts of a log's records: by the caller's classes, by header and by processor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from harness.capture.etl.record import AnyLogRecord

KINDS = ("event", "system", "compact", "perf", "classic", "instance", "message", "other")
"""The kinds of records, in the order in which their counts are given."""


class RecordCounts:
    """``counts`` in the order in which its names first appeared, ``kinds`` of headers, ``processors``."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.kinds: Counter[str] = Counter()
        self.processors: Counter[int] = Counter()


def summarize(
    records: Iterable[AnyLogRecord], classify: Callable[[AnyLogRecord], tuple[str, ...]]
) -> RecordCounts:
    """Count records one by one."""
    found = RecordCounts()
    counts, kinds, processors = found.counts, found.kinds, found.processors
    for record in records:
        counts[classify(record)] += 1
        kinds[record.kind] += 1
        processors[record.processor] += 1
    found.kinds = Counter({kind: kinds[kind] for kind in KINDS if kinds[kind]})
    return found
