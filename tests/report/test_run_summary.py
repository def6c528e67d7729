# SPDX-License-Identifier: MIT
"""A run's end fits on a screen: at most 20 rows of 80 columns, everything else counted, and the verdict last."""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.records import ANY_RECORD, hot_add
from report.test_operations import add, agreement, step

from harness.contract.checker import judge_history
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import Finding, Level, RuleVerdict, RunVerdict, Verdict, Witness
from harness.history import record as r
from harness.history.reader import History
from harness.history.writer import HistoryWriter
from harness.report.operations import operations
from harness.report.run_summary import Failure, coverage_line, shortened, summary_lines, verdict_line
from harness.report.style import Style


def recorded(directory: Path, records: Iterable[r.Record]) -> History:
    """The history of a run directory."""
    directory.mkdir(exist_ok=True)
    with HistoryWriter(directory) as writer:
        for each in records:
            writer.write(each, host_ns=each.host_ns)
    return History(directory)


def rows(lines: list[str]) -> int:
    """The rows that lines take on a terminal of 80 columns."""
    return sum(max(1, -(-len(line) // 80)) for line in lines)


def summary(history: History, path: Path = Path("runs/r"), **options: object) -> list[str]:
    """The summary of what is recorded."""
    return summary_lines(judge_history(history), history, path=path, **options)  # type: ignore[arg-type]


def test_a_run_that_holds(tmp_path: Path) -> None:
    """The coverage, the directory, the command that shows all of it, the verdict."""
    lines = summary(recorded(tmp_path / "r", hot_add().records))
    assert [True, "Run directory: runs/r", "Timeline: harness show runs/r"] == [
        lines[-4].startswith(f"Coverage: {len(all_rules())} rules, "),
        *lines[-3:-1],
    ]
    assert re.fullmatch(
        r"HOLDS on twin \(not Windows\): \d+ rules had something to judge, none is broken", lines[-1]
    )


def test_a_violation_has_its_sentence_its_records_and_its_page(tmp_path: Path) -> None:
    """Two to five records are named by their numbers and in words, and the next command repeats the run."""
    history = recorded(tmp_path / "r", trace("S2{irql=2} C2 V"))
    (tmp_path / "r" / "run.json").write_text('{"plan": {"name": "p"}}')
    lines = summary(history, tmp_path / "r")
    broken = lines.index("✗ SYNC-IRQL-PASSIVE")
    block = lines[broken : next(n for n, line in enumerate(lines) if line.startswith("Coverage"))]
    assert any(re.match(r"    record \d+, a #\d+: Start NtNumber=2 ", line) for line in block)
    assert any(line.startswith(("  see DDI:", "  see WD:")) for line in block)
    text = " ".join(lines).split("Go on: ")[1]
    assert text.startswith(f"harness repro {tmp_path}/r")
    assert lines[-1].startswith("VIOLATED on twin (not Windows): SYNC-IRQL-PASSIVE")


def test_warnings_are_named(tmp_path: Path) -> None:
    """The line of the coverage names the rules that only warn, as many as fit."""
    line = next(
        line
        for line in summary(recorded(tmp_path / "r", trace("S2{active=3} C2 V")))
        if line.startswith("Coverage")
    )
    assert re.search(r" exercised; 1 warning: START-NOT-COUNTED$", line)
    levels = {"A-WARNING": Level.WARN, "A-POLICY": Level.POLICY, "AN-OBSERVATION": Level.OBSERVE}
    found = [
        Finding(rule=name, level=level, verdict=Verdict.VIOLATED, reason="x")
        for name, level in levels.items()
    ]
    verdict = msgspec.structs.replace(broken(0), findings=found)
    assert (
        coverage_line(verdict) == "Coverage: 0 rules, 0 armed, 0 exercised; 2 warnings: A-WARNING, A-POLICY"
    )


def test_an_unknown_run_says_what_was_missing(tmp_path: Path) -> None:
    """Each reason is a line of its own, and the verdict has the first one."""
    history = recorded(tmp_path / "r", trace("S2 lose C2"))
    verdict = judge_history(history)
    lines = summary(history)
    assert len(verdict.reasons) > 1
    assert [verdict.reasons[0]] == [
        reason for reason in verdict.reasons if " ".join(lines).find(f"? {reason.split(':')[0]}") >= 0
    ][:1]
    assert re.search(r"^UNKNOWN on twin \(not Windows\): .* \(and \d+ more\)$", lines[-1])


def test_fifty_operations_and_many_reasons_fit(tmp_path: Path) -> None:
    """What went wrong is shown before what went well; the rest is counted with the command that shows it."""
    records: list[r.Record] = [*trace("S2 lose C2")][:-1]
    for index in range(1, 51):
        name = f"cpu-{index}"
        records += step(
            index, "add-cpu", add(name), agreement(name, "added", 2, 3, agreed=index != 40, detail="why")
        )
    lines = summary(recorded(tmp_path / "r", records))
    shown = [line for line in lines if re.match(r"[✓✗] \d+\. ", line)]
    more = [line for line in lines if re.match(r"and \d+ more operations", line)]
    assert "✗ 40. add cpu-40 into slot 2: NOT added: why" in shown
    assert [1, True] == [
        len(more),
        more[0].startswith(f"and {len(operations(records)) - len(shown)} more operations"),
    ]
    assert [True, True] == [
        rows(lines) <= 20,
        more[0].endswith("harness show runs/r") or "harness show runs/r" in lines,
    ]


def broken(count: int, text: str = "reason") -> RunVerdict:
    """A verdict in which many rules are broken, each with five records."""
    witnesses = [Witness(name=f"E{n}", record=n, text=text) for n in range(1, 6)]
    findings = [
        Finding(
            rule=f"RULE-{n}",
            level=Level.ERROR,
            verdict=Verdict.VIOLATED,
            reason=text,
            witnesses=witnesses,
            attempt=text,
        )
        for n in range(count)
    ]
    rules = [
        RuleVerdict(rule=one.rule, level=one.level, verdict=one.verdict, source=text, exercised=1)
        for one in findings
    ]
    reasons = [f"{one.rule}: {text}" for one in findings]
    return RunVerdict(
        run="r", guest="twin", verdict=Verdict.VIOLATED, reasons=reasons, rules=rules, findings=findings
    )


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("lines", [8, 20])
@pytest.mark.parametrize("text", ["short", "a long reason " * 30])
def test_many_violations_fit(tmp_path: Path, count: int, lines: int, text: str) -> None:
    """However many rules are broken, whatever they say: the room is kept to, and the rest is counted."""
    history = recorded(tmp_path / "r", hot_add().records)
    shown = summary_lines(broken(count, text), history, path=Path("runs/r"), lines=lines)
    told = sum(line.startswith("✗ RULE-") for line in shown)
    counted = re.search(r"(\d+) more violated rules?", "\n".join(shown))
    assert [True, count] == [rows(shown) <= lines, told + (int(counted[1]) if counted else 0)]
    assert shown[-1].startswith("VIOLATED on twin (not Windows): RULE-0")
    assert [] == [line for line in shown if len(line) > 80]


@pytest.mark.parametrize("lines", [8, 20])
def test_consequences_are_counted_as_on_the_last_line(tmp_path: Path, lines: int) -> None:
    """Rules broken by the cause of another have no block of their own; they are among those that are not shown."""
    verdict = broken(4)
    first, second, third, other = verdict.findings
    cause = msgspec.structs.replace(
        first, consequences=[f"{one.rule}: {one.reason}" for one in (second, third)]
    )
    verdict = msgspec.structs.replace(verdict, findings=[cause, other])
    history = recorded(tmp_path / "r", hot_add().records)
    shown = summary_lines(verdict, history, path=Path("runs/r"), lines=lines)
    told = sum(line.startswith("✗ RULE-") for line in shown)
    counted = re.search(r"(\d+) more violated rules?", "\n".join(shown))
    assert counted is not None
    assert told + int(counted[1]) == 4
    assert "and 3 more rules" in shown[-1]
    assert rows(shown) <= lines


def test_what_was_printed_before_needs_no_command(tmp_path: Path) -> None:
    """After the details what is left out is counted and said to stand above, and the run is done again."""
    history = recorded(tmp_path / "r", hot_add().records)
    (tmp_path / "r" / "run.json").write_text('{"plan": {"name": "p"}}')
    lines = summary_lines(broken(30), history, path=tmp_path / "r", detailed=True)
    text = "\n".join(lines)
    assert re.search(r"^and \d+ more violated rules: all above$", text, re.MULTILINE)
    assert (text.count("harness show"), text.count("harness repro")) == (0, 1)


def test_a_long_path_is_never_cut(tmp_path: Path) -> None:
    """It stands whole on a line of its own, quoted, and so does each command with it."""
    path = Path("/a directory", *["with-a-long-name"] * 8)
    lines = summary(recorded(tmp_path / "r", hot_add().records), path)
    assert [f"'{path}'", f"harness show '{path}'"] == [lines[lines.index("Run directory:") + 1], lines[-2]]


def test_a_failure_is_the_reason(tmp_path: Path) -> None:
    """The run's failure is named from its history, or by who printed its message; the cause is in the last line."""
    records = [*hot_add().records][:-1]
    failed = r.RunFailure(failure_class="guest hang", stage="plan", message="the guest does not answer")
    ended = [*records, failed, r.End(outcome="failed")]
    later = summary(recorded(tmp_path / "r", ended))
    at_once = summary(
        recorded(tmp_path / "s", ended), failure=Failure("guest hang", "plan", "the guest does not answer")
    )
    assert ["✗ plan failed, guest hang: the guest does not answer", "✗ plan failed, guest hang"] == [
        next(line for line in lines if line.startswith("✗")) for lines in (later, at_once)
    ]
    assert {"UNKNOWN on twin (not Windows): plan: the guest does not answer"} == {later[-1], at_once[-1]}


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    """Ctrl-C is the reason."""
    records = [*hot_add().records][:-1]
    lines = summary(recorded(tmp_path / "r", [*records, r.End(outcome="interrupted")]))
    assert "UNKNOWN on twin (not Windows): interrupted before its end" == lines[-1]


def test_latest_is_called_by_its_own_name(tmp_path: Path) -> None:
    """The next run must not change what a printed command means."""
    recorded(tmp_path / "r1", hot_add().records)
    (tmp_path / "latest").symlink_to("r1")
    lines = summary(History(tmp_path / "latest"), tmp_path / "latest")
    assert [True, False] == ["r1" in "\n".join(lines), "/latest" in "\n".join(lines)]


@pytest.mark.parametrize(
    ("guest", "expected"),
    [
        ("twin", "HOLDS on twin (not Windows): "),
        ("windows-server-2025", "HOLDS on windows-server-2025: "),
        ("", "HOLDS on an unnamed guest (not Windows): "),
        ("windows\x1b[2J", "HOLDS on windows\\x1b[2J: "),
    ],
)
def test_the_verdict_names_its_guest(guest: str, expected: str) -> None:
    """And says what a verdict from it is worth."""
    verdict = RunVerdict(run="r", guest=guest, verdict=Verdict.HOLDS, reasons=[], rules=[])
    assert verdict_line(verdict).startswith(expected)


@given(st.lists(ANY_RECORD, max_size=12), st.text(max_size=200), st.sampled_from(Verdict))
def test_anything_fits_and_is_harmless(
    tmp_path_factory: pytest.TempPathFactory, records: list[r.Record], text: str, word: Verdict
) -> None:
    """Whatever a history and a verdict hold, no row is wider than its words demand, and no control character is printed."""
    directory = tmp_path_factory.mktemp("any")
    numbered = [msgspec.structs.replace(each, n=n) for n, each in enumerate(records, 1)]
    header = r.Header(format=1, harness="0", run="r", guest=text, wall="", n=0)
    (directory / "history.jsonl").write_bytes(
        b"".join(msgspec.json.encode(each) + b"\n" for each in [header, *numbered])
    )
    verdict = msgspec.structs.replace(broken(3, text), verdict=word, guest=text)
    history = History(directory)
    lines = summary_lines(verdict, history, path=Path("runs/r"), notes=[text])
    assert [] == [line for line in lines if not line.isprintable()]
    assert lines[-1].startswith(word.value.upper())


@given(st.text("ab ,/…", max_size=120), st.integers(min_value=8, max_value=80), st.booleans())
def test_shortened_text_keeps_whole_words(text: str, width: int, clauses: bool) -> None:
    """What is left are the first words, uncut."""
    short = shortened(text, width, clauses=clauses)
    words = short.removesuffix(" …").split() if short != text else text.split()
    assert words == text.split()[: len(words)]
    assert short == text or len(short) <= width or len(words) <= 1


def test_an_indented_line_fits_too() -> None:
    """The indent is part of the line."""
    record = "    record 49, hpnotify #28: Complete NtNumber=2 (group 0, number 2), 3 active, IRQL 0, CPU 2, took 0.05 ms"
    short = shortened(record, 80)
    assert len(short) <= 80
    assert short == "    record 49, hpnotify #28: Complete NtNumber=2 (group 0, number 2), 3 …"


def test_colour_is_the_only_difference_on_a_terminal(tmp_path: Path) -> None:
    """Without its codes the coloured summary is the plain one."""
    history = recorded(tmp_path / "r", trace("S2{irql=2} C2 V"))
    coloured = summary(history, style=Style(colour=True))
    assert any("\x1b[1;31m" in line for line in coloured)
    assert summary(history) == [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured]
