# SPDX-License-Identifier: MIT
"""The driver in a process: built with a sanitizer, told what to do by a script, its records decoded."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections import Counter
from pathlib import Path

import msgspec

from harness.capture.live.debugcon import decode_line
from harness.history.driver import Alloc, CallEnter, CallExit, DriverRecord, Free, SyncEnter, SyncExit

DRIVER = Path(__file__).parents[2] / "guest_drivers" / "hpnotify"

SUCCESS = 0
INVALID_PARAMETER = 0xC000000D
INVALID_DEVICE_REQUEST = 0xC0000010
BUFFER_TOO_SMALL = 0xC0000023
INSUFFICIENT_RESOURCES = 0xC000009A
DEVICE_NOT_READY = 0xC00000A3
INVALID_DEVICE_STATE = 0xC0000184
INVALID_BUFFER_SIZE = 0xC0000206

REQUESTS = (
    "VETO", "MARK", "DETACH", "READ_RING", "STATISTICS", "DELAY", "REGISTER", "DEREGISTER", "FLUSH", "WORK",
)  # fmt: skip


def code(name: str) -> int:
    """Return the I/O control code of a request: METHOD_BUFFERED, read and write access."""
    return 0x8504 << 16 | 3 << 14 | (0x800 + REQUESTS.index(name)) << 2


def request(name: str, *words: int, output: int = 0, driver: str = "hpnotify") -> str:
    """Return the script's command for a request whose input is some 32-bit words."""
    given = b"".join(word.to_bytes(4, "little") for word in words)
    return f"control {driver} {code(name):#x} {output} {given.hex()}"


def mark(nonce: str) -> str:
    """Return the script's command that has the driver echo a nonce."""
    return f"control hpnotify {code('MARK'):#x} 0 {nonce.encode().ljust(32, bytes(1)).hex()}"


class Transcript(msgspec.Struct):
    """What a run said: records in order, answers (status, bytes), trouble, trace events and debug prints."""

    records: list[DriverRecord] = []
    answers: list[tuple[int, bytes]] = []
    trouble: list[str] = []
    events: list[tuple[int, list[bytes]]] = []
    prints: list[str] = []
    lines: list[str] = []
    status: int = 0

    def states(self, driver: str = "hpnotify") -> str:
        """The callbacks of a driver as the contract's golden traces write them: ``S2 C2``, ``!`` for a veto."""
        letters = {0: "S", 1: "C", 2: "F"}
        vetoes = {
            record.enter
            for record in self.records
            if isinstance(record, SyncExit) and record.driver == driver and record.op
        }
        return " ".join(
            f"{letters[record.state]}{record.nt}{'!' if record.seq in vetoes else ''}"
            for record in self.records
            if isinstance(record, SyncEnter) and record.driver == driver
        )

    def unbalanced(self) -> list[str]:
        """What was begun and not ended: allocations, calls, callbacks, registrations."""
        found: Counter[str] = Counter()
        for record in self.records:
            if isinstance(record, Alloc | Free):
                found[f"{record.driver} object {record.object:#x}"] += 1 if isinstance(record, Alloc) else -1
            elif isinstance(record, CallEnter | SyncEnter):
                found[f"{record.driver} record {record.seq}"] += 1
            elif isinstance(record, CallExit | SyncExit):
                found[f"{record.driver} record {record.enter}"] -= 1
            if isinstance(record, CallExit) and record.handle:
                found[f"{record.driver} registration {record.reg}"] += 1
            elif isinstance(record, CallExit) and record.call in ("dereg_sync", "unreg_ex"):
                found[f"{record.driver} registration {record.reg}"] -= 1
        return [name for name, count in found.items() if count]


def read(output: str, status: int = 0) -> Transcript:
    """Decode a run's output; a line that is no whole record is an error of the test."""
    transcript = Transcript(status=status)
    for line in output.splitlines():
        if line.startswith("HPN1 "):
            transcript.lines.append(line)
            transcript.records.append(decode_line(line.encode(), channel="debugcon"))
        elif line.startswith("= "):
            word, _, data = line[2:].partition(" ")
            transcript.answers.append((int(word, 16), bytes.fromhex(data)))
        elif line.startswith("trouble: "):
            transcript.trouble.append(line.removeprefix("trouble: "))
        elif line.startswith("trace "):
            number, *pieces = line.removeprefix("trace ").split(" ")
            transcript.events.append((int(number), [bytes.fromhex(piece) for piece in pieces]))
        elif line.startswith("print "):
            transcript.prints.append(line.removeprefix("print "))
        elif line:
            raise AssertionError(f"the host process said {line[:200]!r}")
    return transcript


def build(cache: Path, sanitizer: str, program: str = "hpnotify-host") -> Path:
    """Compile a program that hosts the driver in ``cache``, what has changed of it, and return it.

    Where HOTPLUG_HARNESS_HOST_PROGRAMS names a folder, the program is taken from there: coverage and mutants.
    """
    if folder := os.environ.get("HOTPLUG_HARNESS_HOST_PROGRAMS"):
        return Path(folder) / program
    recipe = hashlib.sha256((DRIVER / "host" / "Makefile").read_bytes()).hexdigest()[:12]
    folder = cache / f"{sanitizer.replace(',', '-')}-{recipe}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(
            [
                "make", "-s", "-j2", "-C", str(DRIVER / "host"), f"OUT={folder}", f"SANITIZE={sanitizer}",
                f"{folder}/{program}",
            ],
            check=True,
        )  # fmt: skip
    return folder / program


def run(program: Path, *commands: str, processors: str = "2 6 64") -> Transcript:
    """Run a script, which must end well, on a machine of COUNT MAXIMUM GROUP_SIZE processors."""
    script = "\n".join([f"processors {processors}", *commands, ""])
    done = subprocess.run([program], input=script, capture_output=True, text=True, timeout=180)
    assert (0, "") == (done.returncode, done.stderr)
    transcript = read(done.stdout)
    assert (0, b"") == transcript.answers.pop(0)
    return transcript


def sweep(program: Path, *commands: str, processors: str = "2 6 64") -> list[Transcript]:
    """Run a script once for each fallible call in it, with that call failing."""
    script = "\n".join([f"processors {processors}", *commands, ""])
    # The process counts its own allocations; the sanitizer's search for leaks would take most of the time.
    done = subprocess.run(
        [program, "--sweep"], input=script, capture_output=True, text=True, timeout=300,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )  # fmt: skip
    assert "" == done.stderr
    transcripts = []
    lines: list[str] = []
    for line in done.stdout.splitlines():
        if line.startswith("sweep "):
            transcripts.append(read("\n".join(lines), int(line.split()[2])))
            lines = []
        else:
            lines.append(line)
    return transcripts
