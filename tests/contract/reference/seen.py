# SPDX-License-Identifier: MIT
"""What a history shows of one registration, one callback, one hot-add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.history.driver import (
    COMPLETE,
    FAILURE,
    START,
    nt_success,
)

Key = tuple[str, str, int]
"""The boot, the driver and the number of a registration."""


@dataclass
class Known:
    """One registration as a history shows it. Places are -1 where there is none."""

    key: Key
    kind: str
    flags: int
    enter: int
    leave: int = -1
    handle: bool = True
    dereg: int = -1


@dataclass
class Told:
    """One callback: where it was entered and left."""

    key: Key
    enter: int
    leave: int
    record: Any
    exit: Any
    simple: bool
    existing: bool = False

    @property
    def vetoes(self) -> bool:
        return self.record.state == START and not nt_success(self.exit.op) and nt_success(self.record.op)


@dataclass
class Tried:
    """The callbacks of one hot add."""

    nt: int
    boot: str
    calls: list[Told] = field(default_factory=list)

    def of(self, state: int) -> list[Told]:
        return [call for call in self.calls if call.record.state == state]

    @property
    def added(self) -> bool:
        return bool(self.of(COMPLETE))

    @property
    def failed(self) -> bool:
        return bool(self.of(FAILURE))

    @property
    def vetoed(self) -> bool:
        return any(call.vetoes for call in self.calls)
