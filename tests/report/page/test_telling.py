# SPDX-License-Identifier: MIT
"""The values that a record shows for a rule, and what is said of a record beside missing ones."""

from __future__ import annotations

import msgspec
import pytest
from report.records import Run

from harness.contract.rules.catalogue import find
from harness.history import driver as d
from harness.history.driver import class_name
from harness.report.page.beside import BesideRecords
from harness.report.page.telling import FIELDS, NAMES, ROUTINES, telling


def test_every_rule_and_field_exists() -> None:
    """The tables name rules of the catalogue, and fields of driver records."""
    fields = {name for kind in d.AnyDriverRecord.__args__ for name in kind.__struct_fields__}
    assert [] == [rule for rule in (*FIELDS, *ROUTINES) if find(rule) is None]
    assert set() == {name for names in FIELDS.values() for name in names} - set(NAMES)
    assert set() == set(NAMES) - fields


def start(**changes: object) -> d.SyncEnter:
    """Return the record of a Start, with changes."""
    run = Run()
    run.sync(0, d.START, 2, active=2)
    (record,) = (one for one in run.records if isinstance(one, d.SyncEnter))
    return msgspec.structs.replace(record, **changes)


@pytest.mark.parametrize(
    ("rule", "changes", "expected"),
    [
        ("SYNC-IRQL-PASSIVE", {"irql": 2}, ["KeGetCurrentIrql = 2 (DISPATCH_LEVEL)"]),
        ("GROUPS-MONOTONIC", {"groups": 510}, ["KeQueryActiveGroupCount = 510"]),
        ("SYNC-CONTEXT-IDENTITY", {"ctx": 0x99}, ["CallbackContext = 0x99"]),
        ("FAIL-STATUS-ERROR", {"status": 0xC0000001}, ["Status = 0xC0000001 (STATUS_UNSUCCESSFUL)"]),
        ("FAIL-STATUS-ERROR", {"status": 0xC0000022}, ["Status = 0xC0000022"]),
        ("REBAL-ORDER", {}, []),
        ("ASYNC-STRUCT", {}, []),
    ],
)
def test_the_compared_value_has_its_name(rule: str, changes: dict[str, object], expected: list[str]) -> None:
    """By the routine or field that it comes from; a field that the record does not have is left out."""
    assert expected == telling(rule, start(**changes))


def test_interface_classes_have_names() -> None:
    """As in poclass.h, whatever the GUID's case; others stay as they are."""
    assert ["GUID_DEVICE_MEMORY", "cpu", "{x}"] == [
        class_name("{3FD0F03D-92e0-45fb-b75c-5ed8ffb01021}"), class_name("cpu"), class_name("{x}"),
    ]  # fmt: skip


def test_a_missing_entry_is_named_by_its_return() -> None:
    """The record whose entry is missing says what it was; one that was entered says nothing."""
    run = Run()
    run.sync(0, d.START, 2, active=2)
    enter, leave = (one for one in run.records if isinstance(one, d.SyncEnter | d.SyncExit))
    beside, whole = BesideRecords(), BesideRecords()
    beside.take(leave)
    for record in (enter, leave):
        whole.take(record)
    text = f"missing  driver hpnotify #{enter.seq}, before this record"
    assert (
        f"#{enter.seq} was the entry of what returned in #{leave.seq}: Start NtNumber=2 returns"
        in beside.said(leave, text)
    )
    assert " ".join(text.split()) == whole.said(leave, text)
    assert [enter, leave] == whole.last()
