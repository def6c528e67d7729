# SPDX-License-Identifier: MIT
"""The morning summary: ten lines at most, each incident in one, and nothing that a guest said is markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lab.lab_document import KnownRow
from harness.store.morning import MOST_LINES, SORTS, morning, unkept
from harness.store.questions.incidents import IncidentLine
from harness.store.questions.nightly_comparison import ComparedNightly, NightlyComparison


def incident(name: str, **more: object) -> IncidentLine:
    """Return an incident of one run."""
    said: dict[str, object] = {
        "signature": name, "rule": name, "failure_class": "contract", "witness": "w", "runs": 1, "first": "", "last": "",
        "points": ["twin.q.t.veto"], "run": "/runs/a",
    }  # fmt: skip
    return IncidentLine(**(said | more))  # type: ignore[arg-type]


def nightly(**lists: list[IncidentLine]) -> NightlyComparison:
    """Return a nightly run with these incidents."""
    night = ComparedNightly(
        name="n", lab="lab", started="", cells=9, done=9, seconds=90, counts={"holds": 9}, directory="/n"
    )
    every: dict[str, list[IncidentLine]] = {name: [] for name in (*SORTS, "not_run")}
    return NightlyComparison(night=night, before=None, **(every | lists))


def test_each_sort_has_its_line() -> None:
    """Also those that are empty, so that nobody has to guess."""
    lines = morning(nightly(new=[incident("A")])).lines
    assert ["lab n", "new 1", "still 0", "gone 0", "flaky 0", "infrastructure 0", "reproduce"] == [
        one.about for one in lines
    ]


def test_a_hundred_incidents_are_ten_lines() -> None:
    """Three that are new, one of each other sort, the head and the command; what has no line is counted."""
    many = [incident(f"R{number}") for number in range(100)]
    found = morning(nightly(**dict.fromkeys(SORTS, many)))
    text = found.text()
    assert len(text.splitlines()) <= MOST_LINES
    assert (10, "; and 97 more", "; and 99 more") == (
        len(text.splitlines()), text.splitlines()[3][-13:], text.splitlines()[4][-13:],
    )  # fmt: skip


def test_a_plan_that_a_run_refused_is_no_infrastructure() -> None:
    """It has a line of its own, only where there is one."""
    lines = morning(nightly(plan=[incident("A", failure_class="plan")])).lines
    assert [("infrastructure 0", True), ("plan 1", False)] == [
        (one.about, one.said == "-") for one in lines if one.about.split()[0] in ("infrastructure", "plan")
    ]


def test_exploring_has_a_line() -> None:
    """One line, also beside a hundred incidents."""
    many = [incident(f"R{number}") for number in range(100)]
    found = morning(nightly(**dict.fromkeys(SORTS, many)), explored="9 plans; nothing new")
    assert [one.said for one in found.lines if one.about == "exploring"] == ["9 plans; nothing new"]
    assert len(found.lines) == MOST_LINES
    assert [2, "reproduce"] == [
        sum(one.about == "new 100" for one in found.lines), found.lines[-1].about
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({"rule": "A", "plan": "veto"}, True),
        ({"rule": "A", "plan": "reset"}, False),
        ({"guest": "twin"}, True),
    ],
)
def test_a_known_issue_has_its_url(row: dict[str, str], known: bool) -> None:
    """If all that is said of it matches."""
    url = "https://bugs.example.org/7"
    said = morning(nightly(new=[incident("A")]), [KnownRow(url=url, **row)]).text()
    assert known is (f"known: {url}" in said)


HOSTILE = st.text(alphabet=st.sampled_from("<>&'\"*_[]()!|`#\\ \n\r\x1b\u202e\0a"), max_size=80)


@given(HOSTILE)
def test_what_a_guest_said_is_no_markup(said: str) -> None:
    """Whatever it is: ten lines of text, well-formed HTML of the same elements, and no Markdown."""
    plain, hostile = (
        morning(nightly(new=[incident("A", witness="w")])),
        morning(nightly(new=[incident("A", witness=said)])),
    )
    trees = [
        ET.fromstring(each.html().replace("<!DOCTYPE html>\n", "").replace('<meta charset="utf-8">', ""))
        for each in (plain, hostile)
    ]
    tags = [[one.tag for one in tree.iter()] for tree in trees]
    assert tags[0] == tags[1]
    assert len(plain.text().splitlines()) == len(hostile.text().splitlines())
    line = hostile.markdown().splitlines()[1]
    inner = line.split("**: ", 1)[1]
    assert not any(sign in inner.replace("\\" + sign, "") for sign in "<>*_[]`|#!&")


def test_a_nightly_run_that_is_in_no_store_has_its_own_lines() -> None:
    """The first ten."""
    assert (10, "b") == (
        len(unkept(["a", "", " b", *"cdefghijklm"]).lines),
        unkept(["a", "", " b"]).lines[1].said,
    )
