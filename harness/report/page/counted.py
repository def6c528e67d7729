# SPDX-License-Identifier: MIT
"""The records that a rule counted where something is missing or came too often: calls, arrivals or answers.

A finding's own records show that a rule is broken. Where it is broken by what did not come, they cannot show it. So the
page lists them beside. Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import get_args

import msgspec

from harness.contract.verdict import Finding
from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import Absent
from harness.report.sentence import EJECTIONS

MOST = 6
"""Records of one list; of more the last are left out and counted."""

AT_REGISTRATION = (
    "ADDEX-ONE-COMPLETE-EACH",
    "ADDEX-ONE-START-EACH",
    "ADDEX-VETO-FAILURES",
    "ADDEX-VETO-STOPS",
)
FOR_PROCESSOR = ("SYNC-ALL-REGISTERED", "SYNC-EXACTLY-TWO", "SYNC-START-CLOSED", "VETO-FAILURE-DELIVERED")
UNREGISTERED = ("OB-ASYNC-UNREG-BEFORE-UNLOAD", "OB-DEREG-BEFORE-UNLOAD")


class CountedList(msgspec.Struct, kw_only=True):
    """The records that a rule counted, the first of them, and how many ``more`` there are; ``title`` says what they are."""

    title: str
    wanted: Callable[[r.Record], bool]
    kinds: tuple[type[r.Record], ...]
    records: list[r.Record] = []
    more: int = 0


class CountedRecords:
    """Takes the records of a history in file order. Returns for a finding those that its rule counted."""

    def __init__(self, findings: Iterable[Finding], records: Mapping[int, r.Record]) -> None:
        self._lists: dict[int, CountedList] = {}
        self._of: dict[type[r.Record], list[CountedList]] = {}
        rules: set[str] = set()
        for finding in findings:
            shown = [records[one.record] for one in finding.witnesses if one.record in records]
            # One list for each rule: its card shows one finding.
            if finding.rule in rules or not shown or (made := _list_of(finding.rule, shown)) is None:
                continue
            rules.add(finding.rule)
            self._lists[id(finding)] = made
            for kind in made.kinds:
                self._of.setdefault(kind, []).append(made)

    def take(self, record: r.Record) -> None:
        """Take the next record that the page holds."""
        for one in self._of.get(type(record), ()):
            if one.wanted(record):
                if len(one.records) < MOST:
                    one.records.append(record)
                else:
                    one.more += 1

    def of(self, finding: Finding) -> CountedList | None:
        """Return the records counted, None for a rule that counts nothing, or if the finding's own records are all that came."""
        found = self._lists.get(id(finding))
        if found is None:
            return None
        own = {one.record for one in finding.witnesses}
        return None if found.records and {one.n for one in found.records} <= own else found


def _list_of(rule: str, shown: list[r.Record]) -> CountedList | None:
    last = shown[-1]
    first = next((one for one in shown if isinstance(one, d.SyncEnter)), None)
    if rule in AT_REGISTRATION:
        return _at_registration(shown)
    if rule in FOR_PROCESSOR and first is not None:
        return _for_processor(first)
    if rule in UNREGISTERED and isinstance(last, d.CallEnter | d.CallExit):
        names = ("dereg_sync",) if rule == "OB-DEREG-BEFORE-UNLOAD" else ("unreg_ex", "unreg_old")
        return CountedList(
            title="Calls that end a registration, of this driver", kinds=(d.CallEnter,),
            wanted=lambda one: isinstance(one, d.CallEnter) and _same(one, last) and one.call in names,
        )  # fmt: skip
    if rule == "ASYNC-EXISTING-DUP" and isinstance(last, d.AsyncEnter):
        return CountedList(
            title="Arrivals of this interface at this registration", kinds=(d.AsyncEnter,),
            wanted=lambda one: isinstance(one, d.AsyncEnter) and _same(one, last) and (one.reg, one.link) == (last.reg, last.link),
        )  # fmt: skip
    if rule == "OB-ALLOC-FREE" and (number := _number(last)) is not None:
        return CountedList(
            title=f"What the driver allocated and freed for processor {number}", kinds=(d.Alloc, d.Free),
            wanted=lambda one: isinstance(one, d.Alloc | d.Free) and _same(one, last) and one.nt == number,
        )  # fmt: skip
    if rule == "COMPLETE-COUNTED" and isinstance(last, d.SyncEnter):
        return _counted(last)
    if rule == "REBAL-OPTOUT":
        return CountedList(
            title="The opt-out, as the guest reported it", kinds=(r.GuestEvent,),
            wanted=lambda one: isinstance(one, r.GuestEvent) and one.event == "rebalance-opt-out" and one.n < last.n
            and (not isinstance(last, d.PnpEnter) or _hardware(last.device) in one.detail),
        )  # fmt: skip
    if (
        rule == "HOST-AGREED"
        and isinstance(last, r.Agreement)
        and last.expected in ("gone", "refused", "ignored", "kept")
    ):
        return CountedList(
            title="The request, and its answers", kinds=(r.Removal, r.Ost),
            wanted=lambda one: (isinstance(one, r.Removal) and one.request == last.attempt)
            or (isinstance(one, r.Ost) and one.source in EJECTIONS),
        )  # fmt: skip
    return None


def _at_registration(shown: list[r.Record]) -> CountedList | None:
    """Return the callbacks of a registration until the registering call returned."""
    of = next(
        (one for one in shown if isinstance(one, d.CallEnter | d.CallExit | d.SyncEnter | d.SyncExit)), None
    )
    if of is None:
        return None
    over = False

    def wanted(one: r.Record) -> bool:
        nonlocal over
        if not isinstance(one, d.SyncEnter | d.CallExit) or not _same(one, of) or one.reg != of.reg:
            return False
        over |= isinstance(one, d.CallExit) and one.call == "reg_sync"
        return isinstance(one, d.SyncEnter) and not over

    return CountedList(
        title="Calls that came during the registration", wanted=wanted, kinds=(d.SyncEnter, d.CallExit)
    )


def _counted(complete: d.SyncEnter) -> CountedList:
    """Return the first record after a Complete at which its processor is active: whether the count was late, or never came."""
    found = False

    def wanted(one: r.Record) -> bool:
        nonlocal found
        if found or not isinstance(one, d.DriverRecord) or one.boot != complete.boot or one.n <= complete.n:
            return False
        counts = (one.active, complete.nt)
        found = not any(isinstance(count, Absent) for count in counts) and counts[0] > counts[1]
        return found

    title = "The first record after it that counts the processor"
    return CountedList(title=title, wanted=wanted, kinds=get_args(d.AnyDriverRecord))


def _for_processor(first: d.SyncEnter) -> CountedList | None:
    number = _number(first)
    if number is None:
        return None
    return CountedList(
        title=f"Calls that came for processor {number}", kinds=(d.SyncEnter,),
        wanted=lambda one: isinstance(one, d.SyncEnter)
        and one.boot == first.boot and one.n >= first.n and _number(one) == number,
    )  # fmt: skip


def _hardware(device: str) -> str:
    """Return a device's hardware id, without the ``#2`` that tells devices of one id apart."""
    return device.rpartition("#")[0] or device


def _same(one: d.DriverRecord, other: r.Record) -> bool:
    return isinstance(other, d.DriverRecord) and (one.boot, one.driver) == (other.boot, other.driver)


def _number(record: r.Record) -> int | None:
    number = getattr(record, "nt", None)
    return number if isinstance(number, int) and not isinstance(number, Absent) else None
