# SPDX-License-Identifier: MIT
"""The index of a run's evidence: what was collected before its guest was ended, and what could not be collected.

::

    runs/20261121-091502-cpu-and-dimm-3f9c/evidence/
        index.json       this index, for programs
        index.md         the same for people
        state.json  registers.txt  screen.png  memory.elf  guest/…
"""

from __future__ import annotations

from typing import Literal

import msgspec


class EvidenceItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of evidence: whether it was collected, why not, and how long that took.

    ``files`` are relative to the run directory, ``bytes`` their sum.
    """

    name: str
    state: Literal["collected", "failed", "skipped"]
    reason: str = ""
    files: list[str] = []
    bytes: int = 0
    seconds: float = 0.0


class EvidenceIndex(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All items. ``why`` is what went wrong, ``stage`` where; ``at`` is UTC, ISO 8601."""

    run: str
    why: str
    failure_class: str = ""
    stage: str = ""
    at: str = ""
    items: list[EvidenceItem] = []
