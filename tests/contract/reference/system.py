# SPDX-License-Identifier: MIT
"""A Windows that keeps the contract: its processors, their places, and what its count routines say."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

NOT_ACTIVE = 0xC000000D
"""STATUS_INVALID_PARAMETER: what KeGetProcessorNumberFromIndex may say of a processor that is not active yet."""


@dataclass(slots=True)
class Processor:
    """One processor: its index, its group and number, and the interfaces of its device."""

    nt: int
    group: int
    number: int
    links: list[str] = field(default_factory=list)


class WindowsSystem:
    """What KeQuery routines read. Active processors are never removed, the maximum is one value, places are unique."""

    def __init__(self, chance: random.Random, *, active: int, maximum: int, group_size: int) -> None:
        self.chance = chance
        self.maximum = maximum
        self.size = group_size or 64
        self.memory = 512 << 20
        self.processors: list[Processor] = []
        self.pending: list[Processor] = []
        self.counted_early: set[int] = set()
        self.devices = 0
        for _ in range(active):
            self.processors.append(self.announce())
            self.pending.clear()

    def announce(self) -> Processor:
        """Choose the place of one more processor: group by group, now and then with a gap between the numbers."""
        taken = {(one.group, one.number) for one in [*self.processors, *self.pending]}
        free = [
            (group, number)
            for group in range(-(-self.maximum // self.size))
            for number in range(self.room(group))
            if (group, number) not in taken
        ]
        group, number = free[0]
        top = max((one.group for one in self.processors), default=-1)
        if self.processors and self.size < 64 and self.room(top + 1) and self.chance.random() < 0.1:
            group, number = next(((g, n) for g, n in free if g == top + 1), (group, number))
        if self.processors and self.chance.random() < 0.1:
            number = self.chance.choice([number for where, number in free if where == group])
        made = Processor(len(self.processors) + len(self.pending), group, number)
        self.pending.append(made)
        return made

    def plug(self, processor: Processor, interfaces: int) -> None:
        """Give a processor its device, with one interface or several."""
        self.devices += 1
        name = f"{self.chance.randrange(16)}n{self.devices}.{processor.nt}"
        processor.links = [
            f"\\??\\ACPI#ACPI0007#{name}{'abc'[place] if interfaces > 1 else ''}"
            "#{97fadb10-4e33-40ae-359c-8bef029dbdd0}"
            for place in range(interfaces)
        ]

    def activate(self, processor: Processor) -> None:
        """Let threads be scheduled on a processor, and count it."""
        self.pending.remove(processor)
        self.counted_early.discard(processor.nt)
        self.processors.append(processor)

    def fail(self, processor: Processor) -> None:
        """Give up a processor that was announced."""
        self.pending.remove(processor)

    @property
    def room_left(self) -> int:
        """How many more processors can be added."""
        return self.maximum - len(self.processors) - len(self.pending)

    def room(self, group: int) -> int:
        """KeQueryMaximumProcessorCountEx of a group."""
        return max(0, min(self.size, self.maximum - group * self.size))

    def _counted(self) -> list[Processor]:
        early = [one for one in self.pending if one.nt in self.counted_early]
        return self.processors + early

    def mask(self, group: int) -> int:
        """KeQueryGroupAffinity."""
        return sum(1 << one.number for one in self._counted() if one.group == group)

    def sample(self) -> dict[str, Any]:
        """The fields that every driver record samples."""
        counted = self._counted()
        group_0 = sum(one.group == 0 for one in counted)
        return {
            "cpu": self.chance.choice(self.processors).nt, "irql": 0, "active": len(counted), "active_g0": group_0,
            "active_g0_ex": group_0, "maximum": self.maximum, "groups": len({one.group for one in counted}),
        }  # fmt: skip

    def place(self, processor: Processor) -> dict[str, Any]:
        """The fields of a synchronous callback about a processor, and what the conversions say of it."""
        known = processor in self._counted()
        return {
            "nt": processor.nt, "group": processor.group, "number": processor.number,
            "max_in_group": self.room(processor.group), "mask": self.mask(processor.group),
            "idx_status": 0 if known else NOT_ACTIVE, "idx_group": processor.group if known else 0,
            "idx_number": processor.number if known else 0, "back_idx": processor.nt if known else -1,
        }  # fmt: skip
