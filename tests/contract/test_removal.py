# SPDX-License-Identifier: MIT
"""What a device's leaving changes for the judge: the guest counts less, and no rule speaks of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import RunVerdict, Verdict
from harness.history.driver import AnyDriverRecord
from harness.history.record import Add, Agreement, Count, End, HostRecord, Record, Removal

ASKED: dict[str, Any] = {"request": "unplug-1", "what": "cpu", "device": "cpu-1", "slot": "2"}
GONE = Removal(**ASKED, phase="settled", outcome="gone")
AGREED = Agreement(
    attempt="unplug-1", expected="gone", agreed=True, qemu_lists=False, ost=[(3, 0)], counted_before=3, counted_after=2,
)  # fmt: skip
FEWER = Count(processors=2, memory=1 << 29, why="baseline")


def judged(*behind: Record, text: str = "+cpu S2 C2 V =cpu Q") -> RunVerdict:
    """Return the verdict on a trace with records put in before its end."""
    records = list(trace(text))
    at = next(index for index, record in enumerate(records) if isinstance(record, End))
    records[at:at] = behind
    return judge([msgspec.structs.replace(one, n=number) for number, one in enumerate(records, 1)])


def agreement(said: RunVerdict) -> Verdict:
    """Return what the rule on agreements says."""
    return next(rule.verdict for rule in said.rules if rule.rule == "HOST-AGREED")


def test_a_guest_counts_less_by_what_it_gave_back() -> None:
    """Its driver may count as before; without the request the counts contradict each other."""
    begun = Removal(**ASKED, phase="begin")
    assert judged(begun, GONE, AGREED, FEWER).verdict is Verdict.HOLDS
    assert judged(FEWER).verdict is Verdict.UNKNOWN
    assert (
        judged(begun, GONE, AGREED, msgspec.structs.replace(FEWER, processors=1)).verdict is Verdict.UNKNOWN
    )


@pytest.mark.parametrize("outcome", ["refused", "ignored", ""])
def test_what_was_kept_is_still_counted(outcome: str) -> None:
    """A request alone takes nothing out of the guest's count."""
    settled = msgspec.structs.replace(GONE, outcome=outcome, expected="kept")
    kept = msgspec.structs.replace(AGREED, expected="kept", qemu_lists=True, ost=[], counted_after=3)
    assert judged(Removal(**ASKED, phase="begin"), settled, kept).verdict is Verdict.HOLDS
    assert judged(Removal(**ASKED, phase="begin"), settled, kept, FEWER).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "phases", [["begin"], ["begin", "accepted"], ["begin", "unsure"], ["begin", "settled"]]
)
def test_a_request_without_an_agreement_is_unknown(phases: list[Any]) -> None:
    """However far it came; one that QEMU refused has nothing to be agreed on."""
    assert agreement(judged(*(Removal(**ASKED, phase=phase) for phase in phases))) is Verdict.UNKNOWN
    assert (
        agreement(judged(*(Removal(**ASKED, phase=phase) for phase in ("begin", "refused")))) is Verdict.HOLDS
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"qemu_lists": True},
        {"counted_after": 3},
        {"counted_after": 4},
        {"expected": "refused"},
        {"expected": "kept"},
    ],
)
def test_an_agreement_against_its_own_numbers_is_unknown(changed: dict[str, Any]) -> None:
    """It is agreed, and what stands in it says otherwise."""
    wrong = msgspec.structs.replace(AGREED, **changed)
    assert agreement(judged(Removal(**ASKED, phase="begin"), GONE, wrong)) is Verdict.UNKNOWN


def found(text: str, *behind: Record, agreed: bool = True) -> RunVerdict:
    """Return the verdict on a trace whose adds were made before the boot, with records put in before its end.

    Without ``agreed`` the agreements are left out.
    """
    records = [
        msgspec.structs.replace(one, expected="found") if isinstance(one, Add | Agreement) else one
        for one in trace(text)
        if agreed or not isinstance(one, Agreement)
    ]
    records[-1:-1] = behind
    return judge([msgspec.structs.replace(one, n=number) for number, one in enumerate(records, 1)])


def test_what_is_found_at_boot_is_no_cause_of_a_hot_add() -> None:
    """A Start behind it has no command; as a hot-add it would have one."""
    text = "+cpu S2 C2 V =cpu Q"
    assert judge(trace(text)).verdict is Verdict.HOLDS
    assert [one.rule for one in found(text).findings if one.verdict is Verdict.VIOLATED] == ["HOST-CAUSE"]


def test_what_nobody_saw_found_is_unknown() -> None:
    """An add before the boot without an agreement proves nothing; one that QEMU refused needs none."""
    assert agreement(found("+cpu", agreed=False)) is Verdict.UNKNOWN
    name = next(one.attempt for one in trace("+cpu") if isinstance(one, Add))
    refused = Add(attempt=name, what="cpu", device=name, phase="refused", expected="found")
    assert agreement(found("+cpu", refused, agreed=False)) is not Verdict.UNKNOWN


def test_the_record_is_read_as_it_was_written() -> None:
    """One line of a history becomes the same record again."""
    line = msgspec.json.encode(GONE)
    assert msgspec.json.decode(line, type=HostRecord | AnyDriverRecord) == GONE
