# SPDX-License-Identifier: MIT
"""The document of a comparison: the earliest difference first, steps aligned, and what the runs are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli.test_check import record
from report.page.test_document import NEWEST, strings
from report.records import hot_add

from harness.contract.checker import judge_history
from harness.contract.notation import trace
from harness.errors import UsageError
from harness.history.reader import History
from harness.history.record import End
from harness.report.escape import printable
from harness.report.page.comparison import ComparedReport, comparison_document


def compared(first: Path, second: Path) -> dict[str, Any]:
    """Return the document of two recorded runs; their reports are a.html and b.html beside the page."""
    runs = [
        ComparedReport(history=History(path), verdict=judge_history(History(path)), link=f"./{name}.html")
        for name, path in (("a", first), ("b", second))
    ]
    document, verdict = comparison_document(*runs)
    assert verdict == document["verdict"]
    return document


def test_the_first_difference_of_a_good_and_a_bad_run() -> None:
    """The second Start stands against nothing, and the step after it against its like; each step leads to its record."""
    told = compared(NEWEST / "host-cpu-and-dimm", NEWEST / "twin-violated")
    assert ["differ", "holds", "violated"] == [told["verdict"], *(one["verdict"] for one in told["runs"])]
    first = told["differences"][0]
    assert ("driver 1, load 1, registration 1: order of callbacks", 6, 1) == (
        first["story"],
        first["step"],
        first["before"],
    )
    assert [
        ["same", [5, "Start of processor 2", 49], [5, "Start of processor 2", 65]],
        ["differs", None, [6, "Start of processor 2", 68]],
        ["same", [6, "Complete of processor 2", 52], [7, "Complete of processor 2", 70]],
    ] == first["rows"][3:]
    assert "The first difference is step 6" in told["sentence"]
    kinds = {record.n: record for record in History(NEWEST / "twin-violated")}
    assert [65, 68] == [number for number in (65, 68) if getattr(kinds[number], "state", -1) == 0]


def test_what_happened_earlier_stands_first() -> None:
    """Differences are in the order in which they showed, not in that of their names."""
    told = compared(NEWEST / "host-cpu-and-dimm", NEWEST / "twin-violated")
    moments = [
        min(cell[2] for kind, *cells in one["rows"] if kind == "differs" for cell in cells if cell)
        for one in told["differences"]
    ]
    assert [68, 68, 78] == moments
    for one in told["differences"]:
        first = next(place for place, (kind, *_) in enumerate(one["rows"]) if kind == "differs")
        assert one["step"] == one["before"] + first + 1


def test_runs_that_agree_and_what_they_are_made_of() -> None:
    """Twin and Wine tell the same; that one of them is QEMU stands among what differs, what both have among the same."""
    told = compared(NEWEST / "twin-veto", NEWEST / "wine-veto")
    assert ["agree", []] == [told["verdict"], told["differences"]]
    assert ["Backend", "qemu", "process"] in told["made"]
    assert "Plan" in [name for name, _ in told["same"]]
    assert ["QEMU's list of devices", "the firmware's _OST"] == told["runs"][1]["unshown"]
    assert len(told["agreed"]) > 3


def test_an_end_that_came_early_leaves_it_unknown(tmp_path: Path) -> None:
    """What is there agrees; nobody knows the rest."""
    whole = record(tmp_path / "whole", hot_add().records)
    cut = record(tmp_path / "cut", [one for one in hot_add().records if not isinstance(one, End)])
    told = compared(whole, cut)
    assert ["unknown", [], ["the history has no end"]] == [
        told["verdict"],
        told["differences"],
        told["runs"][1]["missing"],
    ]
    assert "ended early" in told["sentence"]


def test_runs_of_different_plans_are_refused() -> None:
    """There is nothing to align."""
    with pytest.raises(UsageError, match="different plans"):
        compared(NEWEST / "twin-veto", NEWEST / "twin-demo")


def test_a_long_story_is_cut_and_says_so(tmp_path: Path) -> None:
    """Some steps before the first difference are shown, a bounded number after it, and the others are counted."""
    few, many = (
        record(tmp_path / name, trace(f"+cpu S2{{alloc=1}} C2 V mark {more} Q"))
        for name, more in (("few", ""), ("many", "S3 C3 " * 200))
    )
    told = compared(few, many)
    first = max(told["differences"], key=lambda one: one["after"])
    assert len(first["rows"]) <= 64
    assert first["before"] + 64 + first["after"] >= 400


def test_texts_of_guests_are_printable(tmp_path: Path) -> None:
    """Whatever is shown of a run was made printable."""
    told = compared(NEWEST / "twin-hangs", NEWEST / "twin-hangs")
    assert [] == [text for text in strings(told) if text != printable(text, len(text))]
