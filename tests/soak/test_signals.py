# SPDX-License-Identifier: MIT
"""One way to end, whatever command is told to: nightly run, repro and its sessions, on each kind of guest, at drawn moments.

``HOTPLUG_HARNESS_SIGNALS=SEED`` draws the same signals and moments again.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from part_markers import needs

from harness.deadline import Deadline
from harness.errors import ExitCode
from harness.history.reader import History
from harness.history.record import End
from harness.interrupts import ENDING
from tests.soak.place import Place

SEED = int(os.environ.get("HOTPLUG_HARNESS_SIGNALS", random.randrange(1 << 30)))
PLAN = "cpu-and-dimm"
LONGEST = 300.0
"""Seconds until the moment of the signal, and from there to the command's end: a starved host is no failure."""
RECORDS = 90
"""About as many records as a run of the plan writes: where the moments are drawn from."""
HELD = '"name":"held"'
ENDED = '"k":"end"'
SCRIPT = "step\nsnapshot here\nrecords\nstep\ncheck\nrestore here\nadd-cpu\ncontinue\n"
"""A session of two runs."""


pytestmark = pytest.mark.timeout(900)


class Commands:
    """Commands in a corner of the host, hit by signals; afterwards nothing may be left there."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._numbers = iter(range(1, 1000))
        self._recorded: dict[str, Path] = {}

    def options(self, kind: str) -> list[str]:
        """Return the options of a run on a kind of guest."""
        if kind == "host":
            return ["--guest", "host"]
        words = ["--accel", "tcg", "--backend", kind]
        if kind == "libvirt":
            assert self.place.libvirtd is not None
            words += ["--connect", self.place.libvirtd.uri]
        return words

    def recorded(self, kind: str) -> str:
        """Return the directory of a whole run on a kind of guest."""
        if kind not in self._recorded:
            folder = self.place.path / f"recorded-{kind}"
            log = self.place.path / f"recorded-{kind}.log"
            done = self.place.start("run", PLAN, *self.options(kind), "--runs", str(folder), log=log).wait(
                LONGEST
            )
            assert done in (ExitCode.HOLDS, ExitCode.UNKNOWN, ExitCode.INFRASTRUCTURE), log.read_text()
            self._recorded[kind] = (folder / "latest").resolve()
        return str(self._recorded[kind])

    def words(self, command: str, kind: str, folder: Path) -> list[str]:
        """Return the words of a command whose runs lie in ``folder``."""
        if command == "run":
            return ["run", PLAN, *self.options(kind), "--runs", str(folder)]
        if command == "repro":
            return ["repro", self.recorded(kind), "--runs", str(folder)]
        if command == "session":
            return ["repro", self.recorded(kind), "--step", "1", "--runs", str(folder)]
        if command == "script":
            folder.with_suffix(".script").write_text(SCRIPT)
            return ["repro", self.recorded(kind), "--interactive", "--runs", str(folder)]
        qemu = ""
        if kind == "libvirt":
            assert self.place.libvirtd is not None
            qemu = f'[[qemu]]\nname = "q"\nbackend = "libvirt"\nconnect = "{self.place.libvirtd.uri}"\n'
        guest = '[[guest]]\nname = "host"\n' if kind == "host" else ""
        lab = folder.with_suffix(".toml")
        lab.write_text(f'accel = "tcg"\nparallel = 2\n{qemu}{guest}[[plan]]\nplan = "{PLAN}"\nrepeat = 3\n')
        return ["nightly", "--once", "--lab", str(lab), "--into", str(folder)]

    def hit(
        self, command: str, kind: str, number: signal.Signals, *, records: int, ignored: bool = False
    ) -> tuple[int, bool | None, list[Path]]:
        """Start a command and send it a signal when it has recorded so much; return its exit code, whether it was hit, its runs.

        It is not known (None) whether the signal found a command whose runs had all written their last record.
        With ``ignored`` it is started as a script starts a job in the background, and gets SIGINT before the signal. 0
        ``records`` are the interpreter's first moments, a negative number the session's prompt.
        """
        folder = self.place.runs / f"{next(self._numbers):03}-{command}-{kind}"
        folder.mkdir(parents=True)
        words, log = self.words(command, kind, folder), folder.with_suffix(".log")
        before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
        try:
            script = folder.with_suffix(".script") if command == "script" else Path(os.devnull)
            process = self.place.start(*words, log=log, script=script)
        finally:
            signal.signal(signal.SIGINT, before)

        def texts() -> list[str]:
            return [file.read_text("utf-8", "replace") for file in folder.rglob("history.jsonl")]

        def reached() -> bool:
            # At its prompt a session waits, and records nothing more.
            if command == "session" and any(HELD in text for text in texts()):
                return True
            return records >= 0 and any(text.count("\n") >= records for text in texts())

        try:
            Deadline(LONGEST, f"{command} on {kind}").poll(lambda: process.poll() is not None or reached())
            struck: bool | None = process.poll() is None
            if struck and (seen := texts()) and all(ENDED in text for text in seen):
                struck = None
            if ignored:
                process.send_signal(signal.SIGINT)
            process.send_signal(number)
            code = process.wait(LONGEST)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
                # What it leaves is not a finding of the next case.
                gc = self.place.start("gc", "--yes", log=folder.with_suffix(".gc"))
                gc.wait(LONGEST)
        assert "Traceback" not in log.read_text("utf-8", "replace"), log.read_text("utf-8", "replace")
        runs = [file.parent for file in sorted(folder.rglob("run.json"))]
        return code, struck, runs


def check(
    commands: Commands,
    code: int,
    struck: bool | None,
    runs: list[Path],
    number: int,
    *,
    answer: bool = False,
) -> None:
    """The exit code is the signal's, each history is closed and judged, and nothing is left."""
    said = f"HOTPLUG_HARNESS_SIGNALS={SEED}: {signal.Signals(number).name}, {runs}"
    unharmed = {ExitCode.HOLDS, ExitCode.UNKNOWN, ExitCode.INFRASTRUCTURE}
    expected = {128 + number} if struck is not False else set()
    # At the session's prompt Ctrl-C is the answer, and the verdict decides.
    assert code in (expected if struck and not answer else expected | unharmed), said
    for run in runs:
        history = History(run)
        records = list(history)
        assert history.damage == "", said
        assert isinstance(records[-1], End), said
        assert (run / "verdict.json").is_file() or len(records) == 1, said
    assert commands.place.remains() == [], said


def drawn(*what: str) -> random.Random:
    """Return dice for a case."""
    return random.Random(f"{SEED} {what}")


@pytest.fixture(scope="module")
def on_processes() -> Iterator[Commands]:
    """Commands without QEMU."""
    place = Place(libvirt=False)
    yield Commands(place)
    place.close()


@pytest.fixture(scope="module")
@needs("qemu", "libvirt")
def on_machines() -> Iterator[Commands]:
    """Commands with QEMU, and a libvirtd of their own."""
    place = Place(libvirt=True)
    yield Commands(place)
    place.close()


@pytest.mark.host
@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("command", ["nightly", "repro", "script"])
def test_a_command_on_a_process(on_processes: Commands, command: str, number: signal.Signals) -> None:
    """Each signal at a drawn moment of a run."""
    records = drawn(command, number.name).randrange(1, RECORDS)
    check(on_processes, *on_processes.hit(command, "host", number, records=records), number)


@pytest.mark.host
@pytest.mark.parametrize("number", ENDING)
def test_a_session_on_a_process(on_processes: Commands, number: signal.Signals) -> None:
    """Each signal while a person has the guest."""
    hit = on_processes.hit("session", "host", number, records=-1)
    check(on_processes, *hit, number, answer=number is signal.SIGINT)


@pytest.mark.host
@pytest.mark.parametrize("command", ["nightly", "session"])
def test_where_ctrl_c_is_ignored(on_processes: Commands, command: str) -> None:
    """A job in the background of a script: SIGINT does nothing, SIGTERM ends it."""
    records = -1 if command == "session" else drawn(command).randrange(1, RECORDS)
    hit = on_processes.hit(command, "host", signal.SIGTERM, records=records, ignored=True)
    check(on_processes, *hit, signal.SIGTERM)


@pytest.mark.qemu
@pytest.mark.libvirt
@pytest.mark.parametrize("kind", ["qemu", "libvirt"])
@pytest.mark.parametrize("command", ["nightly", "repro", "session", "script"])
def test_a_command_on_a_machine(on_machines: Commands, command: str, kind: str) -> None:
    """A drawn signal at a drawn moment."""
    dice = drawn(command, kind)
    number = dice.choice(ENDING)
    records = -1 if command == "session" and dice.random() < 0.5 else dice.randrange(1, RECORDS)
    hit = on_machines.hit(command, kind, number, records=records)
    check(on_machines, *hit, number, answer=command == "session" and number is signal.SIGINT)
