# SPDX-License-Identifier: MIT
"""One unplug request, from the host's command to the guest's reaction, and the three-way agreement on it."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.history.record import Agreement
from harness.run.operation import ExpectedUnplug, RefusalReason
from harness.run.pending_add import SMALLEST_SHARE, amount, answers_seen, counted

EJECTION_SOURCES = (3, 0x103)
"""Sources of ``_OST`` that answer an eject request: the request, and ejection processing (ACPI 6.5,
6.3.5)."""

GIVEN_BACK = 0
"""The status of a completed ejection (ACPI 6.5, 6.3.5)."""

REASONS: dict[int, RefusalReason] = {
    1: "unspecified",
    0x80: "not-supported",
    0x81: "in-use",
    0x82: "busy",
    0x83: "dependency",
}
"""Statuses of ``_OST`` that refuse an ejection (ACPI 6.5, 6.3.5)."""

NO_ANSWER = "no answer came in time, so the guest ignores the request or is slow"

ActualOutcome = Literal["", "gone", "refused", "ignored"]


class Ejection(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to a request: ``ost`` from the firmware, ``deleted`` and ``failed`` from QEMU's events."""

    ost: list[tuple[int, int]] = []
    deleted: bool = False
    failed: bool = False

    @property
    def given_back(self) -> bool:
        """Whether the firmware reports that the device was ejected."""
        return any(status == GIVEN_BACK for _, status in self.ost)

    @property
    def reasons(self) -> list[RefusalReason]:
        """The reasons of the guest's refusals, one per refusal."""
        said = [REASONS[status] for _, status in self.ost if status in REASONS]
        return said or (["unspecified"] if self.failed else [])

    @property
    def decided(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.given_back or self.deleted or bool(self.reasons)

    @property
    def words(self) -> str:
        """The answers as text for human readers."""
        if self.reasons:
            return f"the guest refused it as {self.reasons[-1]}"
        if self.given_back or self.deleted:
            return "the guest gave it back"
        return "the guest began and did not finish" if self.ost else NO_ANSWER


class PendingRemoval(msgspec.Struct, frozen=True, kw_only=True):
    """A request in progress. ``before`` is the guest's count before it: processors, or bytes of memory.

    ``slot`` is QEMU's, as ``_OST`` names it; ``size`` is a DIMM's.
    """

    name: str
    what: Literal["cpu", "dimm"]
    device: str
    slot: str
    expected: ExpectedUnplug
    reason: RefusalReason | None
    before: int
    size: int = 0

    @property
    def slot_type(self) -> str:
        """QEMU's name for the slot in ``ACPI_DEVICE_OST`` (QEMU: qapi/acpi.json)."""
        return "CPU" if self.what == "cpu" else "DIMM"

    def smaller(self, now: int) -> bool:
        """Return whether the guest's count decreased by what it gave back."""
        return counted(self.what, now, self.before, 1 if self.what == "cpu" else self.size)

    def outcome(self, heard: Ejection, *, listed: bool) -> ActualOutcome:
        """Return the outcome, "" if the guest began to give the device back and did not finish."""
        if not listed:
            return "gone"
        if heard.reasons:
            return "refused"
        return "" if heard.ost or heard.deleted else "ignored"

    def agreement(self, heard: Ejection, *, listed: bool, now: int) -> Agreement:
        """Return the three-way agreement: QEMU's list, the firmware's report, the guest's own count."""
        apart = self._gone(heard, listed, now) if self.expected == "gone" else self._kept(heard, listed, now)
        return Agreement(
            attempt=self.name,
            expected=self.expected,
            agreed=not apart,
            qemu_lists=listed,
            ost=heard.ost,
            counted_before=self.before,
            counted_after=now,
            detail="; ".join(apart),
        )

    def _gone(self, heard: Ejection, listed: bool, now: int) -> list[str]:
        apart = []
        if listed:
            apart.append(f"QEMU still lists the device, and {heard.words}")
        if not heard.given_back:
            apart.append(f"no _OST reports that it was ejected (seen: {answers_seen(heard.ost)})")
        if not heard.deleted:
            apart.append("QEMU did not report its removal (DEVICE_DELETED)")
        if not self.smaller(now):
            apart.append(self._counts(now, self.before - (1 if self.what == "cpu" else self.size)))
        return apart

    def _kept(self, heard: Ejection, listed: bool, now: int) -> list[str]:
        apart = []
        if not listed:
            apart.append("QEMU does not list the device any more: the guest gave it back")
        elif heard.ost and not heard.reasons:
            apart.append(heard.words)
        elif self.expected == "refused" and not heard.reasons:
            apart.append(f"no _OST refuses it: {NO_ANSWER}")
        elif self.expected == "ignored" and heard.decided:
            apart.append(heard.words)
        if self.reason is not None and heard.reasons and self.reason not in heard.reasons:
            apart.append(f"the guest refused it as {heard.reasons[-1]}, expected as {self.reason}")
        if abs(now - self.before) > (0 if self.what == "cpu" else self.size * (1 - SMALLEST_SHARE)):
            apart.append(self._counts(now, self.before))
        return apart

    def _counts(self, now: int, wanted: int) -> str:
        return f"the guest counts {amount(self.what, now)}, expected {amount(self.what, wanted)}"
