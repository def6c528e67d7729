# SPDX-License-Identifier: MIT
"""A run's history together with the recordings beside it, which a guest handed over when the run was over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from harness.capture.etl import manifest
from harness.capture.etl.manifest import Provider
from harness.capture.mapping.driver_map import DriverMap
from harness.capture.mapping.driver_map import load as load_map
from harness.capture.offline.alignment import align
from harness.capture.offline.recorded import RecordedChannel, read
from harness.errors import BadHistory, HarnessError, UsageError
from harness.history.reader import History
from harness.history.record import Record

MOST_HOST_RECORDS = 2_000_000
"""Records of a history that are held in memory to insert others among them."""


def provider(path: Path) -> Provider:
    """Return the one provider that a manifest describes. Raises UsageError if there is not exactly one."""
    found = manifest.load(path)
    if len(found) != 1:
        raise UsageError(
            f"{path} describes {len(found)} providers, not one", hint="Give the driver's own manifest."
        )
    return found[0]


def host_records(history: History) -> list[Record]:
    """Return the whole history. Raises UsageError if it is too long to be held in memory."""
    host: list[Record] = []
    for record in history:
        host.append(record)
        if len(host) > MOST_HOST_RECORDS:
            raise UsageError(f"{history.path} holds more than {MOST_HOST_RECORDS} records")
    return host


def read_all(files: dict[str, Path], described_by: Path) -> list[RecordedChannel]:
    """Read channels to their ends; ``described_by`` is the manifest or driver's map (.toml) by which ``etw`` is decoded."""
    described: Provider | DriverMap | None = None
    if "etw" in files:
        mapped = described_by.suffix == ".toml"
        described = load_map(described_by) if mapped else provider(described_by)
    return [read(channel, file, described) for channel, file in files.items()]


class JoinedHistory(History):
    """A history with ``files``, the channels that it lacks, inserted in their places, once.

    After an iteration ``note`` says what was joined, or why it was not: then only the history was yielded.
    """

    def __init__(self, plain: History, files: dict[str, Path], described_by: Path) -> None:
        super().__init__(plain.path)
        self.files = files
        self.note = ""
        self._plain = plain
        self._described_by = described_by

    def __iter__(self) -> Iterator[Record]:
        yield from self._joined
        self.damage = self._plain.damage

    @property
    def seconds(self) -> float:
        """The time that the history spans, in seconds; recordings that were joined do not count."""
        return self._plain.seconds

    @cached_property
    def _joined(self) -> Iterable[Record]:
        try:
            aligned = align(host_records(self._plain), read_all(self.files, self._described_by))
        except HarnessError as error:
            names = ", ".join(sorted(self.files))
            what = "joined to it" if isinstance(error, BadHistory) else "read"
            self.note = f"The recordings beside the history ({names}) could not be {what}: {error.message}"
            return self._plain
        counts = [f"{one.records} of {one.channel}" for one in aligned.comparison.channels]
        self.note = f"Judged with the recordings beside the history: {', '.join(counts)} records"
        return aligned.records
