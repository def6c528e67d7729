# SPDX-License-Identifier: MIT
"""The corpus: the plans that first exercised a rule or an order, kept in a file for later explorations.

Each line of ``corpus.jsonl`` has one plan's operations, and what they exercised first. An incomplete line, left by a
killed process, is ignored. So is a plan that no exploration generates: anybody may have written the file.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import msgspec

from harness.config import from_plain, to_plain
from harness.errors import system_errors
from harness.explore.legality import Legality, OperationSequence
from harness.explore.trial import Trial
from harness.history.json_file import decoded
from harness.history.private import open_regular
from harness.interrupts import uninterrupted
from harness.run.operation import Operation

FILE = "corpus.jsonl"
LARGEST = 64 << 20
"""The most bytes of a corpus that are read."""
MOST = 20_000
"""The most lines of a corpus that are read. An exploration writes some hundred."""


def writing(file: Path) -> contextlib.AbstractContextManager[None]:
    """Raise a system error while ``file`` is written as InfrastructureError."""
    return system_errors(f"cannot write {file}", hint="Give another place with --into DIR.", shortage=True)


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    do: list[dict[str, Any]]
    rules: list[str] = []
    orders: list[str] = []


class Corpus:
    """The corpus in ``folder``. ``rules`` and ``orders`` are everything exercised so far."""

    def __init__(self, folder: Path, legality: Legality) -> None:
        self.plans: list[OperationSequence] = []
        self.rules: set[str] = set()
        self.orders: set[str] = set()
        self._file = folder / FILE
        for entry in self._read():
            self.rules.update(entry.rules)
            self.orders.update(entry.orders)
            try:
                operations = [from_plain(one, Operation) for one in entry.do]
            except (msgspec.ValidationError, TypeError, ValueError):
                continue
            # A corpus of another guest, or of an older checker, may contain plans that are illegal here.
            if legality.speaks(operations) and (legal := legality.completed(operations)) is not None:
                self.plans.append(legal)

    def _read(self) -> list[_Entry]:
        lines: list[bytes] = []
        with (
            system_errors(f"cannot read {self._file}"),
            contextlib.suppress(FileNotFoundError),
            open_regular(self._file) as file,
        ):
            lines = file.read(LARGEST).splitlines()[:MOST]
        return [entry for line in lines if (entry := decoded(line, _Entry)) is not None]

    def take(self, trial: Trial) -> bool:
        """Keep a trial's plan if it exercised something new. Return whether it did. Raises InfrastructureError."""
        rules, orders = trial.rules - self.rules, trial.orders - self.orders
        if not rules and not orders:
            return False
        entry = _Entry(
            do=[to_plain(one) for one in trial.operations], rules=sorted(rules), orders=sorted(orders)
        )
        # Ctrl-C waits until the file and the counts agree.
        with uninterrupted():
            self._append(msgspec.json.encode(entry) + b"\n")
            self.rules |= rules
            self.orders |= orders
            self.plans.append(trial.operations)
        return True

    def _append(self, line: bytes) -> None:
        with writing(self._file), self._file.open("ab") as file:
            # A killed process may have left an incomplete last line.
            file.write((b"\n" if self._is_cut() else b"") + line)

    def _is_cut(self) -> bool:
        with self._file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            return file.read(1) not in (b"", b"\n")
