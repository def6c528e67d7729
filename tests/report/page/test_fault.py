# SPDX-License-Identifier: MIT
"""What is at fault, and what came: not what behaved well, and what is missing by its name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.rules.catalogue import find
from harness.contract.verdict import Finding, Verdict
from harness.history import driver as d
from harness.history import record as r
from harness.report.page.counted import AT_REGISTRATION, FOR_PROCESSOR, MOST, UNREGISTERED, CountedRecords
from harness.report.page.fault import EARLIER, LATER, MISSING_CALLS, at_fault

CHANGE = "processor change callback"


def broken(text: str, rule: str) -> tuple[Finding, list[r.Record], dict[int, r.Record]]:
    """Return the first violation of a rule in a trace, its records, and all records by number."""
    records = trace(text)
    by_number = {one.n: one for one in records}
    finding = next(f for f in judge(records).findings if f.rule == rule and f.verdict is Verdict.VIOLATED)
    return finding, [by_number[one.record] for one in finding.witnesses], by_number


def test_every_rule_exists_and_is_in_one_table() -> None:
    """The tables name rules of the catalogue. A record cannot be at fault both first and last."""
    named = (*LATER, *EARLIER, *MISSING_CALLS, *AT_REGISTRATION, *FOR_PROCESSOR, *UNREGISTERED)
    assert [] == [rule for rule in named if find(rule) is None]
    assert set() == LATER & EARLIER


@pytest.mark.parametrize(
    ("text", "rule", "fault"),
    [
        ("S2 C2{ctx=99}", "SYNC-CONTEXT-IDENTITY", f"{CHANGE}, Complete for processor 2"),
        ("C2 S2", "SYNC-START-BEFORE-COMPLETE", f"{CHANGE}, Complete for processor 2"),
        ("S2 S2 C2", "SYNC-EXACTLY-TWO", f"{CHANGE}, Start for processor 2: it came 2 times"),
        ("S2", "SYNC-START-CLOSED", "the missing Failure for processor 2"),
        ("cpus=2 [S0 C0]", "ADDEX-ONE-START-EACH", "the missing Start during the registration"),
        ("cpus=2 [S0 S1 C0]", "ADDEX-ONE-COMPLETE-EACH", "the missing Complete during the registration"),
        ("[S0 S1!]0", "ADDEX-VETO-FAILURES", "the missing Failure during the registration"),
        ("with b a:S2 a:C2", "SYNC-ALL-REGISTERED", "the missing calls of a registered callback for processor 2"),
        ("[S0!]0 S2", "NULL-NO-CALLBACKS", f"{CHANGE}, Start for processor 2"),
        ("S2 C2 unload!", "OB-ASYNC-UNREG-BEFORE-UNLOAD", "the missing IoUnregisterPlugPlayNotificationEx before Unload"),
        ("irp=START irp=STOP", "REBAL-ORDER", "STOP of "),
        ("S2 C2{idx_number=2,number=5}", "SYNC-SAME-IDENTITY", f"{CHANGE}, Complete for processor 2"),
        ("S2{number=5} C2", "SYNC-SAME-IDENTITY", f"{CHANGE}, Start for processor 2"),
        ("+cpu S2 F2 C2{active=3} V =cpu Q", "SYNC-TERMINAL-EXCLUSIVE", f"{CHANGE}, Failure for processor 2"),
    ],
)  # fmt: skip
def test_what_is_at_fault(text: str, rule: str, fault: str) -> None:
    """The record that is wrong, or what is missing; not what it is compared with."""
    finding, shown, _ = broken(text, rule)
    said = at_fault(finding, shown)
    assert (fault, True) == (said[: len(fault)], "; " not in said)


def unplug(**changes: Any) -> r.Agreement:
    """Return the agreement on a request to give a device back that stayed."""
    kept = r.Agreement(
        attempt="unplug-1", expected="gone", agreed=False, qemu_lists=True, ost=[], counted_before=2, counted_after=2, n=9
    )  # fmt: skip
    return msgspec.structs.replace(kept, **changes)


@pytest.mark.parametrize(
    ("agreement", "fault"),
    [
        (unplug(ost=[(3, 0x80)]), "the guest, which answered unplug-1 through _OST with eject request, not supported"),
        (unplug(), "the guest, or the firmware and QEMU between it and the host: no answer to unplug-1 was recorded"),
        (unplug(ost=[(3, 0)]), "the agreement on unplug-1"),
        (unplug(expected="refused"), "the agreement on unplug-1"),
    ],
)  # fmt: skip
def test_who_did_not_give_a_device_back(agreement: r.Agreement, fault: str) -> None:
    """The guest, if it said so; if no answer came, it is not known who dropped the request."""
    finding = Finding(rule="HOST-AGREED", level="gate", verdict=Verdict.UNKNOWN, reason="")  # type: ignore[arg-type]
    assert fault == at_fault(finding, [agreement])


@pytest.mark.parametrize(
    ("text", "rule", "title", "came"),
    [
        ("cpus=2 [S0 C0] S5", "ADDEX-ONE-START-EACH", "Calls that came during the registration", [(d.START, 0), (d.COMPLETE, 0)]),
        ("cpus=2 [S0 S1 C0]", "ADDEX-ONE-COMPLETE-EACH", "Calls that came during the registration", [(d.START, 0), (d.START, 1), (d.COMPLETE, 0)]),
        ("S2 C2{active=2} V{active=3}", "COMPLETE-COUNTED", "The first record after it that counts the processor", []),
        ("a:S2 b:S2 b:C2 b:V", "SYNC-START-CLOSED", "Calls that came for processor 2", [(d.START, 2), (d.START, 2), (d.COMPLETE, 2)]),
    ],
)  # fmt: skip
def test_what_came_stands_beside_what_is_missing(
    text: str, rule: str, title: str, came: list[tuple[int, int]]
) -> None:
    """The calls that the rule counted, and none after them."""
    finding, _, records = broken(text, rule)
    seen = CountedRecords([finding], records)
    for record in records.values():
        seen.take(record)
    found = seen.of(finding)
    assert found is not None
    calls = [one for one in found.records if isinstance(one, d.SyncEnter)]
    assert (title, came) == (found.title, [(one.state, one.nt) for one in calls])


def test_what_the_records_show_is_not_listed_again() -> None:
    """And of very many the first are listed, and the others counted."""
    finding, _, records = broken("S2 S2 C2", "SYNC-EXACTLY-TWO")
    seen = CountedRecords([finding], records)
    for record in records.values():
        seen.take(record)
    assert seen.of(finding) is None
    finding, _, records = broken("{ V0 V0 V0 V0 V0 V0 V0 V0 V0 }", "ASYNC-EXISTING-DUP")
    seen = CountedRecords([finding], records)
    for record in records.values():
        seen.take(record)
    found = seen.of(finding)
    assert found is not None
    assert (MOST, 3) == (len(found.records), found.more)
