# SPDX-License-Identifier: MIT
"""A history that was edited accuses nobody: what contradicts itself, or lacks a field, is unknown."""

from __future__ import annotations

import os
import random

import msgspec
import pytest
from effort import VARIABLE, examples

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import RunVerdict, Verdict
from harness.history.driver import CallEnter, DriverRecord, Hello, SyncEnter
from harness.history.reader import History
from harness.history.record import Add, Boot, GuestEvent, Record
from tests.contract.editing import EDITS, Edit, numbered, violated, wrong
from tests.recorded.kept import Kept, kept_runs

RUNS = list(kept_runs())

SEED = 20261130 if VARIABLE not in os.environ else random.randrange(1 << 30)
"""The same in every run of the suite, another in each long form."""

TRIED = 8
"""Edits of each kind that are tried on each run."""


def place_of(records: list[Record], kind: type[Record], **fields: object) -> int:
    """Return the place of the first record of a kind with the given fields."""
    return next(
        place
        for place, one in enumerate(records)
        if isinstance(one, kind) and all(getattr(one, name) == value for name, value in fields.items())
    )


def said(verdict: RunVerdict, rule: str) -> Verdict:
    return next(one.verdict for one in verdict.rules if one.rule == rule)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("kept", RUNS, ids=str)
def test_an_edited_run_accuses_nobody(kept: Kept, edit: Edit) -> None:
    """After an edit no further rule is violated, and a run that was violated does not hold."""
    records = list(History(kept.directory))
    before = judge(records)
    for number in range(examples(TRIED)):
        edited = edit(records, random.Random(f"{SEED} {kept} {number}"))
        if edited is not None:
            assert "" == wrong(before, edited), (SEED, number)


def test_each_edit_applies_to_a_run() -> None:
    """None of them is empty for all runs, so that each is tried."""
    draw = random.Random(SEED)
    records = [list(History(kept.directory)) for kept in RUNS]
    assert all(any(edit(one, draw) is not None for one in records) for edit in EDITS)


# -- a record's time against its place ------------------------------------------------------------------------------


def start_before_command(*, later: int) -> list[Record]:
    """Return a run whose Start stands before the host's command, with a time that much later than the command's."""
    records = trace("+cpu S2 C2 V =cpu")
    command = place_of(records, Add, phase="begin")
    start = place_of(records, SyncEnter, nt=2)
    moment = records[command].host_ns
    moved = msgspec.structs.replace(records[start], host_ns=moment + later)
    rest = [*records[:start], *records[start + 1 :]]
    return numbered("", [*rest[:command], moved, *rest[command:]]).records


def test_a_record_of_a_later_time_before_the_command_is_unknown() -> None:
    """The host wrote the command at a time at which the Start, which stands before it, had not arrived."""
    verdict = judge(start_before_command(later=1))
    assert (set(), Verdict.UNKNOWN) == (violated(verdict), said(verdict, "HOST-CAUSE"))
    assert any("is earlier, by the host's clock" in reason for reason in verdict.reasons)


def test_a_record_of_an_earlier_time_before_the_command_is_a_violation() -> None:
    """Time and place agree: the Start had arrived when the command was written."""
    assert "HOST-CAUSE" in violated(judge(start_before_command(later=0)))


def test_a_boot_of_an_earlier_time_behind_the_driver_is_unknown() -> None:
    """The host starts the guest itself, so that this boot stands where it was written; a reset it is told of."""
    (kept,) = [one for one in RUNS if str(one) == "03691fe/twin-restored"]
    records = list(History(kept.directory))
    boot = place_of(records, Boot, cause="restored")
    start = place_of(records, SyncEnter, number=1)
    rest = [*records[:boot], *records[boot + 1 :]]
    said_of = numbered("", [*rest[: start - 1], records[boot], *rest[start - 1 :]]).judged()
    assert (set(), Verdict.UNKNOWN) == (violated(said_of), said_of.verdict)


def test_a_boot_option_told_behind_the_driver_does_not_accuse() -> None:
    """Its processors may have been in other groups for that reason: which of them the option explains is unknown."""
    records = trace("groupsize=2 S2{group=1,max_in_group=8} C2{group=1,max_in_group=8} V")
    option = place_of(records, GuestEvent, event="boot-option")
    rest = [*records[:option], *records[option + 1 :]]
    verdict = numbered("", [*rest[:-1], records[option], rest[-1]]).judged()
    assert (Verdict.VIOLATED, Verdict.UNKNOWN) == (
        said(numbered("", rest).judged(), "NUM-GROUP0"),
        said(verdict, "NUM-GROUP0"),
    )
    assert any("only in record" in reason for reason in verdict.reasons)


def test_groups_that_nobody_told_of_are_unknown() -> None:
    """Windows says itself that the group is one of several: a boot option of an image that was built elsewhere, or a lost record."""
    verdict = judge(trace("S2{group=1,max_in_group=2} C2{group=1,max_in_group=2} V"))
    assert Verdict.UNKNOWN is said(verdict, "NUM-GROUP0")
    assert any("no boot option that makes them was told" in reason for reason in verdict.reasons)


def test_a_lost_start_may_be_the_one_that_allocated() -> None:
    """Of two Starts of a processor the second need not allocate; without the first one's record this is unknown."""
    (kept,) = [one for one in RUNS if str(one) == "be6fca0/twin-violated"]
    records = list(History(kept.directory))
    first = place_of(records, SyncEnter, nt=2)
    lost = numbered("", [*records[:first], *records[first + 1 :]]).judged()
    assert Verdict.UNKNOWN is said(lost, "OB-ALLOC-FREE")


def test_an_add_that_was_agreed_on_is_not_in_flight() -> None:
    """Without the record that it settled, the next add is not said to have come too early."""
    records = trace("+cpu S2 C2 =cpu +cpu S3 C3 V =cpu")
    settled = place_of(records, Add, phase="settled")
    verdict = numbered("", [*records[:settled], *records[settled + 1 :]]).judged()
    assert Verdict.UNKNOWN is said(verdict, "HOST-ONE-AT-A-TIME")


def test_a_moved_record_leaves_what_stands_before_it_judged() -> None:
    """What was shown before the place where times and places part is a violation still; what came later is unknown."""
    records = trace("+cpu S2{irql=2} C2 V =cpu +cpu S3 C3{idx_number=7} V =cpu")
    both = {"SYNC-IRQL-PASSIVE", "NUM-INDEX-AGREES"}
    assert both <= violated(judge(records))
    command = place_of(records, Add, phase="begin", attempt="cpu-2")
    moved = numbered(
        "",
        [*records[:command], *records[command + 1 : command + 3], records[command], *records[command + 3 :]],
    )
    verdict = moved.judged()
    assert ({"SYNC-IRQL-PASSIVE"}, Verdict.UNKNOWN) == (
        violated(verdict) & both,
        said(verdict, "NUM-INDEX-AGREES"),
    )


# -- fields and records that are missing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "field", "lacks"),
    [("reg_async", "cls", "class"), ("reg_async", "reg", "number"), ("reg_sync", "reg", "number")],
)
def test_a_registering_call_without_what_it_must_have_is_no_evidence(
    call: str, field: str, lacks: str
) -> None:
    """Registrations count from 1 (docs/history.md), and IoRegisterPlugPlayNotification takes a class."""
    records = trace("load [ S0 S1 C0 C1 ] async0 Q +cpu S2 C2 V =cpu")
    place = place_of(records, CallEnter, call=call)
    default = "" if field == "cls" else 0
    records[place] = msgspec.structs.replace(records[place], **{field: default})
    verdict = judge(records)
    assert (set(), Verdict.UNKNOWN) == (violated(verdict), verdict.verdict)
    assert any(f"does not give the {lacks}" in reason for reason in verdict.reasons)


def test_a_boot_option_without_its_name_excuses_and_accuses_nobody() -> None:
    """A group other than 0 is legal if an option made groups, and which option there was is not known."""
    records = trace("S2{group=1} C2{group=1}")
    assert "NUM-GROUP0" in violated(judge(records))
    event = GuestEvent(event="boot-option", host_ns=records[1].host_ns)
    verdict = numbered("", [*records[:2], event, *records[2:]]).judged()
    assert Verdict.UNKNOWN is said(verdict, "NUM-GROUP0")


def test_a_driver_without_its_map_is_unknown() -> None:
    """Its hello says that its records were made by a map, and the map that says which fields mean something is missing."""
    records = trace("S2 C2{idx_number=7} V")
    assert "NUM-INDEX-AGREES" in violated(judge(records))
    place = place_of(records, Hello)
    records[place] = msgspec.structs.replace(records[place], version="mapped")
    verdict = judge(records)
    assert (set(), Verdict.UNKNOWN) == (violated(verdict), said(verdict, "NUM-INDEX-AGREES"))


# -- numbers of two channels ----------------------------------------------------------------------------------------


def on_two_channels() -> list[Record]:
    """Return a run on two channels in which an early record has a number behind all others."""
    records = trace("S2 C2 V")
    drivers = [one for one in records if isinstance(one, DriverRecord)]
    wrong_number = msgspec.structs.replace(drivers[2], seq=drivers[-1].seq + 1, channel="kd")
    place = records.index(drivers[2])
    return [*records[:place], wrong_number, *records[place + 1 :]]


def test_a_number_that_contradicts_the_counter_and_the_order_of_arrival_is_unknown() -> None:
    """A record of another channel arrived early with a low count, a low counter, and the highest number."""
    verdict = judge(on_two_channels())
    assert (set(), Verdict.UNKNOWN) == (violated(verdict), said(verdict, "COUNT-MONOTONIC"))
    assert any("one of their numbers is wrong" in reason for reason in verdict.reasons)
