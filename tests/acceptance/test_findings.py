# SPDX-License-Identifier: MIT
"""The findings of an acceptance: what is confirmed, refuted and open, by which record, and what two of them say differently."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from docs.test_schemas import wrong

from harness.acceptance.findings import (
    FORMAT,
    FindingLine,
    Findings,
    Showing,
    Status,
    changes,
    check_place,
    read_findings,
    write_findings,
)
from harness.acceptance.findings_text import change_lines, findings_lines
from harness.acceptance.inquiry import findings_of
from harness.acceptance.result import CaseOutcome, CaseResult
from harness.cli.main import main
from harness.contract.checker import Checker
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules, find
from harness.contract.showing import ShownVerdict
from harness.contract.state.merge import Merger
from harness.errors import BadDocument, ExitCode, InfrastructureError, UsageError
from harness.history.reader import History
from harness.history.writer import HistoryWriter
from harness.report.style import Style
from harness.template.promise import PromiseFinding, judge, promised
from harness.template.store import BuiltTemplate
from harness.template.template import find_template, templates_directory
from tests.template.test_promise import KEPT, MANIFEST

RECORDED = Path(__file__).resolve().parents[1] / "recorded" / "runs" / "be6fca0"
GUEST = "windows-server-2025"
PLAIN = Style(colour=False)


def result(directory: Path, number: int = 1, name: str = "case") -> CaseResult:
    """A case that was run there; its outcome is of no interest here."""
    return CaseResult(
        number=number, name=name, guest=GUEST, outcome=CaseOutcome.PASSED, expected="e", source="s",
        directory=str(directory), exit_code=ExitCode.HOLDS,
    )  # fmt: skip


@pytest.fixture
def built(tmp_path: Path) -> BuiltTemplate:
    """A template with a manifest and no build log."""
    folder = tmp_path / "template"
    folder.mkdir()
    source = templates_directory() / GUEST / "template.toml"
    (folder / "template.toml").write_text(source.read_text())
    (folder / "manifest.json").write_bytes(msgspec.json.encode(MANIFEST))
    return BuiltTemplate(folder=folder, manifest=MANIFEST)


def violating(folder: Path, rule: str) -> Path:
    """A run in which ``rule`` is violated: its own example."""
    found = find(rule)
    assert found is not None
    with HistoryWriter(folder) as writer:
        for record in trace(found.violates, run="wrong", guest=GUEST):
            writer.write(record)
    return folder


def line(lines: list[FindingLine], name: str) -> FindingLine:
    """The line of that name."""
    (found,) = [one for one in lines if one.id == name]
    return found


@pytest.mark.parametrize("run", ["host-veto", "host-rebalance", "twin-demo", "host-groups"])
def test_a_rule_is_shown_by_the_record_with_which_it_was_first_kept(run: str) -> None:
    """Without that record the rule had not been kept yet, and with it it had."""
    shown = ShownVerdict(History(RECORDED / run))
    before: dict[str, int] = {}
    checker, merger = Checker(), Merger()
    last = 0
    for record in History(RECORDED / run):
        for passed in merger.take(record):
            checker.feed(passed)
            last = max(last, passed.n)
            for tally in checker.tallies:
                if tally.held:
                    before.setdefault(tally.rule.id, last)
    assert before
    assert before.items() <= shown.kept.items()
    late = {rule: record for rule, record in shown.kept.items() if rule not in before}
    assert set(late.values()) <= {last}
    kept = {one.rule for one in shown.verdict.rules if one.verdict == "holds" and one.level != "observe"}
    assert kept <= shown.kept.keys()


def test_windows_confirms_what_was_kept_and_leaves_the_rest_open(built: BuiltTemplate) -> None:
    """A veto confirms rules of vetoes, each by case and record; rules of memory have seen nothing, and nothing is refuted."""
    found = findings_of([result(RECORDED / "host-veto", 2, "veto")], GUEST, built=built)
    assert (True, GUEST) == (found.about.windows, found.about.worth)
    kept = line(found.rules, "VETO-NO-COMPLETE")
    assert (Status.CONFIRMED, "02-veto", 1) == (
        kept.status, kept.shown and kept.shown.run, kept.shown and len(kept.shown.records),
    )  # fmt: skip
    memory = line(found.rules, "MEM-NO-REBALANCE")
    assert (Status.OPEN, None, "nothing was seen that it could judge") == (
        memory.status, memory.shown, memory.why,
    )  # fmt: skip
    assert {Status.CONFIRMED, Status.OPEN} == {one.status for one in found.rules}
    answer = line(found.questions, "U2")
    assert (Status.ANSWERED, ["yes"]) == (answer.status, [one.value for one in answer.answers])
    assert Status.OPEN is line(found.questions, "U24").status


def test_a_violation_refutes_whatever_else_confirmed(tmp_path: Path, built: BuiltTemplate) -> None:
    """With the records that show it, also where another case had kept the rule before."""
    rule = "SYNC-START-BEFORE-COMPLETE"
    cases = [
        result(RECORDED / "host-veto", 2, "veto"),
        result(violating(tmp_path / "run", rule), 3, "wrong"),
    ]
    found = findings_of(cases, GUEST, built=built)
    refuted = line(found.rules, rule)
    assert (Status.REFUTED, "03-wrong") == (refuted.status, refuted.shown and refuted.shown.run)
    assert refuted.shown is not None
    records = {record.n: record for record in History(tmp_path / "run")}
    assert {"SyncEnter"} == {type(records[number]).__name__ for number in refuted.shown.records}
    told = "\n".join(findings_lines(found, PLAIN))
    assert f"refuted  rule {rule}" in told
    assert f"(03-wrong, record {refuted.shown.records[0]}" in told


def test_evidence_that_is_missing_leaves_lines_open(tmp_path: Path, built: BuiltTemplate) -> None:
    """Of a history that was cut nothing that rests on its end is claimed; of one that cannot be read nothing at all."""
    cut = tmp_path / "cut"
    cut.mkdir()
    lines = (RECORDED / "host-veto" / "history.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "history.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]))
    found = findings_of([result(cut), result(tmp_path / "nosuch")], GUEST, built=built)
    decided = [one for one in found.rules if one.level.startswith("error") and one.status is not Status.OPEN]
    assert [] == decided
    assert any(one.why.startswith("unknown in 01-case: ") for one in found.rules)


@pytest.mark.parametrize("guest", ["twin", "host"])
def test_no_other_guest_says_anything_of_windows(guest: str, tmp_path: Path) -> None:
    """Every line is open, even one that was violated; what that guest showed is said of it alone."""
    cases = [
        result(RECORDED / "host-veto"),
        result(violating(tmp_path / "run", "SYNC-START-BEFORE-COMPLETE"), 3),
    ]
    found = findings_of(cases, guest)
    assert ((False, guest) == (found.about.windows, found.about.guest)) is True
    assert "says nothing about Windows itself" in found.about.worth
    assert {Status.OPEN} == {one.status for lines in found.kinds.values() for one in lines}
    assert ([], []) == (found.statements, found.promises)
    assert f"{guest} is not Windows; on {guest} it is confirmed" == line(found.rules, "VETO-NO-COMPLETE").why
    assert "this guest is not Windows" in " ".join("\n".join(findings_lines(found, PLAIN)).split())


def test_promises_are_those_of_the_visit_or_open(built: BuiltTemplate) -> None:
    """One that nobody looked at is open, and says why; one that is broken is refuted, with what was seen."""
    unproved = findings_of([], GUEST, built=built, unproved="WinRM did not answer")
    assert {(Status.OPEN, "WinRM did not answer")} == {(one.status, one.why) for one in unproved.promises}
    seen = judge(msgspec.structs.replace(KEPT, vbs="2"), MANIFEST, find_template(GUEST))
    found = findings_of([], GUEST, built=built, promises=seen)
    broken = line(found.promises, "no VBS")
    assert (Status.REFUTED, Showing(run="template verify", words="VirtualizationBasedSecurityStatus 2")) == (
        broken.status, broken.shown,
    )  # fmt: skip
    assert {one.says for one in seen if one.kept} == {
        one.says for one in found.promises if one.status is Status.CONFIRMED
    }
    assert [(one.id, one.says) for one in found.promises] == promised(MANIFEST)


def test_the_file_is_the_same_each_time(tmp_path: Path, built: BuiltTemplate) -> None:
    """Runs that saw the same in other places and at other times give the same file; it is read as it was written."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "history.jsonl").write_bytes((RECORDED / "host-veto" / "history.jsonl").read_bytes())
    for name, run in (("first", RECORDED / "host-veto"), ("second", tmp_path / "a")):
        found = findings_of([result(run)], GUEST, built=built)
        found = msgspec.structs.replace(found, about=msgspec.structs.replace(found.about, accelerator=""))
        write_findings(tmp_path / f"{name}.json", found)
    first, second = ((tmp_path / f"{name}.json").read_bytes() for name in ("first", "second"))
    assert first == second
    assert str(tmp_path).encode() not in first
    assert found == read_findings(tmp_path / "first.json")
    assert FORMAT == json.loads(first)["format"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a file of findings"),
        ('{"guest": "twin"}', "is not a file of findings"),
        ('{"format": 99, "other": 1}', "has findings of format 99, and this harness knows 1"),
        ("[" * 100_000, "is not a file of findings"),
    ],
)
def test_what_is_no_findings_is_refused(text: str, said: str, tmp_path: Path) -> None:
    """An empty file, another document, one of a newer harness, and one that is nested too deeply."""
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(BadDocument, match=said):
        read_findings(tmp_path / "old.json")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """In the system's words."""
    with pytest.raises(UsageError, match=r"nosuch\.json: No such file or directory"):
        read_findings(tmp_path / "nosuch.json")


def test_a_place_is_looked_at_before_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory, and a file in a directory that there is not; nothing is run."""
    check_place(tmp_path / "new.json")
    for place in (tmp_path, tmp_path / "none" / "new.json"):
        with pytest.raises(UsageError, match=r"is a directory|is not a directory"):
            check_place(place)
        words = [
            "accept",
            "veto",
            "--guest",
            "host",
            "--runs",
            str(tmp_path / "runs"),
            "--findings",
            str(place),
        ]
        assert ExitCode.USAGE == main(words)
    assert "passed" not in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.host
def test_accept_writes_findings_and_compares_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the host: beside the runs, or where it is asked for; against another case's, what that one had not seen."""
    old = tmp_path / "old.json"
    words = ["--guest", "host", "--no-compare", "--runs", str(tmp_path / "runs")]
    assert ExitCode.HOLDS == main(["accept", "veto", *words, "--findings", str(old)])
    assert f"Findings: {old}" in capsys.readouterr().out
    assert ExitCode.HOLDS == main(["accept", "add-existing", *words, "--against", str(old)])
    told = capsys.readouterr().out
    assert "Against host" in told
    assert "question U8" in told
    found = read_findings(tmp_path / "runs" / "findings.json")
    assert ({"04-add-existing": "passed"}, False) == (found.cases, found.about.windows)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, built: BuiltTemplate) -> None:
    """With the option that gives another."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="cannot write the findings") as caught:
        write_findings(tmp_path / "file" / "findings.json", findings_of([], GUEST, built=built))
    assert "--findings FILE" in str(caught.value.hint)


def _changed(found: Findings, name: str, **values: object) -> Findings:
    """The findings with one rule otherwise."""
    rules = [msgspec.structs.replace(one, **values) if one.id == name else one for one in found.rules]
    return msgspec.structs.replace(found, rules=rules)


def test_two_findings_are_compared_line_by_line(tmp_path: Path, built: BuiltTemplate) -> None:
    """What is said otherwise, what only one of them has, and other values of a question; records alone are no change."""
    new = findings_of([result(RECORDED / "host-veto")], GUEST, built=built)
    rule = "VETO-NO-COMPLETE"
    moved = _changed(new, rule, shown=Showing(run="02-veto", records=[1]))
    assert [] == changes(moved, new)
    assert "Every line says the same." in "\n".join(change_lines(moved, [], PLAIN))
    old = _changed(new, rule, status=Status.REFUTED)
    (changed,) = changes(old, new)
    assert ("rule", rule, "refuted", "confirmed") == (changed.kind, changed.id, changed.before, changed.after)
    told = "\n".join(change_lines(old, [changed], PLAIN))
    assert ("before  refuted" in told, "now     confirmed" in told) == (True, True)
    fewer = msgspec.structs.replace(new, rules=new.rules[1:])
    assert [("", new.rules[0].status)] == [(one.before, one.after) for one in changes(fewer, new)]
    assert [(new.rules[0].status, "")] == [(one.before, one.after) for one in changes(new, fewer)]
    values = [
        msgspec.structs.replace(
            one, answers=[msgspec.structs.replace(each, value="no") for each in one.answers]
        )
        if one.id == "U2"
        else one
        for one in new.questions
    ]
    (other,) = changes(msgspec.structs.replace(new, questions=values), new)
    assert ("answered: VETO-SELF-FAILURE: no", "answered: VETO-SELF-FAILURE: yes") == (
        other.before,
        other.after,
    )


def test_hostile_words_are_harmless_on_the_terminal(built: BuiltTemplate) -> None:
    """What a guest said of itself and of a promise becomes no escape sequence."""
    evil = "a\x1b[2Jb\n# c"
    name, says = promised(MANIFEST)[0]
    broken = [PromiseFinding(name=name, says=says, kept=False, seen=evil)]
    found = findings_of([], GUEST, built=built, promises=broken)
    found = msgspec.structs.replace(found, about=msgspec.structs.replace(found.about, system=evil))
    told = findings_lines(found, PLAIN)
    assert any("refuted  promise files" in one for one in told)
    assert [] == [one for one in told if "\x1b" in one or "\n" in one]


def test_every_rule_of_a_page_is_a_line(built: BuiltTemplate) -> None:
    """In the catalogue's order; gates, policies and the harness's own are none, and what observes answers questions."""
    found = findings_of([], GUEST, built=built)
    assert [rule.id for rule in all_rules() if rule.level in ("error", "error(driver)", "warn")] == [
        one.id for one in found.rules
    ]


def test_two_files_of_findings_are_compared_by_diff(
    tmp_path: Path, built: BuiltTemplate, capsys: pytest.CaptureFixture[str]
) -> None:
    """As two runs are, in text and as JSON; a run and a file of findings are no pair."""
    new = findings_of([result(RECORDED / "host-veto")], GUEST, built=built)
    write_findings(tmp_path / "new.json", new)
    write_findings(tmp_path / "old.json", _changed(new, "VETO-NO-COMPLETE", status=Status.REFUTED))
    words = ["diff", str(tmp_path / "old.json"), str(tmp_path / "new.json")]
    assert ExitCode.HOLDS == main(words)
    assert "before  refuted" in capsys.readouterr().out
    assert ExitCode.HOLDS == main([*words, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [] == wrong("diff", document)
    assert [("VETO-NO-COMPLETE", "refuted", "confirmed")] == [
        (one["id"], one["before"], one["after"]) for one in document["changes"]
    ]
    assert (GUEST, GUEST) == (document["old"]["guest"], document["new"]["guest"])
    assert ExitCode.USAGE == main(["diff", str(RECORDED / "host-veto"), str(tmp_path / "new.json")])
