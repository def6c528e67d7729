# SPDX-License-Identifier: MIT
"""JUnit XML: the shape that readers expect, red exactly where a run does not hold, and safe whatever a guest wrote."""

import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.records import ANY_TEXT, hot_add

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import Finding, Judged, Level, RuleVerdict, RunVerdict, Verdict, Witness
from harness.errors import ExitCode
from harness.report.junit import JUnit, write

SHAPE = {
    "testsuites": ({"name", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped"}, {"properties", "testcase"}),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"classname", "name"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}
"""Each element of the common JUnit schema that is used: its attributes, all of them present, and its children."""

COUNTS = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


def result(verdict: RunVerdict, **fields: object) -> Judged:
    """A run that was judged."""
    return msgspec.structs.replace(
        Judged(path=Path("runs/r 1"), exit_code=verdict.exit_code, verdict=verdict), **fields
    )


def unreadable(error: str) -> Judged:
    """A run that was not."""
    return Judged(path=Path("runs/none"), exit_code=ExitCode.USAGE, error=error, hint="look\nthere")


def parsed(*runs: Judged) -> ET.Element:
    """The document of these runs, as a reader sees it; its shape and its counts are checked."""
    junit = JUnit()
    for run in runs:
        junit.add(run)
    root = ET.fromstring(junit.document())
    for element in root.iter():
        attributes, children = SHAPE[element.tag]
        assert attributes == set(element.keys())
        assert {child.tag for child in element} <= children
    for case in root.iter("testcase"):
        assert len(case) <= 1
    for suite in root:
        assert [child.tag for child in suite][:1] == ["properties"]
    for scope in [root, *root]:
        for name, tag in COUNTS.items():
            if scope.get(name) is not None:
                assert str(len(list(scope.iter(tag)))) == scope.get(name)
    return root


def outcome(root: ET.Element, name: str) -> str:
    """What came of the test case of this name: the tag of its only child, "" if it passed in silence."""
    case = next(case for case in root.iter("testcase") if case.get("name") == name)
    return case[0].tag if len(case) else ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("S2 C2 V", ""),
        ("C2", "failure"),
        ("S2 lose C2", "error"),
        ("S2 C2", "error"),
        ("+cpu =cpu", "error"),
    ],
)
def test_a_suite_is_red_exactly_if_the_run_does_not_hold(text: str, expected: str) -> None:
    """The case called verdict is red, and so is at least one rule."""
    root = parsed(result(judge(trace(text))))
    red = int(root.get("failures", "")) + int(root.get("errors", ""))
    assert [expected, expected != ""] == [outcome(root, "verdict"), red > 1]


def test_a_run_that_proved_nothing_is_red_though_no_rule_is_to_blame() -> None:
    """Without a rule that was kept there is no green suite."""
    verdict = RunVerdict(
        run="r", guest="twin", verdict=Verdict.UNKNOWN, reasons=["nothing happened"], rules=[]
    )
    assert "error" == outcome(parsed(result(verdict)), "verdict")


def test_every_rule_is_a_case_and_its_verdict_decides_what_becomes_of_it() -> None:
    """A broken rule fails with its records, an unknown gate is an error, a rule without matter is skipped, the rest pass."""
    violated, unknown = parsed(result(judge(trace("C2")))), parsed(result(judge(trace("S2 lose C2"))))
    held = parsed(result(judge(trace("S2 C2 V"))))
    assert ["failure", "error", "skipped", "", "system-out"] == [
        outcome(violated, "SYNC-START-BEFORE-COMPLETE"),
        outcome(unknown, "CAP-NO-LOSS"),
        outcome(held, "REBAL-ORDER"),
        outcome(held, "SYNC-IRQL-PASSIVE"),
        outcome(held, "NUM-IS-OLD-COUNT"),
    ]
    failure = next(
        case for case in violated.iter("testcase") if case.get("name") == "SYNC-START-BEFORE-COMPLETE"
    )[0]
    assert "E1 = record " in (failure.text or "")
    assert len(judge(trace("C2")).rules) + 1 == len(list(violated.iter("testcase")))


@pytest.mark.parametrize(
    ("level", "verdict", "tag"),
    [
        (Level.ERROR, Verdict.VIOLATED, "failure"),
        (Level.ERROR_DRIVER, Verdict.VIOLATED, "failure"),
        (Level.WARN, Verdict.VIOLATED, "system-out"),
        (Level.POLICY, Verdict.VIOLATED, "system-out"),
        (Level.GATE, Verdict.UNKNOWN, "error"),
        (Level.WARN, Verdict.UNKNOWN, "skipped"),
        (Level.OBSERVE, Verdict.UNKNOWN, "skipped"),
        (Level.ERROR, Verdict.NOT_APPLICABLE, "skipped"),
        (Level.ERROR, Verdict.HOLDS, ""),
    ],
)
def test_what_changes_no_verdict_is_never_red(level: Level, verdict: Verdict, tag: str) -> None:
    """Only what can make a run violated or unknown is a failure or an error."""
    rule = RuleVerdict(
        rule="X", level=level, verdict=verdict, source="", reason="" if tag == "" else "because"
    )
    run = RunVerdict(run="r", guest="twin", verdict=Verdict.HOLDS, reasons=[], rules=[rule])
    assert tag == outcome(parsed(result(run)), "X")


def test_a_run_that_cannot_be_read_is_one_error() -> None:
    """Its suite has one case, which says why and what to do."""
    root = parsed(unreadable("no such file"), result(judge(trace("S2 C2 V"))))
    error = root[0].find("testcase/error")
    assert error is not None
    assert ["1", "no such file", "no such file\nlook\nthere"] == [
        root[0].get("tests"),
        error.get("message"),
        error.text,
    ]


def test_cases_have_the_same_name_in_the_next_nightly_run() -> None:
    """The class is guest and plan, not the run's own name; a second run of a plan is told apart."""
    verdict = judge(trace("S2 C2 V"))
    runs = [result(verdict, plan=plan) for plan in ("veto", "veto", "burst", "")]
    classes = [next(suite.iter("testcase")).get("classname") for suite in parsed(*runs)]
    assert ["twin.veto", "twin.veto#2", "twin.burst", "twin.example"] == classes


@given(text=ANY_TEXT | st.sampled_from(["]]>", "<!--", "&#0;", "\x00\x1b\ud800\ufffe", '"\n\t\r']))
def test_hostile_strings_leave_the_document_well_formed(text: str) -> None:
    """Whatever a history says, a parser reads the same shape, and no control character or lone surrogate is in it."""
    finding = Finding(
        rule=text, level=Level.ERROR, verdict=Verdict.VIOLATED, reason=text, attempt=text, chain=[text], clock=text,
        witnesses=[Witness(name=text, record=1, text=text)],
    )  # fmt: skip
    rule = RuleVerdict(
        rule=text, level=Level.ERROR, verdict=Verdict.VIOLATED, source=text, reason=text, times=9
    )
    verdict = RunVerdict(
        run=text, guest=text, verdict=Verdict.VIOLATED, reasons=[text], rules=[rule], findings=[finding],
        failure_class=text,
    )  # fmt: skip
    root = parsed(result(verdict, plan=text, build=text), unreadable(text))
    strings = [
        *(element.text or "" for element in root.iter()),
        *(v for e in root.iter() for v in e.attrib.values()),
    ]
    assert [] == [string for string in strings if not string.replace("\n", "").isprintable()]


def test_a_real_history_with_hostile_names_is_well_formed() -> None:
    """Names in records reach the document through the checker's own sentences."""
    records = [
        msgspec.structs.replace(record, driver="<&\"'\x00\x9b]]>") if hasattr(record, "driver") else record
        for record in hot_add(start=False).records
    ]
    root = parsed(result(judge(records)))
    text = "".join(element.text or "" for element in root.iter("failure"))
    assert "<&\"'\\x00\\x9b]]>" in text


def test_a_file_is_replaced_whole_and_a_device_is_written_to(tmp_path: Path) -> None:
    """An old report never mixes with a new one; /dev/null is not replaced by a file."""
    target = tmp_path / "report.xml"
    target.write_bytes(b"x" * 100)
    write(target, b"new")
    write(Path("/dev/null"), b"new")
    assert [b"new", [target], True] == [
        target.read_bytes(), list(tmp_path.iterdir()), Path("/dev/null").is_char_device()
    ]  # fmt: skip
