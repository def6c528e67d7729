# SPDX-License-Identifier: MIT
"""JUnit XML: of the documented schema, red exactly where a run does not hold, one cause one red case, and safe to read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.junit_schema import SCHEMA, checked, names, outcome
from report.records import ANY_TEXT, hot_add

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import Finding, Judged, Level, RuleVerdict, RunVerdict, Verdict, Witness
from harness.errors import ExitCode, FailureClass
from harness.history.record import OperationProgress
from harness.report.junit import LONGEST, MOST_LINES, JUnit, write

XS = "{http://www.w3.org/2001/XMLSchema}"

TYPECAST = {
    "symbol", "date", "datetime", "duration", "integer", "float", "decimal", "boolean", "string", "yaml", "base64Binary",
    "hexBinary", "file", "array",
}  # fmt: skip
"""Values of an attribute ``type`` that Rails' Hash.from_xml, GitLab's reader, converts or refuses (ActiveSupport::XmlMini)."""


def result(verdict: RunVerdict, **fields: object) -> Judged:
    """A run that was judged."""
    judged = Judged(
        path=Path("runs/r 1"), exit_code=verdict.exit_code, verdict=verdict, guest=verdict.guest,
        started="2026-11-29T09:50:02Z", seconds=1.25,
    )  # fmt: skip
    return msgspec.structs.replace(judged, **fields)


def unreadable(error: str, **fields: object) -> Judged:
    """A run that was not."""
    judged = Judged(path=Path("runs/none"), exit_code=ExitCode.USAGE, error=error, hint="look\nthere")
    return msgspec.structs.replace(judged, **fields)


def parsed(*runs: Judged, everything: bool = False) -> ET.Element:
    """The document of these runs, as a reader sees it."""
    junit = JUnit(everything=everything)
    for run in runs:
        junit.add(run)
    return checked(junit.document())


def of(
    *rules: RuleVerdict,
    verdict: Verdict = Verdict.VIOLATED,
    findings: list[Finding] | None = None,
    blame: str = "",
) -> Judged:
    """A run of these rules."""
    return result(
        RunVerdict(
            run="r", guest="twin", verdict=verdict, reasons=[f"{rule.rule}: because" for rule in rules], rules=[*rules],
            findings=findings or [], failure_class=blame,
        )
    )  # fmt: skip


def of_level(level: Level, verdict: Verdict = Verdict.VIOLATED, rule: str = "X") -> RuleVerdict:
    """A rule that judged something once."""
    return RuleVerdict(
        rule=rule, level=level, verdict=verdict, source="", exercised=1,
        reason="" if verdict is Verdict.HOLDS else "because",
    )  # fmt: skip


@pytest.mark.parametrize(
    "element",
    [
        element
        for element in ET.parse(SCHEMA).iter()
        if element.tag in (f"{XS}attribute", f"{XS}element") and "name" in element.attrib
    ],
    ids=lambda element: element.attrib["name"],
)
def test_the_schema_cites_what_a_reader_documents(element: ET.Element) -> None:
    """Each element and attribute names the page, class or schema of GitLab or Jenkins that takes it, and what there."""
    cited = element.findtext(f"{XS}annotation/{XS}documentation") or ""
    for source in cited.rstrip(".").split("; "):
        assert re.fullmatch(r"(GITLAB|JENKINS (SuiteResult|CaseResult|TestResult)|XUNIT)\b.*", source), source


@pytest.mark.parametrize(
    ("text", "ran", "red"),
    [
        ("S2 C2 V", "system-out", []),
        ("C2", "system-out", ["failure"]),
        ("C2 S2", "system-out", ["failure"]),
        ("S2 lose C2", "error", ["error"]),
        ("S2 C2", "error", ["error"]),
        ("+cpu =cpu", "error", ["error"]),
    ],
)
def test_a_suite_is_red_exactly_if_the_run_does_not_hold(text: str, ran: str, red: list[str]) -> None:
    """A violation is the failure of the rule that tells it; a run that proves too little is the error of the run."""
    root = parsed(result(judge(trace(text))))
    assert [ran, red] == [
        outcome(root, "run"),
        [child.tag for case in root.iter("testcase") for child in case if child.tag in ("failure", "error")],
    ]


def test_a_run_that_proved_nothing_is_red_though_no_rule_is_to_blame() -> None:
    """Without a rule that was kept there is no green suite."""
    run = of(verdict=Verdict.UNKNOWN)
    assert "error" == outcome(parsed(run), "run")


def test_a_violated_run_is_red_though_no_rule_says_so() -> None:
    """A verdict whose rules are not there makes the run itself an error."""
    assert "error" == outcome(parsed(of()), "run")


def test_a_rule_is_a_case_if_it_judged_something() -> None:
    """A broken rule fails with its records, an unknown one is skipped, one without matter is left out, the rest pass."""
    violated, unknown = parsed(result(judge(trace("C2")))), parsed(result(judge(trace("S2 lose C2"))))
    held = judge(trace("S2 C2 V"))
    assert ["failure", "skipped", "absent", "skipped", "", "system-out"] == [
        outcome(violated, "SYNC-START-BEFORE-COMPLETE"),
        outcome(unknown, "CAP-NO-LOSS"),
        outcome(parsed(result(held)), "REBAL-ORDER"),
        outcome(parsed(result(held), everything=True), "REBAL-ORDER"),
        outcome(parsed(result(held)), "SYNC-IRQL-PASSIVE"),
        outcome(parsed(result(held)), "NUM-IS-OLD-COUNT"),
    ]
    (failure,) = violated.iter("failure")
    assert "E1 = record " in (failure.text or "")


def test_the_properties_count_what_is_left_out() -> None:
    """All rules are counted; with everything, each is a case."""
    verdict = judge(trace("S2 C2 V"))
    root = parsed(result(verdict), everything=True)
    counted = {one.attrib["name"]: one.attrib["value"] for one in root.iter("property")}
    exercised = sum(rule.exercised > 0 for rule in verdict.rules)
    assert [str(len(verdict.rules)), str(exercised), len(verdict.rules) + 1, exercised + 1] == [
        counted["rules"],
        counted["rules exercised"],
        len(list(root.iter("testcase"))),
        len(list(parsed(result(verdict)).iter("testcase"))),
    ]


def test_a_skip_says_why_to_either_reader() -> None:
    """The reason is the checker's, as the text and as the attribute, and is said once."""
    verdict = judge(trace("S2 C2 V"))
    (rule,) = [rule for rule in verdict.rules if rule.rule == "REBAL-ORDER"]
    root = parsed(result(verdict), everything=True)
    (skipped,) = [
        case[0] for case in root.iter("testcase") if len(case) and case.get("name") == "REBAL-ORDER"
    ]
    assert rule.reason.startswith("not applicable, because ")
    assert [rule.reason, rule.reason] == [skipped.text, skipped.get("message")]


@pytest.mark.parametrize(
    ("level", "verdict", "tag"),
    [
        (Level.ERROR, Verdict.VIOLATED, "failure"),
        (Level.ERROR_DRIVER, Verdict.VIOLATED, "failure"),
        (Level.ERROR_HARNESS, Verdict.VIOLATED, "error"),
        (Level.GATE, Verdict.VIOLATED, "error"),
        (Level.WARN, Verdict.VIOLATED, "system-out"),
        (Level.POLICY, Verdict.VIOLATED, "system-out"),
        (Level.GATE, Verdict.UNKNOWN, "skipped"),
        (Level.ERROR, Verdict.UNKNOWN, "skipped"),
        (Level.WARN, Verdict.UNKNOWN, "skipped"),
        (Level.ERROR, Verdict.NOT_APPLICABLE, "skipped"),
        (Level.ERROR, Verdict.HOLDS, ""),
    ],
)
def test_a_verdict_decides_what_becomes_of_a_case(level: Level, verdict: Verdict, tag: str) -> None:
    """Failures are for what the contract and the driver promise, errors for the run, skips for what cannot be told."""
    assert tag == outcome(parsed(of(of_level(level, verdict), verdict=Verdict.HOLDS)), "X")


def test_one_cause_is_one_red_case() -> None:
    """Complete on the new processor before Start breaks three rules: the first tells it, the others' skips name that one."""
    verdict = judge(trace("cpus=2 [S0 S1 C0 C1] Q +cpu C2{cpu=2} S2"))
    broken = [
        rule.rule for rule in verdict.rules if rule.verdict is Verdict.VIOLATED and rule.level is Level.ERROR
    ]
    root = parsed(result(verdict))
    assert ["SYNC-START-BEFORE-COMPLETE", "SYNC-BARRIER", "NO-RUN-BEFORE-START-DONE"] == broken
    assert ["failure", "skipped", "skipped"] == [outcome(root, rule) for rule in broken]
    (barrier,) = [case[0] for case in root.iter("testcase") if case.get("name") == "SYNC-BARRIER"]
    assert (barrier.text or "").startswith("the same cause as SYNC-START-BEFORE-COMPLETE: registration 1 of ")


def test_a_missed_expectation_of_a_violated_run_is_no_failure_of_its_own() -> None:
    """The plan expected what the broken contract did not deliver; alone, a missed expectation is the run's error."""
    broken, expected = of_level(Level.ERROR), of_level(Level.ERROR_HARNESS, rule="EXPECT")
    both = parsed(of(broken, expected, blame=FailureClass.CONTRACT))
    assert ["failure", "skipped", "error"] == [
        outcome(both, "X"),
        outcome(both, "EXPECT"),
        outcome(parsed(of(expected, blame="unknown")), "EXPECT"),
    ]


@pytest.mark.parametrize("blame", [*FailureClass])
def test_a_run_that_ended_early_is_an_error_of_its_class(blame: FailureClass) -> None:
    """The class is the type, what ended the run the message; no class is a word that a reader converts."""
    run = of(of_level(Level.ERROR, Verdict.UNKNOWN), verdict=Verdict.UNKNOWN, blame=blame)
    root = parsed(msgspec.structs.replace(run, ended="QEMU exited with 7"))
    (error,) = root.iter("error")
    assert [str(blame), "QEMU exited with 7"] == [error.get("type"), error.get("message")]
    assert "X: because" in (error.text or "")
    assert str(blame) not in TYPECAST


def test_a_run_that_cannot_be_read_is_one_error() -> None:
    """Its suite has one case, which says why and what to do, under the name that its run.json gives."""
    root = parsed(
        unreadable("no such file", guest="twin", plan="veto", seconds=3.5), result(judge(trace("S2 C2 V")))
    )
    (error,) = root[0].iter("error")
    assert [[("twin.veto", "twin.veto", "run")], "no such file", "no such file\nlook\nthere", "3.500"] == [
        names(root[:1]),  # type: ignore[arg-type]
        error.get("message"),
        error.text,
        root[0].get("time"),
    ]


def test_a_suite_says_when_its_run_began_and_how_long_it_took() -> None:
    """The time is the run's own, once: rules take none; a time that is none is left out, and one beyond measure cut."""
    verdict = judge(trace("S2 C2 V"))
    root = parsed(result(verdict), result(verdict, started="2026-99-29T09:50:02Z", seconds=1e99))
    assert [("2026-11-29T09:50:02Z", "1.250"), (None, "1000000000.000")] == [
        (suite.get("timestamp"), suite.get("time")) for suite in root
    ]
    assert ["1.250", {"0.000"}] == [
        root[0].findall("testcase")[0].get("time"),
        {case.get("time") for case in root[0].findall("testcase")[1:]},
    ]


class AskedSet(set[str]):
    """Counts how often it is asked for a name."""

    asked = 0

    def __contains__(self, name: object) -> bool:
        self.asked += 1
        return super().__contains__(name)


def test_naming_a_run_is_no_slower_for_many_of_its_plan() -> None:
    """Each run of 500 of one plan asks for its name and the next number only, and all names differ."""
    junit = JUnit()
    junit._labels = labels = AskedSet()
    for _ in range(500):
        junit.skip("twin.veto", "not run")
    assert (500, True) == (len(labels), labels.asked <= 2 * 500)


def test_names_say_what_was_run_and_nothing_of_this_run() -> None:
    """Guest and plan name the suite; a second run of a plan is told apart; times, runs and paths are elsewhere."""
    verdict = judge(trace("S2 C2 V"))
    runs = [result(verdict, plan=plan) for plan in ("veto", "veto", "burst", "", "my plan/x", "veto#2")]
    assert [
        "twin.veto",
        "twin.veto#2",
        "twin.burst",
        "twin.run",
        "twin.my-plan-x",
        "twin.veto#2#2",
    ] == [suite.get("name") for suite in parsed(*runs)]
    later = [
        msgspec.structs.replace(
            run, path=Path(f"elsewhere/{n}"), started="2027-01-01T00:00:00Z", seconds=n,
            verdict=msgspec.structs.replace(verdict, run=f"another-{n}"),
        )
        for n, run in enumerate(runs)
    ]  # fmt: skip
    assert names(parsed(*runs)) == names(parsed(*later))


def test_a_run_that_was_not_made_is_skipped_with_its_reason() -> None:
    """Under the name that it would have had."""
    junit = JUnit("our-lab")
    junit.skip("twin.debian.small.veto", "https://bugs.example.org/1")
    root = checked(junit.document())
    (skipped,) = root.iter("skipped")
    assert ["our-lab", [("twin.debian.small.veto", "twin.debian.small.veto", "run")], skipped.text] == [
        root.get("name"),
        names(root),
        "https://bugs.example.org/1",
    ]


@given(
    text=ANY_TEXT
    | st.sampled_from(["]]>", "<!--", "&#0;", "\x00\x1b\ud800\ufffe", '"\n\t\r', "[[ATTACHMENT|x]]"])
)
def test_hostile_strings_leave_the_document_well_formed(text: str) -> None:
    """Whatever a history says, a parser reads the same shape, with no control character, lone surrogate or link."""
    finding = Finding(
        rule=text, level=Level.ERROR, verdict=Verdict.VIOLATED, reason=text, attempt=text, chain=[text], clock=text,
        witnesses=[Witness(name=text, record=1, text=text)],
    )  # fmt: skip
    rule = RuleVerdict(
        rule=text,
        level=Level.ERROR,
        verdict=Verdict.VIOLATED,
        source=text,
        reason=text or "x",
        times=9,
        exercised=9,
    )
    verdict = RunVerdict(
        run=text, guest=text, verdict=Verdict.VIOLATED, reasons=[text], rules=[rule], findings=[finding],
    )  # fmt: skip
    root = parsed(
        result(verdict, plan=text, build=text, started=text, ended=text), unreadable(text or "x", guest=text)
    )
    strings = [
        *(element.text or "" for element in root.iter()),
        *(v for e in root.iter() for v in e.attrib.values()),
    ]
    assert [] == [string for string in strings if not string.replace("\n", "").isprintable()]
    assert [] == [string for string in strings if "[[ATTACHMENT|" in string]


def test_a_real_history_with_hostile_names_is_well_formed() -> None:
    """Names in records reach the document through the checker's own sentences."""
    records = [
        msgspec.structs.replace(record, driver="<&\"'\x00\x9b]]>") if hasattr(record, "driver") else record
        for record in hot_add(start=False).records
    ]
    root = parsed(result(judge(records)))
    text = "".join(element.text or "" for element in root.iter("failure"))
    assert "<&\"'\\x00\\x9b]]>" in text


def test_a_case_is_of_bounded_size() -> None:
    """A run with reasons without end is cut, and says by how much."""
    verdict = RunVerdict(
        run="r", guest="twin", verdict=Verdict.UNKNOWN, reasons=["x" * 9999] * 5000, rules=[]
    )
    (error,) = parsed(result(verdict)).iter("error")
    lines = (error.text or "").split("\n")
    assert [MOST_LINES + 1, f"… and {5001 - MOST_LINES} more lines"] == [len(lines), lines[-1]]
    assert max(map(len, lines)) <= LONGEST + len("…(+9999)")


def test_a_file_is_replaced_whole_and_a_device_is_written_to(tmp_path: Path) -> None:
    """An old report never mixes with a new one; /dev/null is not replaced by a file."""
    target = tmp_path / "report.xml"
    target.write_bytes(b"x" * 100)
    write(target, b"new")
    write(Path("/dev/null"), b"new")
    assert [b"new", [target], True] == [
        target.read_bytes(), list(tmp_path.iterdir()), Path("/dev/null").is_char_device()
    ]  # fmt: skip


def test_the_command_goes_as_far_as_the_operation_of_the_finding(tmp_path: Path) -> None:
    """As in the explanation on a terminal; the suite's property does the whole run again."""
    run = tmp_path / "r"
    run.mkdir()
    (run / "run.json").write_text('{"argv": ["harness", "run", "p"], "plan": {"name": "p"}}')
    records = [*trace("C2 V")]
    last = max(place for place, record in enumerate(records) if record.__struct_config__.tag == "sync.enter")
    begun = [OperationProgress(index=n, name="add-cpu", phase="begin") for n in (1, 2)]
    numbered = [
        msgspec.structs.replace(record, n=n)
        for n, record in enumerate([*records[:last], *begun, *records[last:]], 1)
    ]
    (run / "history.jsonl").write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in numbered))
    root = parsed(result(judge(numbered), path=run))
    assert f"Reproduce:  harness repro {run} --step 3" in (root.findtext(".//failure") or "").splitlines()
    assert [f"harness repro {run}"] == [
        one.get("value") for one in root.iter("property") if one.get("name") == "reproduce"
    ]
