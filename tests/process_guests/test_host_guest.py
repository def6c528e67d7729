# SPDX-License-Identifier: MIT
"""The plans on the guest ``host``: the driver's source in a process, with nothing but a compiler."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import msgspec
import psutil
import pytest
from decodes import counted_decodes
from process_guests.conftest import Perform
from process_guests.rule_table import CANNOT, HOST_PLANS, HostRuns, breaks
from twin.running import plan_of, records_of

from harness.acceptance.case import find_cases
from harness.acceptance.migration import migrate
from harness.capture.offline.joined import JoinedHistory
from harness.cli.main import main
from harness.cli.run import show_result
from harness.contract.checker import judge_history
from harness.contract.verdict import RunVerdict, Verdict
from harness.deadline import Deadline
from harness.driver.source import driver_folder
from harness.errors import ExitCode, GuestCrash, GuestRefused, InfrastructureError, UsageError
from harness.guest.fault_injection import INJECTED_FAULTS
from harness.history import driver as d
from harness.history import record as r
from harness.history.reader import History
from harness.history.run_directory import VERDICT
from harness.interrupts import ENDING, Interrupted, interruptible
from harness.repro.interactive import execute_and_wait
from harness.repro.interactive_run import InteractiveRun
from harness.repro.prompt import ScriptLines
from harness.run import operation as op
from harness.run.judging import open_history
from harness.run.options import Timeouts
from harness.run.plan import decode_plan
from harness.run.request import RunRequest
from harness.run.run import Run, RunInterrupted, perform

pytestmark = pytest.mark.host


@pytest.mark.parametrize("name", HOST_PLANS)
def test_built_in_plan_holds(perform_on: Perform, name: str) -> None:
    """A built-in plan runs to its end, holds, and is labelled with the guest that it ran on."""
    result = perform_on(name, "host")
    assert (None, Verdict.HOLDS, []) == (result.error, result.verdict.verdict, result.verdict.reasons)
    assert "host" == result.verdict.guest


@pytest.mark.parametrize("name", CANNOT)
def test_what_no_process_can_show_is_said(perform_on: Perform, name: str) -> None:
    """A plan that asks for what only a booted guest has ends unknown, with the fact as its reason."""
    result = perform_on(name, "host")
    assert isinstance(result.error, GuestRefused)
    assert CANNOT[name] in result.error.message
    assert (Verdict.UNKNOWN, ExitCode.UNKNOWN) == (result.verdict.verdict, result.verdict.exit_code)


@pytest.mark.parametrize("name", INJECTED_FAULTS)
def test_injected_fault_is_caught(host_runs: HostRuns, name: str) -> None:
    """Each injected fault ends as its description says, by the rules that it names."""
    fault = INJECTED_FAULTS[name]
    verdict = host_runs.verdict(fault.plan, name)
    assert fault.verdict == verdict.verdict
    assert [] == [rule for rule in (fault.rule, *fault.also) if not breaks(verdict, rule)]
    told = [
        line for found in verdict.findings for line in (f"{found.rule}: {found.reason}", *found.consequences)
    ]
    assert any(line.startswith(f"{fault.rule}: ") for line in told)


def test_nothing_is_claimed_of_what_is_not_there(perform_on: Perform) -> None:
    """No QEMU and no firmware: agreements say so, the rules that need them are not applicable, and the facts name none."""
    result = perform_on("cpu-and-dimm", "host")
    agreements = [record for record in records_of(result) if isinstance(record, r.Agreement)]
    assert [(["qemu", "ost"], False, [])] * 2 == [(a.unshown, a.qemu_lists, a.ost) for a in agreements]
    said = {rule.rule: rule for rule in result.verdict.rules}
    for name in ("HOST-AGREED", "HOST-ADD-NOT-PROOF"):
        assert Verdict.NOT_APPLICABLE == said[name].verdict
        assert "machine is a process" in said[name].reason
    facts = json.loads((result.directory / "run.json").read_bytes())
    assert ("host", "process", None, None) == tuple(
        facts.get(key) for key in ("guest", "backend", "qemu", "accelerator")
    )
    assert "nothing it shows is a Windows result" in facts["image"]
    assert "--follow" == facts["process_argv"][-1]


@pytest.mark.parametrize(
    ("plan", "fault"), [("veto", ""), (INJECTED_FAULTS["duplicate-start"].plan, "duplicate-start")]
)
def test_each_record_is_decoded_once(
    perform_on: Perform, capsys: pytest.CaptureFixture[str], plan: str, fault: str
) -> None:
    """Judging a run, looking for doubt before its end and showing it decode each record of its history once.

    What is stored and shown is what a fresh judge of the directory says, to the byte.
    """
    with counted_decodes() as decodes:
        result = perform_on(plan, "host", inject_fault=fault)
        show_result(result, json=False, verbose=True)
    history = (result.directory / "history.jsonl").read_bytes()
    assert history.count(b"\n") == len(decodes)
    shown = capsys.readouterr().out
    fresh = judge_history(History(result.directory))
    stored = (result.directory / "verdict.json").read_bytes()
    assert stored == msgspec.json.format(msgspec.json.encode(fresh), indent=2) + b"\n"
    assert int(fresh.exit_code) == main(["check", "--timeline", str(result.directory)])
    assert capsys.readouterr().out == shown


def test_recordings_beside_the_history_are_judged_and_shown(
    request_run: Callable[..., RunRequest], capsys: pytest.CaptureFixture[str]
) -> None:
    """What a guest handed over is in the history that the result gives; the host's records are not decoded again."""
    run = Run(request_run("veto", "host"))
    with counted_decodes() as decodes:
        with run.live() as live:
            live.executor.execute(run.request.plan.do)
        shutil.copyfile(run.directory.path / "debugcon.log", run.directory.path / "ring.jsonl")
        result = run.result(run.judge())
        show_result(result, json=False, verbose=True)
    assert result.history.path.read_bytes().count(b"\n") == len(decodes)
    assert isinstance(result.history, JoinedHistory)
    assert "recordings beside the history" in result.history.note
    assert "run completed" in capsys.readouterr().out
    assert result.verdict == judge_history(open_history(result.directory))


def test_no_qemu_is_needed(perform_on: Perform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is neither QEMU nor anything else but what runs the process, the plan holds."""
    perform_on("veto", "host")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("gcc", "setpriv", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tools))
    assert Verdict.HOLDS == perform_on("veto", "host").verdict.verdict


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"accelerator": "kvm"}, "--accel"),
        ({"backend": "libvirt"}, "--backend"),
        ({"firmware": "/dev/null"}, "--firmware"),
        ({"monitor": True}, "--monitor"),
        ({"restore": True}, "--restore"),
        ({"kd": "listen"}, "--kd"),
    ],
)
def test_options_of_qemu_are_refused(
    request_run: Callable[..., RunRequest], options: dict[str, object], named: str
) -> None:
    """What only QEMU can do is refused by the name of its option, before anything is begun."""
    with pytest.raises(UsageError, match=f"{named} is for guests that run on QEMU"):
        request_run("veto", "host", **options)


def test_a_driver_that_does_not_compile_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 64, a document that cannot be used (docs/cli.md): the compiler's first error, and no tool to install."""
    folder = tmp_path / "broken"
    shutil.copytree(driver_folder(), folder)
    (folder / "src" / "sync.c").write_text("int broken(void) { return nosuch; }\n")
    assert 64 == main(
        ["run", "veto", "--guest", "host", "--driver", str(folder), "--runs", str(tmp_path / "runs")]
    )
    said = capsys.readouterr().err
    stage = next(line for line in said.splitlines() if line.startswith("✗ image"))
    assert "sync.c:1:" in stage
    assert "error: " in stage
    assert "\\x0a" not in said
    assert "apt-get install" not in said
    assert f"Correct its sources in {folder}." in said


def test_a_driver_s_file_is_refused(perform_on: Perform, tmp_path: Path) -> None:
    """A file cannot be compiled; the guest that executes one is named."""
    error = perform_on("veto", "host", driver=str(tmp_path)).error
    assert isinstance(error, UsageError)
    assert "--guest wine" in error.hint


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("veto = 1", "the driver answered the request 'start' with STATUS_INSUFFICIENT_RESOURCES"),
        ('expect = "refused"', "expects it to be refused"),
    ],
)
def test_whether_the_driver_loads_is_as_the_plan_expects(perform_on: Perform, keys: str, words: str) -> None:
    """A driver that does not load, or does although it should not, ends the plan: the run is unknown."""
    result = perform_on(plan_of(f'driver = false\n[[do]]\nop = "load-driver"\n{keys}\n'), "host")
    assert isinstance(result.error, GuestRefused)
    assert words in result.error.message
    assert Verdict.UNKNOWN == result.verdict.verdict


def test_without_a_driver_nobody_is_waited_for(perform_on: Perform) -> None:
    """Not before the first driver is loaded, nor after the last one is unloaded; the consequences of each add are recorded."""
    result = perform_on(
        plan_of(
            'driver = false\n[[do]]\nop = "add-cpu"\n[[do]]\nop = "load-driver"\n[[do]]\nop = "add-cpu"\n'
            '[[do]]\nop = "unload-driver"\n[[do]]\nop = "add-cpu"\n'
        ),
        "host",
        # A run that waited for a driver would not end in this test's time.
        budget=Timeouts(consequence=3600.0),
    )
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    records = records_of(result)
    adds = [one.phase for one in records if isinstance(one, r.Add)]
    assert adds == ["begin", "accepted", "settled"] * 3
    assert [True] * 3 == [one.agreed for one in records if isinstance(one, r.Agreement)]


def test_taken_slots_and_full_memory_are_refused(perform_on: Perform) -> None:
    """The machine keeps its slots: the same one twice, a name twice, or too much memory is refused, and so expected."""
    refused = 'expect = "refused"\nsaying = '
    result = perform_on(
        plan_of(
            '[machine]\nmax_memory = "1 GiB"\n'
            '[[do]]\nop = "add-cpu"\nslot = 3\nid = "one"\n'
            f'[[do]]\nop = "add-cpu"\nslot = 3\n{refused}"slot 3 is taken"\n'
            f'[[do]]\nop = "add-cpu"\nid = "one"\n{refused}"already"\n'
            f'[[do]]\nop = "add-dimm"\nsize = "1 GiB"\n{refused}"no room"\n'
            f'[[do]]\nop = "add-dimm"\nsize = "128 MiB"\nnode = 3\n{refused}"no node 3"\n'
        ),
        "host",
    )
    assert (None, Verdict.HOLDS) == (result.error, result.verdict.verdict)


@pytest.mark.parametrize(
    ("step", "words"),
    [(op.WaitFor(what="ost"), "the firmware's _OST"), (op.DropMonitor(), "how a monitor drops")],
)
def test_what_needs_a_monitor_or_firmware_ends_with_the_reason(
    request_run: Callable[..., RunRequest], step: op.WaitFor | op.DropMonitor, words: str
) -> None:
    """Waiting for _OST or dropping the monitor is refused at once, not waited for."""
    run = Run(request_run("veto", "host"))
    with pytest.raises(GuestRefused, match=words), run.live() as live:
        live.executor.step(step)


def own_processes() -> list[psutil.Process]:
    """Return the guests that this process has begun and that still run."""
    return [child for child in psutil.Process().children(recursive=True) if child.name() == "hpnotify-host"]


def add_after(run: Run, number: signal.Signals) -> None:
    """Boot, send the guest a signal, and add a processor."""
    with run.live() as live:
        own_processes()[0].send_signal(number)
        live.executor.step(op.AddCpu())


def test_a_process_that_dies_is_a_crash(request_run: Callable[..., RunRequest]) -> None:
    """Killed in the middle, the guest has crashed: the run is unknown and says how it ended."""
    run = Run(request_run("veto", "host"))
    with pytest.raises(GuestCrash, match="killed by SIGKILL"):
        add_after(run, signal.SIGKILL)
    assert Verdict.UNKNOWN == run.judge().verdict
    assert [] == own_processes()


def test_a_process_that_is_stopped_is_not_a_hang(request_run: Callable[..., RunRequest]) -> None:
    """Stopped, it is silent: the wait is over with its deadline, the guest is not blamed, and the process is ended all the same."""
    run = Run(request_run("veto", "host", budget=Timeouts(operation=2.0)))
    with pytest.raises(
        InfrastructureError, match=r"did not answer .*; process \d+, which runs the guest, is stopped"
    ):
        add_after(run, signal.SIGSTOP)
    assert [] == own_processes()


class SignalledField:
    """A descriptor during whose naming a signal arrives, as one may during an import."""

    def __set_name__(self, owner: type, name: str) -> None:
        signal.raise_signal(signal.SIGHUP)


def test_a_signal_while_a_class_is_created_is_an_interruption(request_run: Callable[..., RunRequest]) -> None:
    """Python 3.11 makes it a RuntimeError; the history still ends as interrupted, without a failure."""
    run = Run(request_run("veto", "host"))
    with interruptible(), pytest.raises(Interrupted), run.live():
        type("Created", (), {"field": SignalledField()})
    records = list(History(run.directory.path))
    assert isinstance(records[-1], r.End)
    assert records[-1].outcome == "interrupted"
    assert not [one for one in records if isinstance(one, r.RunFailure)]
    assert [] == own_processes()


def _session(request: RunRequest) -> None:
    lines = ScriptLines(io.StringIO("continue\n"), lambda _: None)
    InteractiveRun(request, lambda: lines, lambda _: None).perform()


def _held(request: RunRequest) -> None:
    def say(line: str) -> None:
        if "Ctrl-C ends it" in line:
            signal.raise_signal(signal.SIGINT)

    execute_and_wait(request, 1, say)


def _migration(request: RunRequest) -> None:
    """A process cannot be taken over, which ends the run early."""
    (case,) = find_cases(["migrate-with-an-add-pending"])
    migrate(case, request)


@pytest.mark.parametrize(
    ("act", "verdict"),
    [
        pytest.param(perform, Verdict.HOLDS, id="run"),
        pytest.param(_session, Verdict.HOLDS, id="session"),
        pytest.param(_held, Verdict.HOLDS, id="held"),
        pytest.param(_migration, Verdict.UNKNOWN, id="migration"),
    ],
)
def test_a_signal_between_the_end_and_the_verdict_leaves_a_verdict(
    request_run: Callable[..., RunRequest],
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[RunRequest], object],
    verdict: Verdict,
) -> None:
    """The guest has ended and the history is closed: what it says is judged all the same."""
    judge = Run.judge

    def struck(run: Run) -> RunVerdict:
        monkeypatch.setattr(Run, "judge", judge)
        signal.raise_signal(signal.SIGQUIT)
        return judge(run)

    monkeypatch.setattr(Run, "judge", struck)
    with interruptible(), pytest.raises(RunInterrupted) as caught:
        act(request_run("veto", "host"))
    result = caught.value.result
    assert (result.verdict.verdict, (result.directory / VERDICT).is_file()) == (verdict, True)


def test_ctrl_c_before_the_first_record_is_an_interruption(
    request_run: Callable[..., RunRequest],
) -> None:
    """Nobody can judge a history without a header; the interruption is what is told all the same."""
    request = request_run("veto", "host")

    def interrupt(_frame: FrameType, event: str, called: object) -> None:
        if event == "c_return" and called is os.replace and list(request.runs.glob("*/run.json")):
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    with pytest.raises(KeyboardInterrupt):
        perform(request)
    (history,) = request.runs.glob("2*/history.jsonl")
    assert ["end"] == [json.loads(line)["k"] for line in history.read_text().splitlines()]


@pytest.mark.parametrize("number", ENDING)
def test_an_interrupted_run_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    """A signal in the middle of a plan ends with 128 + its number, a history that can be read, and no process."""
    plan = tmp_path / "long.toml"
    plan.write_text(
        'name = "long"\n[[do]]\nop = "add-cpu"\n[[do]]\nop = "quiesce"\nquiet = 600\ntimeout = 3000\n'
    )
    words = [
        sys.executable,
        "-m",
        "harness",
        "run",
        str(plan),
        "--guest",
        "host",
        "--runs",
        str(tmp_path / "runs"),
    ]
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ}
    )
    assert process.stderr is not None
    seen = next(line for line in process.stderr if "✓ driver" in line)
    (history,) = (tmp_path / "runs").glob("2*/history.jsonl")
    Deadline(60, "the add of the plan").poll(lambda: '"accepted"' in history.read_text())
    process.send_signal(number)
    process.communicate(timeout=60)
    assert (True, 128 + number) == (bool(seen), process.returncode)
    assert [] == [
        p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])
    ]
    assert (tmp_path / "runs" / "latest" / "verdict.json").is_file()


def test_devices_that_opted_out_are_named_as_their_records_are(perform_on: Perform) -> None:
    """The events name each device by the hardware id that its records have."""
    records = records_of(perform_on("opt-out", "host"))
    devices = {record.device.rpartition("#")[0] for record in records if isinstance(record, d.PnpEnter)}
    events = [x.detail for x in records if isinstance(x, r.GuestEvent) and x.event == "rebalance-opt-out"]
    assert (2, {f"{device}: DEVPKEY_Device_DHP_Rebalance_Policy=1" for device in devices}) == (
        len(events),
        set(events),
    )


def test_a_slot_that_is_not_there_is_refused_as_expected(request_run: Callable[..., RunRequest]) -> None:
    """An add that is expected to be refused is legal whatever it asks for, and the guest's machine refuses this one."""
    plan = decode_plan('name = "a"\n[[do]]\nop = "add-cpu"\nslot = 400\nexpect = "refused"\n', name="p.toml")
    result = perform(request_run(plan, "host"))
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)


def test_an_interrupted_run_is_a_document_too(tmp_path: Path) -> None:
    """With --json what the run had come to is told, and the interruption as its error."""
    plan = tmp_path / "long.toml"
    plan.write_text('name = "long"\n[[do]]\nop = "quiesce"\nquiet = 600\ntimeout = 3000\n')
    runs = tmp_path / "runs"
    words = ["run", str(plan), "--guest", "host", "--runs", str(runs), "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:

        def begun() -> bool:
            return any(
                '"op":"quiesce"' in one.read_text() or "quiesce" in one.read_text()
                for one in runs.glob("2*/history.jsonl")
            )

        Deadline(60, "the plan").poll(begun)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    told = json.loads(out)
    assert process.returncode == 128 + signal.SIGTERM
    assert (told["version"], told["verdict"]["verdict"]) == (1, "unknown")
    assert told["error"]["message"] == "interrupted by SIGTERM"
    assert (Path(told["directory"]) / "history.jsonl").is_file()


def test_a_fault_that_does_not_show_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It needs a DIMM before a processor, and the plan has them the other way round: the run holds, and says why."""
    words = ["run", "cpu-and-dimm", "--guest", "host", "--inject-fault", "second-start-after-memory"]
    assert main([*words, "--runs", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "The injected fault second-start-after-memory did not show in this plan; it shows in in-turn." in said
    )
