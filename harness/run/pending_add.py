# SPDX-License-Identifier: MIT
"""One hot-add attempt, from the host's command to its last consequence, and the three-way agreement on it."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.contract.rules.rule import some
from harness.history.record import Add, Agreement
from harness.report.sentence import ost_answer, size
from harness.run.operation import ExpectedOutcome

OST_SUCCESS = ((1, 0), (0x200, 0))
"""``_OST`` answers that report success: device check, or insertion processing (ACPI 6.5, 6.3.5)."""

SMALLEST_SHARE = 0.9
"""Share of a DIMM that must become usable memory: the guest uses some of it for its page tables."""


class PendingAdd(msgspec.Struct, kw_only=True):
    """An add in progress. ``before`` is the guest's count before its batch: processors, or bytes of memory.

    ``tally`` is what the watch had counted when the command was sent.
    """

    name: str
    what: Literal["cpu", "dimm"]
    device: str
    expected: ExpectedOutcome
    before: int
    size: int = 0
    tally: dict[str, int]

    @property
    def growth(self) -> int:
        """The expected increase of the guest's count by this attempt: one processor, or the DIMM's bytes."""
        if self.expected != "added":
            return 0
        return 1 if self.what == "cpu" else self.size

    def agreement(
        self,
        *,
        listed: bool,
        ost: list[tuple[int, int]],
        now: int,
        growth: int,
        unshown: tuple[str, ...] = (),
        failed: bool = False,
    ) -> Agreement:
        """Return the three-way agreement: QEMU lists it, the firmware reported it, the guest counts as expected.

        ``growth`` is what the whole batch should add to the guest's count. What is ``unshown`` is ignored. ``failed``: the
        drivers were told that it was not added.
        """
        apart = []
        if not listed and "qemu" not in unshown:
            apart.append("QEMU does not list the device")
        if not any(answer in OST_SUCCESS for answer in ost) and "ost" not in unshown:
            apart.append(f"no _OST reports success (seen: {answers_seen(ost)})")
        if not counted(self.what, self.before, now, growth):
            wanted = amount(self.what, self.before + growth)
            why = ', and Failure came (after a veto: expect = "vetoed")' if failed else ""
            apart.append(f"the guest counts {amount(self.what, now)}, expected {wanted}{why}")
        return self.agreed(apart, listed=listed and "qemu" not in unshown, ost=ost, now=now, unshown=unshown)

    def found(self, *, listed: bool, ost: list[tuple[int, int]], now: int, all_found: list[int]) -> Agreement:
        """Return the agreement on a device that was present when the guest booted.

        There is no ``_OST`` for such a device, because no operating system listened to ACPI when it was
        added. ``before`` is what the machine had at power-on; ``all_found`` has the sizes of all devices that
        were added before the boot, 0 for a processor. Memory counts as found if the guest counts more than it
        would without the smallest of them.
        """
        apart = []
        if not listed:
            apart.append("QEMU does not list the device")
        if any(answer in OST_SUCCESS for answer in ost):
            apart.append(f"_OST answers for it as for a hot-add (seen: {answers_seen(ost)})")
        if self.what == "cpu" and now != self.before + len(all_found):
            wanted = amount("cpu", self.before + len(all_found))
            apart.append(f"the guest counts {amount('cpu', now)}, expected {wanted}")
        if self.what == "dimm" and now <= self.before + sum(all_found) - min(all_found):
            apart.append(
                f"the guest counts {amount('dimm', now)}, of {size(self.before)} and {size(sum(all_found))} found"
            )
        return self.agreed(apart, listed=listed, ost=ost, now=now)

    def agreed(
        self,
        apart: list[str],
        *,
        listed: bool,
        ost: list[tuple[int, int]],
        now: int,
        unshown: tuple[str, ...] = (),
    ) -> Agreement:
        """Return the agreement whose disagreements are ``apart``."""
        return Agreement(
            attempt=self.name,
            expected=self.expected,
            agreed=not apart,
            qemu_lists=listed,
            ost=ost,
            counted_before=self.before,
            counted_after=now,
            detail="; ".join(apart),
            unshown=list(unshown),
        )

    def note(
        self,
        phase: Literal["begin", "accepted", "refused", "unsure", "settled"],
        *,
        slot: str = "",
        detail: str = "",
    ) -> Add:
        """Return the record of one step of the add."""
        return Add(
            attempt=self.name,
            phase=phase,
            what=self.what,
            device=self.device,
            slot=slot,
            bytes=self.size,
            expected=self.expected,
            detail=detail,
        )


def amount(what: str, count: int) -> str:
    """Return a count in words: ``3 processors``, or ``658.4 MiB of memory`` for one of bytes."""
    return some(count, "processor") if what == "cpu" else f"{size(count)} of memory"


def answers_seen(ost: list[tuple[int, int]]) -> str:
    """Return the answers of ``_OST`` in words, ``none`` if there is none."""
    return "; ".join(ost_answer(*answer) for answer in ost[:4]) or "none"


def counted(what: str, before: int, now: int, growth: int) -> bool:
    """Return whether a count grew as expected; memory by nearly as much, since the guest excludes page tables."""
    if what == "cpu":
        return now == before + growth
    return before + int(growth * SMALLEST_SHARE) <= now <= before + growth
