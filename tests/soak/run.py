# SPDX-License-Identifier: MIT
"""One run of a soak: a plan, a hit at a random moment, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.contract.checker import judge_history
from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import BadHistory, ExitCode, HarnessError
from harness.history.reader import History
from harness.history.record import End
from tests.soak.flood import CHANNELS
from tests.soak.place import Place, Streams

PLANS = ("burst", "cpu-and-dimm", "every-slot", "reload", "reset", "veto")
"""Built-in plans that hold on an unharmed twin, through libvirt too."""

HITS = (
    "none", "KILL", "INT", "INT twice", "TERM", "HUP", "QUIT", "streams", "QEMU", "stall", "flood", "disk", "user",
    "libvirtd",
)  # fmt: skip
"""What is hit.

Nothing; the harness, by a signal; its output: closed from the start, or its reader goes away; its QEMU: by SIGKILL, or stopped
by SIGSTOP, for some seconds or for good; nothing, but its guest writes on one of its channels without end; the disk of its run directories, which is full from then on; a run of another user,
beside the others, by SIGTERM or by nothing; libvirtd, which comes back within two seconds.
"""

DISK = 4 << 20
"""Bytes of the disk that is filled."""

ROOT_HITS = ("disk", "user")
"""Only root can make a disk, and run something as another user."""

SLOWEST = 600.0
"""Seconds after which a run is said to hang: a starved boot alone may take 90 s, and is tried in more than one place."""

STARVED = "the guest is starved"
"""What the harness says of a guest that the host kept waiting (:mod:`harness.run.silence`): nobody's fault here."""

STARTING = (b"Fatal Python error: init_import_site", b"Could not import runpy module")
"""What Python says when SIGINT interrupts its start, before it has come to the harness; it exits with 1 then."""

_ALLOWED: dict[str, set[int]] = {
    "none": {ExitCode.HOLDS},
    "KILL": {-signal.SIGKILL},
    # Before Python has come to the harness a signal does what it does to any program.
    "INT": {ExitCode.INTERRUPTED, -signal.SIGINT},
    "INT twice": {ExitCode.INTERRUPTED, -signal.SIGINT},
    "TERM": {ExitCode.TERMINATED, -signal.SIGTERM},
    "HUP": {ExitCode.HUNG_UP, -signal.SIGHUP},
    "QUIT": {ExitCode.QUIT, -signal.SIGQUIT},
    "streams": set(),
    "QEMU": {ExitCode.INFRASTRUCTURE},
    # What was late is unknown, where it was awaited for some seconds only.
    "stall": {ExitCode.INFRASTRUCTURE, ExitCode.UNKNOWN},
    "flood": {ExitCode.UNKNOWN},
    "disk": {ExitCode.INFRASTRUCTURE},
    "user": {ExitCode.TERMINATED, -signal.SIGTERM},
    "libvirtd": {ExitCode.UNKNOWN, ExitCode.INFRASTRUCTURE},
}


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is: all of it comes from the seed.

    ``moment`` is a share of the time that a whole run takes, ``twist`` what else a hit draws, from 0 to 1.
    """

    number: int
    plan: str
    backend: str
    hit: str
    moment: float
    twist: float = 0.0


class Outcome(msgspec.Struct, kw_only=True):
    """How a run ended. ``struck`` is whether the hit came before the end; ``wrong`` is what must not be, in words.

    ``starved`` if the run says that the host kept its guest waiting: whatever was hit, it may end as that.
    ``history`` is ``whole``, ``cut`` (its last line was being written), ``empty``, or ``none`` if the run did not come so far.
    """

    choice: Choice
    struck: bool = False
    code: int = 0
    verdict: str = ""
    history: str = "none"
    seconds: float = 0.0
    starved: bool = False
    wrong: list[str] = []


def choices(
    count: int, seed: int, *, libvirt: bool, root: bool = True, hits: Sequence[str] = HITS
) -> list[Choice]:
    """Return the runs of a soak; every hit comes in turn, everything else is drawn."""
    dice = random.Random(seed)
    hits = [hit for hit in hits if (libvirt or hit != "libvirtd") and (root or hit not in ROOT_HITS)]
    found = []
    for number in range(count):
        hit = hits[number % len(hits)]
        # libvirt as another user is another libvirt.
        through = hit == "libvirtd" or (libvirt and dice.random() < 0.4 and hit != "user")
        found.append(
            Choice(
                number=number,
                plan=dice.choice(PLANS),
                backend="libvirt" if through else "qemu",
                hit=hit,
                moment=dice.uniform(0.0, 1.1),
                twist=dice.random(),
            )
        )
    return found


class Runner:
    """Makes runs. ``usual`` is how long a whole run takes here and now, in seconds, by the latest that was seen."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.usual = {"qemu": 4.0, "libvirt": 6.0}
        self._libvirtd = threading.Lock()

    def run(self, choice: Choice) -> Outcome:
        """Make one run, hit it, wait for its end, and judge what it left."""
        runs = self.place.runs / f"{choice.number:04}"
        runs.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            return self._run(choice, runs, stack)

    def _run(self, choice: Choice, runs: Path, stack: contextlib.ExitStack) -> Outcome:
        log = runs.with_suffix(".log")
        if choice.hit == "disk":
            self.place.mount(runs, DISK)
            stack.callback(self.place.unmount, runs)
        options = ["--backend", choice.backend]
        if choice.backend == "libvirt" and self.place.libvirtd is not None:
            options += ["--connect", self.place.libvirtd.uri]
        outcome = Outcome(choice=choice, wrong=[])
        began = time.monotonic()
        if choice.hit == "flood":
            channel = CHANNELS[int(choice.twist * len(CHANNELS))]
            module, words = "tests.soak.flood", [choice.plan, "--channel", channel]
        else:
            module, words = "harness", ["run", choice.plan, "--accel", "tcg", "--json"]
        process = self.place.start(
            *words,
            "--runs",
            str(runs),
            *options,
            module=module,
            log=log,
            streams=self._streams(choice),
            user=choice.hit == "user",
        )
        try:
            outcome.struck = self._hit(choice, process)
            outcome.code = process.wait(SLOWEST)
        except (subprocess.TimeoutExpired, HarnessError) as error:
            outcome.wrong.append(f"did not end within {SLOWEST:g} s: {error}")
            process.kill()
            outcome.code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        outcome.seconds = time.monotonic() - began
        if outcome.code == 0 and choice.hit not in ("libvirtd", "stall", "user"):
            self.usual[choice.backend] = outcome.seconds
        self._judge(outcome, runs, log)
        return outcome

    def _streams(self, choice: Choice) -> Streams:
        if choice.hit != "streams":
            return "file"
        return "closed" if choice.twist < 0.5 else "pipe"

    def _hit(self, choice: Choice, process: subprocess.Popen[bytes]) -> bool:
        if choice.hit in ("none", "flood"):
            return choice.hit == "flood"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(choice.moment * self.usual[choice.backend])
            return False
        if choice.hit == "QEMU":
            return self._signal_qemu(process, signal.SIGKILL)
        if choice.hit == "stall":
            return self._stall(choice, process)
        if choice.hit == "streams":
            if process.stdout is not None:
                process.stdout.close()
            return True
        if choice.hit == "disk":
            return self.place.fill(self.place.runs / f"{choice.number:04}")
        if choice.hit == "user":
            if choice.twist < 0.5:
                return False
            process.send_signal(signal.SIGTERM)
            return True
        if choice.hit == "libvirtd":
            self._restart_libvirtd(choice)
            return True
        process.send_signal(getattr(signal, f"SIG{choice.hit.split()[0]}"))
        if choice.hit == "INT twice":
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(choice.moment / 10)
            process.send_signal(signal.SIGINT)
        return True

    def _stall(self, choice: Choice, process: subprocess.Popen[bytes]) -> bool:
        """Stop QEMU: half of them go on after up to four seconds."""
        if not self._signal_qemu(process, signal.SIGSTOP):
            return False
        if choice.twist < 0.5:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(8 * choice.twist)
            entry = self.place.entry_of(process.pid)
            if entry is not None and entry.qemu is not None and entry.qemu.alive():
                os.kill(entry.qemu.pid, signal.SIGCONT)
        return True

    def _signal_qemu(self, process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
        """Send QEMU a signal now, or as soon as there is one."""

        def sent() -> bool | None:
            if process.poll() is not None:
                return False
            entry = self.place.entry_of(process.pid)
            if entry is None or entry.qemu is None or not entry.qemu.alive():
                return None
            os.kill(entry.qemu.pid, number)
            return True

        deadline = Deadline(SLOWEST, "QEMU")
        while not deadline.expired:
            if (answer := sent()) is not None:
                return answer
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
        return False

    def _restart_libvirtd(self, choice: Choice) -> None:
        with self._libvirtd:
            assert self.place.libvirtd is not None
            self.place.libvirtd.kill()
            threading.Event().wait(choice.moment)
            self.place.libvirtd.start()

    def _judge(self, outcome: Outcome, runs: Path, log: Path) -> None:
        """Say what is wrong with how it ended and with what it recorded."""
        choice, code = outcome.choice, outcome.code
        allowed = _ALLOWED[choice.hit] | {ExitCode.HOLDS}
        if choice.backend == "libvirt":
            # Another run of the same soak may have taken libvirtd away.
            allowed |= {ExitCode.UNKNOWN, ExitCode.INFRASTRUCTURE}
        if code == 1 and choice.hit.startswith("INT") and log.read_bytes().startswith(STARTING):
            if any(runs.iterdir()):
                outcome.wrong.append(f"runs before the start: {_last_words(log)}")
            return
        records = [path.read_text("utf-8", "replace") for path in runs.glob("2*/history.jsonl")]
        outcome.starved = any(STARVED in text for text in records)
        if outcome.starved:
            allowed |= {ExitCode.INFRASTRUCTURE}
        if choice.hit == "flood" and code == ExitCode.HOLDS:
            outcome.wrong.append("holds, though a channel was cut")
        if code not in allowed:
            outcome.wrong.append(f"ended with {code}: {_last_words(log)}")
        if b"Traceback (most recent call last)" in log.read_bytes() and code not in (-2, -15):
            outcome.wrong.append(f"traceback: {_last_words(log)}")
        directories = [path for path in runs.iterdir() if path.is_dir() and not path.is_symlink()]
        if len(directories) != 1:
            if code == 0 or directories:
                outcome.wrong.append(f"{len(directories)} run directories, and ended with {code}")
            return
        history = directories[0] / "history.jsonl"
        if not history.exists() or history.stat().st_size == 0:
            outcome.history = "empty"
            if 0 <= code < 128 and choice.hit != "disk":
                outcome.wrong.append(f"no history, and ended with {code}")
            return
        self._judge_history(outcome, directories[0])

    def _judge_history(self, outcome: Outcome, directory: Path) -> None:
        try:
            reader = History(directory)
            records = list(reader)
            outcome.history = "cut" if reader.damage else "whole"
            outcome.verdict = judge_history(History(directory)).verdict.value
        except BadHistory as error:
            outcome.history = "unreadable"
            if outcome.choice.hit not in ("KILL", "disk"):
                outcome.wrong.append(f"unreadable history: {error}")
            return
        if reader.damage and outcome.code != -signal.SIGKILL and outcome.choice.hit != "disk":
            outcome.wrong.append(f"damaged history: {reader.damage}")
        # A run that was hit after its last record is whole all the same.
        finished = bool(records) and isinstance(records[-1], End) and records[-1].outcome == "completed"
        if outcome.verdict == Verdict.VIOLATED:
            outcome.wrong.append("violated")
        if outcome.verdict == Verdict.HOLDS and not finished:
            outcome.wrong.append("holds, and never finished")
        if outcome.verdict != Verdict.HOLDS and outcome.code == 0:
            outcome.wrong.append(f"ended with 0, and is {outcome.verdict}")
        if finished and not outcome.struck and not outcome.starved and outcome.verdict != Verdict.HOLDS:
            outcome.wrong.append(f"unharmed and finished, and is {outcome.verdict}")


def _last_words(log: Path) -> str:
    return " ".join(log.read_text("utf-8", "replace").split())[-600:]
