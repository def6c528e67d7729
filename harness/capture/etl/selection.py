# SPDX-License-Identifier: MIT
"""The selection of records from a log: by provider, event, process, thread and processor."""

from __future__ import annotations

from collections.abc import Iterable

from harness.capture.etl import guid
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.record import AnyLogRecord


class Selection:
    """The conditions on a record: one of each given set. An empty set allows any.

    ``providers`` are names or GUIDs, ``events`` names, ids or opcodes in decimal, both in any case.
    """

    def __init__(
        self,
        *,
        providers: Iterable[str] = (),
        events: Iterable[str] = (),
        processes: Iterable[int] = (),
        threads: Iterable[int] = (),
        processors: Iterable[int] = (),
    ) -> None:
        self._providers = frozenset(one.strip("{}").lower() for one in providers)
        self._events = frozenset(one.lower() for one in events)
        self.numbers = {
            name: frozenset(given)
            for name, given in (("process", processes), ("thread", threads), ("processor", processors))
            if given
        }

    def wants(self, record: AnyLogRecord, decoder: Decoder) -> bool:
        """Return whether the record is selected. Its payload is read only for its name."""
        for name, wanted in self.numbers.items():
            if getattr(record, name, None) not in wanted:
                return False
        if self._providers and not (
            decoder.provider_name(record).lower() in self._providers
            or guid.text(record.provider) in self._providers
        ):
            return False
        return not self._events or self._is_named(record, decoder)

    def _is_named(self, record: AnyLogRecord, decoder: Decoder) -> bool:
        number = next(
            (getattr(record, name) for name in ("id", "number", "opcode") if hasattr(record, name)), None
        )
        return str(number) in self._events or decoder.name(record)[1].lower() in self._events
