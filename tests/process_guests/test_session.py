# SPDX-License-Identifier: MIT
"""A session on the guest ``host``: a script does what a plan does, is judged and repeated, and mistakes cost nothing."""

from __future__ import annotations

import io
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from process_guests.conftest import Perform

from harness.cli.main import main
from harness.contract.verdict import Verdict
from harness.errors import ExitCode, UsageError
from harness.history.reader import History
from harness.history.record import End, OperationProgress
from harness.history.run_directory import RunDirectory
from harness.report.timeline import timeline
from harness.repro.interactive_run import InteractiveRun, InteractiveRuns
from harness.repro.prompt import ScriptLines
from harness.repro.recorded_run import RepeatableRun
from harness.run.operation import AddCpu, WaitFor
from harness.run.plan import Plan, find_plan
from harness.run.request import RunRequest
from harness.run.run import RunResult

pytestmark = pytest.mark.host

FAULT = "complete-before-start"
BROKEN = "SYNC-START-BEFORE-COMPLETE"

Hold = Callable[..., tuple[InteractiveRuns, str]]


@pytest.fixture
def hold(request_run: Callable[..., RunRequest]) -> Hold:
    """A function that holds a session by a script; it returns what came of it and what it said."""

    def run(
        script: str,
        *,
        recorded: RunResult | None = None,
        plan: Plan | str = "cpu-and-dimm",
        **options: object,
    ) -> tuple[InteractiveRuns, str]:
        said: list[str] = []
        lines = ScriptLines(io.StringIO(script), said.append)
        done = InteractiveRun(
            request_run(plan, "host", **options),
            lambda: lines,
            said.append,
            recorded=None if recorded is None else History(recorded.directory),
        ).perform()
        return done, "\n".join(said)

    return run


def operations(directory: Path) -> list[str]:
    """Return the names of the operations in a history."""
    return [
        one.name for one in History(directory) if isinstance(one, OperationProgress) and one.phase == "begin"
    ]


def test_a_script_is_a_run(hold: Hold) -> None:
    """Steps of the plan and operations of one's own, new records shown, the run judged and closed."""
    done, said = hold("step\nadd-cpu  # one more\nwait-for complete count=2\n\ncontinue\n")
    (result,) = done.results
    assert (done.refused, result.error, result.verdict.verdict) == (None, None, Verdict.VIOLATED)
    # The plan's own expectation of one Start is not met by two: that is the only rule that is broken.
    assert ["EXPECT"] == [one.rule for one in result.verdict.rules if one.verdict is Verdict.VIOLATED]
    assert ["add-cpu", "add-cpu", "wait-for", "add-dimm", "expect", "unload-driver"] == operations(
        result.directory
    )
    assert said.count("Complete NtNumber=") >= 2
    assert isinstance([*History(result.directory)][-1], End)


def test_what_was_done_is_repeated(hold: Hold, tmp_path: Path) -> None:
    """run.json has the session's operations, however many of the plan's there were, and what failed among them."""
    done, _ = hold("step\nsettle\nadd-dimm 128MiB\n")
    recorded = RepeatableRun.read(done.results[-1].directory)
    assert ["AddCpu", "Settle", "AddDimm"] == [type(one).__name__ for one in recorded.plan.do]
    again = recorded.request({"runs": tmp_path / "again"}, cache=tmp_path, argv=[])
    assert recorded.plan == again.plan


def test_until_a_rule_a_record_and_a_number(hold: Hold, perform_on: Perform) -> None:
    """The plan goes on to the operation in which it came, and no further."""
    first = perform_on("cpu-and-dimm", "host", inject_fault=FAULT)
    (finding,) = [one for one in first.verdict.findings if one.rule == BROKEN][:1]
    number = finding.witnesses[-1].record
    for what, fault in ((BROKEN, FAULT), ("violated", FAULT), ("complete", ""), (str(number), "")):
        done, said = hold(f"until {what}\n", recorded=first, inject_fault=fault)
        assert (what, ["add-cpu"]) == (what, operations(done.results[-1].directory))
        assert "1 of 4 operations of the plan, 3 left" in said
    done, said = hold(f"until {BROKEN}\nuntil {BROKEN}\nuntil violated\n", inject_fault=FAULT)
    assert ["add-cpu"] == operations(done.results[-1].directory)
    assert f"Nothing was executed. Already violated: {BROKEN}" in said
    done, said = hold("until memory-arrival\n")
    assert ["add-cpu", "add-dimm"] == operations(done.results[-1].directory)
    assert "No record" not in said
    done, _ = hold("continue\nuntil NOSUCH-RULE\n")
    assert done.refused is not None
    assert "'NOSUCH-RULE' is not a rule" in done.refused.message


def test_times_are_those_of_show(hold: Hold) -> None:
    """Zero is the first add in the live lines, in ``records`` and in ``harness show``; before it no line has a time."""
    script = "settle\nrecords 1000\nadd-cpu\nadd-dimm 128MiB\nrecords 1000\n"
    done, said = hold(script)
    _, early, live, listed = re.split(r"^> (?:add-cpu|records 1000)$", said, flags=re.MULTILINE)
    everything = [*timeline(History(done.results[-1].directory), everything=True)]
    last = [line[7:] for line in listed.splitlines() if LISTED.match(line)]
    assert last == everything[: len(last)]
    times = {tuple(line.split()[:2]) for line in everything}
    shown = {tuple(line.split()[:2]) for line in live.splitlines() if TIMED.match(line)}
    assert (len(shown) > 10, shown - times) == (True, set())
    assert {line.split()[1] for line in early.splitlines() if LISTED.match(line)} == {"-"}


LISTED = re.compile(r" *\d+ ")
TIMED = re.compile(r" *(?:-?\d+\.\d|-) (?:host|QEMU|firmware|driver|guest|console) ")


def test_a_violation_is_told_explained_and_saved(hold: Hold, tmp_path: Path) -> None:
    """The rule is named when it breaks; the saved function fails for it, and holds without the fault."""
    plan, test = tmp_path / "kept.toml", tmp_path / "test_kept.py"
    done, said = hold(f"step\ncheck\nexplain {BROKEN}\nsave {plan}\nsave {test}\n", inject_fault=FAULT)
    assert done.refused is None
    assert f"VIOLATED so far: {BROKEN}   (explain {BROKEN})" in said
    assert "a contradiction!" in said
    assert "the history has no end" not in said
    command = shlex.split(said.partition("run it: ")[2].partition("\n")[0])
    assert command == ["harness", "run", str(plan), "--guest", "host", "--inject-fault", FAULT]
    again = main([*command[1:], "--runs", str(tmp_path / "again")])
    assert again == ExitCode.VIOLATED
    saved = find_plan(str(plan))
    assert ["AddCpu"] == [type(one).__name__ for one in saved.do]
    session = done.results[-1].directory.name
    assert saved.summary == f"saved from the session {session} with plan cpu-and-dimm"
    for fault, word in ((True, "1 failed"), (False, "1 passed")):
        text = test.read_text()
        if not fault:
            text = "\n".join(line for line in text.splitlines() if "inject_fault" not in line)
        own = tmp_path / str(fault) / "test_kept.py"
        own.parent.mkdir()
        own.write_text(text)
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(own)],
            capture_output=True, text=True, cwd=own.parent, timeout=120,
        )  # fmt: skip
        assert word in ended.stdout, ended.stdout
        assert (
            f"AssertionError: {BROKEN}: Complete of processor 2 came before its Start" in ended.stdout
        ) is fault


UNENDED, CLOSED = "missing-complete", "SYNC-START-CLOSED"


def test_a_rule_about_absence_is_decided_while_the_guest_is_at_rest(
    hold: Hold, perform_on: Perform, tmp_path: Path
) -> None:
    """The recipe of docs/repro.md for a rule that a plain run decides at its end: one operation is enough to name it."""
    first = perform_on("cpu-and-dimm", "host", inject_fault=UNENDED)
    assert first.verdict.reasons[0].startswith(f"{CLOSED}: ")
    test = tmp_path / "test_closed.py"
    done, said = hold(
        f"until {CLOSED}\nexplain {CLOSED}\ncheck\ncontinue\nsave {test}\n",
        recorded=first, inject_fault=UNENDED,
    )  # fmt: skip
    assert done.refused is None
    assert "1 of 4 operations of the plan, 3 left\n" in said
    assert f"VIOLATED so far: {CLOSED}   (explain {CLOSED})" in said
    assert "killed" not in said
    (result,) = done.results
    # What was said so far is the verdict of the ended run.
    told = {
        line.split()[3] for line in said.splitlines() if line.startswith("VIOLATED so far: ") and "(" in line
    }
    assert told == {
        one.rule for one in result.verdict.rules
        if one.verdict is Verdict.VIOLATED and one.level.value.startswith("error")
    }  # fmt: skip
    text = test.read_text()
    assert f"It broke {CLOSED}, " in text
    assert f'"""The driver is notified as documented: {CLOSED} holds."""' in text
    assert f"{CLOSED} was broken by operation 1; the 3 after it are left out." in said
    assert [line.strip() for line in text.splitlines() if line.startswith("    hotplug.")] == [
        "hotplug.add_cpu()"
    ]


@pytest.mark.parametrize("script", ["", "stpe\n"])
def test_a_session_without_an_operation_shows_nothing(hold: Hold, script: str) -> None:
    """The end of the input, or a mistake, in the first line: nothing was judged, so the run does not hold."""
    (result,) = hold(script)[0].results
    assert (result.verdict.verdict, result.exit_code) == (Verdict.UNKNOWN, ExitCode.UNKNOWN)
    assert result.verdict.reasons == ["RUN-COMPLETE: no operation was executed"]


def test_what_is_under_way_is_not_yet_missing(hold: Hold) -> None:
    """An add whose consequences were not waited for: its absent Complete is unknown, not yet a violation."""
    sent = Plan(name="sent", do=[AddCpu(settle=False), WaitFor(what="start")])
    done, said = hold(f"until {CLOSED}\nexplain {CLOSED}\ncheck\n", inject_fault=UNENDED, plan=sent)
    assert "VIOLATED so far" not in said
    assert f"until {CLOSED}: no violation so far.\n  It is unknown so far: " in said
    assert "killed" not in said
    assert CLOSED in {one.rule for one in done.results[0].verdict.rules if one.verdict is Verdict.VIOLATED}


def test_a_plan_with_its_own_beginning_is_saved_beside_its_test(
    request_run: Callable[..., RunRequest], tmp_path: Path
) -> None:
    """A driver that the plan loads itself: the function begins with the plan's file."""
    test = tmp_path / "test_own.py"
    lines = ScriptLines(
        io.StringIO(f"load-driver add_existing=false\nadd-cpu\nsave {test}\n"), lambda _: None
    )
    plan = find_plan("cpu-and-dimm")
    done = InteractiveRun(
        request_run(type(plan)(name="unloaded", driver=False, do=plan.do), "host"),
        lambda: lines,
        lambda _: None,
    ).perform()
    assert (done.refused, done.results[-1].error) == (None, None)
    assert find_plan(str(test.with_suffix(".toml"))).driver is False
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert "1 passed" in ended.stdout, ended.stdout


def test_back_to_a_place_is_another_run(hold: Hold) -> None:
    """What came after the place is gone: a fresh guest, the same operations up to there, both runs judged."""
    done, said = hold("step\nsnapshot here\nadd-cpu\nrestore here\nadd-dimm 128MiB\n")
    first, second = done.results
    assert ["add-cpu", "add-cpu"] == operations(first.directory)
    assert ["add-cpu", "add-dimm"] == operations(second.directory)
    assert (Verdict.HOLDS, Verdict.HOLDS) == (first.verdict.verdict, second.verdict.verdict)
    assert f"{first.directory}: holds" in said
    assert "here: after 1 operations, which restore here repeats on a fresh guest" in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stpe", "no command or operation is called 'stpe'"),
        ("step 0", "whole number from 1"),
        ("continue now", "continue takes no words, got 'now'"),
        ("until", "until takes RULE|RECORD, got nothing"),
        ("qmp", "got nothing"),
        ("until SYNC-EXACTLY-TOW", "is not a rule"),
        ("restore nowhere", "no place is called 'nowhere'"),
        ("save notes.txt", "neither FILE.toml nor test_FILE.py|no operation was executed"),
        ("add-cpu slot=99", "there is no processor slot 99"),
        ("unplug cpu-1", "cannot show an unplug"),
        ("add-dimm 100MiB", "is not a multiple of 128 MiB"),
        ("resume 'a", "closing quotation"),
        ("records noneofthose", "is not a number or a kind of record"),
        ("explain NOSUCH", "no rule is called"),
        ("dump", "is a process"),
        ("screenshot", "has no screen"),
        ("help nosuch", "no command or operation"),
    ],
)
def test_a_mistake_does_nothing(hold: Hold, line: str, words: str) -> None:
    """It ends a script, whose line is named, with the guest ended and the history closed; nothing was done."""
    done, _ = hold(f"\n{line}\nadd-cpu\n")
    assert done.refused is not None
    with pytest.raises(UsageError, match=f"standard input:2: (?s:.*)(?:{words})"):
        raise done.refused
    assert [] == operations(done.results[-1].directory)
    assert done.results[-1].error is None


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("exit", "Here it is called 'quit'"),
        ("repro", "This is its session"),
        ("next", "Here it is called 'step'"),
        ("help monitor", "Here it is called 'attach'"),
        ("harness attach latest monitor", "in another terminal"),
        ("add-cpu 2", "Give optional fields as field=value"),
        ("add-dimm 256", "A size without a unit is in bytes"),
    ],
)
def test_a_newcomers_mistake_gets_a_way_out(hold: Hold, line: str, hint: str) -> None:
    """Words of other programs, and values without their field or unit."""
    done, _ = hold(f"{line}\n")
    assert done.refused is not None
    assert hint in done.refused.hint


def test_what_a_plan_is_refused_for_is_no_failure_of_the_run(hold: Hold) -> None:
    """QEMU's or the machine's refusal is said, and the session goes on."""
    done, said = hold(
        "wait-for failure timeout=0.2\nplan\nqmp query-status\nrecords 3\nevents\nhelp\nhelp add-cpu\nhelp until\n"
    )
    assert done.refused is None
    assert "failed: waited 0.2 s for 1 failure, seen 0" in said
    assert "cannot show what QEMU answers" in said
    result = done.results[-1]
    assert (Verdict.UNKNOWN, "guest hang") == (result.verdict.verdict, str(result.failure_class))
    assert ["wait-for"] == operations(result.directory)


def test_the_command_reads_a_script(perform_on: Perform, tmp_path: Path) -> None:
    """``repro --interactive`` with a script on standard input: the exit code is the verdict's, 64 for a refused line."""
    first = perform_on("cpu-and-dimm", "host", inject_fault=FAULT)
    again = str(tmp_path / "again")
    words = [sys.executable, "-m", "harness", "repro", str(first.directory), "--interactive", "--runs", again]

    def ask(script: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *more], input=script, capture_output=True, text=True, timeout=120)

    ended = ask(f"until {BROKEN}\nquit\n", "--json")
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["repro_of"]) == (ExitCode.VIOLATED, str(first.directory))
    assert BROKEN in ended.stderr
    assert RunDirectory(Path(document["directory"])).facts().repro_of == first.directory.name
    assert ask("", "--step", "1").returncode == ExitCode.VIOLATED
    ended = ask("step\nnonsense\n")
    assert (ended.returncode, "standard input:2: no command" in ended.stderr) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_script_is_awaited(
    perform_on: Perform, tmp_path: Path, number: signal.Signals
) -> None:
    """Nobody sits at a script, so that Ctrl-C interrupts it as any other signal does: closed, judged, nothing left."""
    first = perform_on("cpu-and-dimm", "host")
    runs = tmp_path / "again"
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "repro", str(first.directory), "--interactive", "--runs", str(runs)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("step\n")
    process.stdin.flush()
    while "3 left" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (128 + number, False), err
    (held,) = [one for one in runs.iterdir() if not one.is_symlink()]
    last = [*History(held)][-1]
    assert isinstance(last, End)
    assert ("interrupted", True) == (last.outcome, (held / "verdict.json").is_file())
    assert ["add-cpu"] == operations(held)
