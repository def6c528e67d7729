# SPDX-License-Identifier: MIT
"""Histories written by hand get the verdict that was written down for them (``written.toml``)."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import Verdict
from harness.history.record import (
    Add,
    Agreement,
    Channel,
    Console,
    Count,
    End,
    Expectation,
    GuestEvent,
    Record,
)

WRITTEN = tomllib.loads(Path(__file__).with_name("written.toml").read_text(encoding="utf-8"))["history"]

CLEAN = "+cpu S2 C2 V =cpu Q"

Edit = Callable[[Record], Record]


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: written["trace"])
def test_the_verdict_is_right(written: dict[str, str]) -> None:
    """The verdict is one of those that are right, the rule is among the violated, the failure class is the given one."""
    said = judge(trace(written["trace"]))
    violated = {rule.rule for rule in said.rules if rule.verdict is Verdict.VIOLATED}
    right = (
        said.verdict.value in written["verdict"].split("|"),
        written.get("rule") in (None, *violated),
        written.get("blame") in (None, said.failure_class),
    )
    assert (True, True, True) == right, (said.verdict, said.failure_class, violated, said.reasons)


def edit(kind: type[Record], where: Callable[[Any], bool] = lambda _: True, **fields: object) -> Edit:
    """Return what replaces fields of the records of a kind."""

    def edited(record: Record) -> Record:
        return (
            msgspec.structs.replace(record, **fields)
            if isinstance(record, kind) and where(record)
            else record
        )

    return edited


DISPROVED: dict[str, tuple[str, Edit]] = {
    "QEMU refuses a command and its processor is announced":
        (CLEAN, edit(Add, lambda add: add.phase == "accepted", phase="refused")),
    "a command begins as one for a DIMM and settles as one for a processor":
        (CLEAN, edit(Add, lambda add: add.phase == "begin", what="dimm")),
    "one command adds three processors":
        (CLEAN, edit(Agreement, counted_after=5)),
    "before the first command the guest counts more than at the baseline":
        ("+cpu S2! F2 =cpu Q", edit(Agreement, counted_before=3, counted_after=3)),
    "the guest counts fewer processors than its driver":
        ("+cpu S2 C2 V =cpu Q work Q", edit(Agreement, counted_before=1, counted_after=2)),
    "an expectation is met by what was not demanded":
        (CLEAN + " expect.", edit(Expectation, seen="processors=2")),
    "an expectation is not met by what was demanded":
        (CLEAN + " expect!", edit(Expectation, demanded="processors=3", seen="processors=3")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "edited"), DISPROVED.values(), ids=DISPROVED.keys())
def test_a_history_that_disproves_itself_is_unknown(text: str, edited: Edit) -> None:
    before = trace(text)
    after = [edited(record) for record in before]
    assert after != before
    assert judge(after).verdict is Verdict.UNKNOWN


def numbered(records: list[Record]) -> list[Record]:
    """The records numbered anew, after one was put in or moved."""
    return [
        msgspec.structs.replace(record, n=n, host_ns=1_000_000 * n) for n, record in enumerate(records, 1)
    ]


def test_records_behind_the_account_of_their_channel_are_unknown() -> None:
    run = trace(CLEAN)
    account = next(record for record in run if isinstance(record, Channel))
    run.remove(account)
    run.insert(20, account)
    verdict = judge(numbered(run))
    assert (Verdict.UNKNOWN, True) == (
        verdict.verdict,
        any("after its account" in why for why in verdict.reasons),
    )


@pytest.mark.parametrize("severity", ["crash", "warning"])
def test_a_run_whose_guest_told_of_its_crash_does_not_hold(severity: Literal["crash", "warning"]) -> None:
    run = trace(CLEAN)
    end = next(place for place, record in enumerate(run) if isinstance(record, End))
    run.insert(end, Console(text="BUG: unable to handle page fault", severity=severity))
    assert (severity == "warning") == (judge(numbered(run)).verdict is Verdict.HOLDS)


def test_each_of_these_is_clean_before_it_is_edited() -> None:
    """Otherwise unknown would say nothing of the edit."""
    for text in {text for text, _ in DISPROVED.values() if "expect" not in text and "!" not in text}:
        assert judge(trace(text)).verdict is Verdict.HOLDS


@pytest.mark.parametrize("what", ["count", "event"])
def test_what_the_host_tells_beside_is_no_contradiction(what: str) -> None:
    run = trace(CLEAN)
    told = GuestEvent(event="note", detail="x") if what == "event" else Count(processors=3, memory=0)
    end = next(place for place, record in enumerate(run) if isinstance(record, End))
    run.insert(end, told)
    assert judge(numbered(run)).verdict is Verdict.HOLDS
