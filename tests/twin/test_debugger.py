# SPDX-License-Identifier: MIT
"""The kernel debugger's port of a real guest: what the driver prints, an exception, and a debugger of one's own."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from twin.running import Perform, plan_of, records_of, run_here

from harness.capture.dbgprint.host import DebuggerHost
from harness.capture.dbgprint.message import Print
from harness.contract.checker import judge
from harness.contract.verdict import RunVerdict, Verdict
from harness.deadline import Deadline
from harness.errors import ExitCode, FailureClass, GuestCrash
from harness.history.driver import DriverRecord
from harness.history.reader import History
from harness.history.record import Channel, Console, GuestEvent, Record, RunFailure, Stage
from harness.run.request import RunRequest
from harness.run.run import Run

pytestmark = pytest.mark.qemu


def said(verdict: RunVerdict) -> list[tuple[str, Verdict, str, int]]:
    """What a verdict says of each rule."""
    return [(one.rule, one.verdict, one.reason, one.exercised) for one in verdict.rules]


def without(records: list[Record], channel: str) -> list[Record]:
    """The history as if a channel had not been there."""
    return [
        one
        for one in records
        if not (isinstance(one, DriverRecord) and one.channel == channel)
        and not (isinstance(one, Channel) and one.name == channel)
    ]


def test_what_is_printed_is_what_is_written_to_the_debug_port(
    run_forked: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """With --kd each channel has every record, and the verdict is the same with either alone and with both."""
    code, out, _err = run_forked(
        "run", "cpu-and-dimm", "--kd", "--json", "--runs", str(tmp_path), seconds=120
    )
    assert ExitCode.HOLDS == code
    history = History(Path(json.loads(out)["directory"]))
    records = list(history)
    assert history.damage == ""
    lines = {
        channel: [one for one in records if isinstance(one, DriverRecord) and one.channel == channel]
        for channel in ("debugcon", "dbgprint")
    }
    numbers = [one.seq for one in lines["debugcon"]]
    assert (numbers, len(numbers) > 40) == ([one.seq for one in lines["dbgprint"]], True)
    accounts = {one.name: (one.records, one.lost, one.closed) for one in records if isinstance(one, Channel)}
    assert dict.fromkeys(lines, (len(numbers), 0, True)) == accounts
    assert ["kd"] == [one.event for one in records if isinstance(one, GuestEvent) and one.event == "kd"]
    verdict = judge(records)
    assert Verdict.HOLDS is verdict.verdict
    assert said(judge(without(records, "dbgprint"))) == said(verdict)
    assert said(judge(without(records, "debugcon"))) == said(verdict)


def test_an_exception_ends_the_run_as_a_bug_check(request_run: Callable[..., RunRequest]) -> None:
    """A panic stops the guest in the debugger: recorded with its code, the class is bug check, and nothing hangs."""
    run = Run(request_run(plan_of('[[do]]\nop = "add-cpu"\n'), kd="listen"))

    def panic() -> None:
        with run.live() as live:
            with contextlib.suppress(GuestCrash):
                live.guest.provoke("panic", Deadline(60, "panic"))
            debugger = live.capture.debugger
            assert debugger is not None
            Deadline(60, "stop in the debugger").poll(lambda: debugger.stop is not None)
            live.watch.check()

    with pytest.raises(GuestCrash):
        panic()
    records = list(History(run.directory.path))
    crashes = [one.text for one in records if isinstance(one, Console) and one.severity == "crash"]
    assert any("0x000000e2" in text and "stopped in the debugger" in text for text in crashes), crashes
    assert [str(FailureClass.BUG_CHECK)] == [
        one.failure_class for one in records if isinstance(one, RunFailure)
    ]
    assert run.judge().verdict is Verdict.UNKNOWN


def test_a_debugger_of_ones_own_gets_the_port(perform_plan: Perform) -> None:
    """With --debugger a TCP client on loopback takes the debugger's part: here the project's own host."""
    texts: list[str] = []
    threads: list[threading.Thread] = []

    def debug(port: int) -> None:
        host = DebuggerHost()
        with socket.create_connection(("127.0.0.1", port)) as line:
            while data := line.recv(4096):
                events = host.receive(data, time.monotonic())
                texts.extend(one.text for one in events if isinstance(one, Print))
                line.sendall(host.take())

    def listen(record: Record) -> None:
        if isinstance(record, Stage) and record.phase == "note" and "windbg" in record.detail:
            port = int(record.detail.split("ipport=")[1].split(",")[0])
            threads.append(threading.Thread(target=debug, args=(port,), daemon=True))
            threads[-1].start()

    result = perform_plan(plan_of('[[do]]\nop = "add-cpu"\n'), kd="debugger", listeners=(listen,))
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    threads[0].join(60)
    numbers = [one.seq for one in records_of(result) if isinstance(one, DriverRecord)]
    printed = [int(text.split()[1].removeprefix("seq=")) for text in texts if text.startswith("HPN1 ")]
    assert numbers == printed[: len(numbers)]
    assert {"debugcon"} == {one.name for one in records_of(result) if isinstance(one, Channel)}


def test_the_port_has_one_debugger(tmp_path: Path) -> None:
    """--kd with --debugger is refused with what to leave out."""
    code, _out, err = run_here("run", "cpu-and-dimm", "--kd", "--debugger", "--runs", str(tmp_path))
    assert (ExitCode.USAGE, True) == (code, "Leave out --kd" in err)
