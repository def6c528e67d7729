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


def test_two_nights_of_a_lab_have_the_same_names(tmp_path: Path) -> None:
    """Each night's root is the lab; its suites are the points of the matrix, what is left out with its reason."""
    (tmp_path / "lab.toml").write_text(LAB)
    (tmp_path / "wrong.toml").write_text(WRONG)
    first, second = night(tmp_path, "n1"), night(tmp_path, "n2")
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


def test_all_rules_are_there_if_they_are_asked_for(tmp_path: Path) -> None:
    """By itself a night has the rules that judged something, with --junit-all every rule."""
    (tmp_path / "lab.toml").write_text(LAB)
    (tmp_path / "wrong.toml").write_text(WRONG)
    few, every = night(tmp_path, "n1"), night(tmp_path, "n2", "--junit-all")
    assert set(names(few)) < set(names(every))
    kept = tmp_path / "kept" / "n1" / "runs"
    report = tmp_path / "x.xml"
    assert 1 == main(["check", str(kept), "--junit", str(report)])
    again = checked(report.read_bytes())
    assert ["harness check", {"host.veto", "host.veto#2", "host.wrong"}] == [
        again.get("name"),
        {suite.get("name") for suite in again},
    ]
