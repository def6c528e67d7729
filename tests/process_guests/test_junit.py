# SPDX-License-Identifier: MIT
"""The JUnit files of real nights on the guest ``host``: the same names every night, and the schema's form."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from report.junit_schema import checked, names, outcome

from harness.cli.main import main

pytestmark = pytest.mark.host

LAB = """
name = "bench"
[[guest]]
name = "host"
[[plan]]
plan = "veto"
repeat = 2
[[plan]]
plan = "./wrong.toml"
[[plan]]
plan = "reload"
[[skip]]
plan = "reload"
why = "https://bugs.example.org/1"
"""
WRONG = 'name = "wrong"\n[[do]]\nop = "add-cpu"\n\n[[do]]\nop = "expect"\ndimms = 3\n'


def night(directory: Path, name: str, *options: str) -> ET.Element:
    """Make a nightly run of the lab and return its JUnit file."""
    into = directory / "kept"
    words = ["nightly", "--once", "--lab", str(directory / "lab.toml"), "--into", str(into), "--name", name]
    assert 1 == main([*words, *options])
    return checked((into / name / "junit.xml").read_bytes())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the lab."""
    directory = tmp_path_factory.mktemp("lab")
    (directory / "lab.toml").write_text(LAB)
    (directory / "wrong.toml").write_text(WRONG)
    return directory


@pytest.fixture(scope="module")
def first(place: Path) -> ET.Element:
    """The first night of the lab, for both tests."""
    return night(place, "n1")


def test_two_nights_of_a_lab_have_the_same_names(place: Path, first: ET.Element) -> None:
    """Each night's root is the lab; its suites are the points of the matrix, what is left out with its reason."""
    second = night(place, "n2")
    assert ["bench", "bench", names(first)] == [first.get("name"), second.get("name"), names(second)]
    suites = {suite.get("name"): suite for suite in first}
    point = "host.process.default"
    assert {f"{point}.veto", f"{point}.veto#2", f"{point}.wrong", f"{point}.reload"} == set(suites)
    assert "https://bugs.example.org/1" == suites[f"{point}.reload"].findtext("testcase/skipped")
    assert [True, True] == [
        float(suites[f"{point}.veto"].get("time", "")) > 0,
        suites[f"{point}.veto"].get("timestamp") is not None,
    ]
    assert ["error", ["EXPECT"]] == [
        outcome(first, "EXPECT", [*suites].index(f"{point}.wrong")),
        [case.get("name") for case in first.iter("testcase") if case.find("error") is not None],
    ]


def test_all_rules_are_there_if_they_are_asked_for(place: Path, first: ET.Element, tmp_path: Path) -> None:
    """By itself a night has the rules that judged something, with --junit-all every rule."""
    every = night(place, "all", "--junit-all")
    assert set(names(first)) < set(names(every))
    kept = place / "kept" / "n1" / "runs"
    report = tmp_path / "x.xml"
    assert 1 == main(["check", str(kept), "--junit", str(report)])
    again = checked(report.read_bytes())
    assert ["harness check", {"host.veto", "host.veto#2", "host.wrong"}] == [
        again.get("name"),
        {suite.get("name") for suite in again},
    ]
