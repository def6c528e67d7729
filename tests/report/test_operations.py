# SPDX-License-Identifier: MIT
"""What became of each operation is said in a line, from the records alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.records import ANY_RECORD

from harness.history import record as r
from harness.report.operations import operations


def step(
    index: int, name: str, *inside: r.Record, end: str = "end", detail: str = "", **arguments: Any
) -> list[r.Record]:
    """The records of one operation."""
    begin = r.OperationProgress(index=index, name=name, phase="begin", arguments=arguments)
    if not end:
        return [begin, *inside]
    return [begin, *inside, r.OperationProgress(index=index, name=name, phase=end, detail=detail)]  # type: ignore[arg-type]


def add(attempt: str, phase: Any = "begin", detail: str = "", **fields: Any) -> r.Add:
    """A record of an add."""
    return r.Add(attempt=attempt, phase=phase, what="cpu", device=attempt, slot="2", detail=detail, **fields)


def agreement(
    attempt: str, expected: str, before: int, after: int, *, agreed: bool = True, detail: str = ""
) -> r.Agreement:
    """A record of what came of it."""
    return r.Agreement(
        attempt=attempt, expected=expected, agreed=agreed, qemu_lists=True, ost=[], counted_before=before,
        counted_after=after, detail=detail,
    )  # fmt: skip


def said(*records: list[r.Record]) -> list[str]:
    """Each operation's state and text."""
    return [
        f"{one.state}: {one.index}. {one.text}"
        for one in operations([each for some in records for each in some])
    ]


@pytest.mark.parametrize(
    ("expected", "after", "text"),
    [
        ("added", 3, "added, 2 processors -> 3 processors"),
        ("vetoed", 2, "vetoed, as expected, still 2 processors"),
        ("refused", 2, "refused, as expected, still 2 processors"),
        ("ignored", 2, "ignored by the guest, as expected, still 2 processors"),
    ],
)
def test_an_add_that_went_as_expected(expected: str, after: int, text: str) -> None:
    """It says what was expected and what the guest counts."""
    records = step(1, "add-cpu", add("cpu-1"), agreement("cpu-1", expected, 2, after))
    assert [f"well: 1. add cpu-1 into slot 2: {text}"] == said(records)


def test_a_dimm_is_counted_in_sizes() -> None:
    """Bytes of memory are no processors."""
    dimm = r.Add(attempt="dimm-1", phase="begin", what="dimm", device="d", bytes=256 << 20)
    records = step(1, "add-dimm", dimm, agreement("dimm-1", "added", 512 << 20, 768 << 20))
    assert ["well: 1. add d of 256 MiB: added, 512 MiB -> 768 MiB"] == said(records)


def test_adds_that_are_settled_later() -> None:
    """The outcome goes to the operation that sent the add; a settle that went well is not said."""
    records = [
        step(1, "add-cpu", add("cpu-1"), add("cpu-1", "accepted"), detail="sent"),
        step(2, "add-cpu", add("cpu-2"), add("cpu-2", "accepted"), detail="sent"),
        step(
            3,
            "settle",
            agreement("cpu-1", "added", 2, 3),
            agreement("cpu-2", "added", 2, 2, agreed=False, detail="x"),
        ),
    ]
    assert [
        "well: 1. add cpu-1 into slot 2: added, 2 processors -> 3 processors",
        "badly: 2. add cpu-2 into slot 2: NOT added: x",
    ] == said(*records)


def test_what_is_not_known_to_have_ended_is_open() -> None:
    """A run that was cut, and an add whose reply was lost, are neither well nor badly."""
    cut = said(step(1, "quiesce", end=""))
    lost = said(step(1, "add-cpu", add("cpu-1"), add("cpu-1", "unsure", "the monitor dropped"), end=""))
    assert [["open: 1. quiesce"], ["open: 1. add cpu-1 into slot 2: the monitor dropped"]] == [cut, lost]


def test_an_operation_that_failed_says_why() -> None:
    """The message is its outcome, and it keeps its arguments."""
    records = step(4, "wait-for", end="fail", detail="seen 0", what="start", count=3, timeout=2)
    assert ["badly: 4. wait-for what=start count=3: seen 0"] == said(records)


def test_an_expectation_names_what_differs() -> None:
    """One that is met names everything that was demanded."""
    met = r.Expectation(
        index=1, demanded="starts = 1, completes = 1", seen="starts = 1, completes = 1", met=True
    )
    missed = r.Expectation(
        index=2, demanded="starts = 1, completes = 1", seen="starts = 1, completes = 0", met=False
    )
    assert [
        "well: 1. expect: met, starts = 1, completes = 1",
        "badly: 2. expect completes = 1: NOT met, seen completes = 0",
    ] == said(step(1, "expect", met), step(2, "expect", missed))


@given(st.lists(ANY_RECORD, max_size=30))
def test_any_records_give_printable_lines(records: list[r.Record]) -> None:
    """Nothing in a history makes it fail, or reaches a terminal as it came."""
    assert [] == [one.text for one in operations(records) if not one.text.isprintable()]
