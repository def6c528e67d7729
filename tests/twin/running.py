# SPDX-License-Identifier: MIT
"""What the tests that boot the twin share: plans from text, whole histories, the command as a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from harness.cli.main import main
from harness.history.driver import START, SyncEnter
from harness.history.reader import History
from harness.history.record import Add, Agreement, Boot, GuestEvent, Record
from harness.run.plan import Plan, decode_plan
from harness.run.run import RunResult
from harness.setup.cache import cache_directory

Perform = Callable[..., RunResult]

OVMF = "/usr/share/ovmf/OVMF.fd"
"""UEFI firmware for the twin (Debian package ovmf)."""

CACHE = cache_directory(os.environ)
"""As it is before pytester gives a test a home directory of its own, in which the twin would be built anew."""

CHECKED = str(Path(__file__).resolve().parents[1] / "checked_harness.py")


def plan_of(text: str) -> Plan:
    """Return a plan of operations written as TOML tables."""
    return decode_plan(f'name = "test"\n{text}', name="test.toml")


def records_of(result: RunResult) -> list[Record]:
    """Return the history of a run, which must be whole."""
    history = History(result.directory)
    records = list(history)
    assert history.damage == ""
    return records


def found_at_boot(records: list[Record]) -> list[int]:
    """Return the processors that the driver was told of as existing ones, of a run to which one more is added later.

    A processor and a DIMM were added before the boot: QEMU lists them, no _OST answered for them, all agree.
    """
    found = [one for one in records if isinstance(one, Agreement) and one.expected == "found"]
    assert [(one.attempt, one.qemu_lists, one.agreed) for one in found] == [
        ("cpu-1", True, True),
        ("dimm-1", True, True),
    ]
    assert all((1, 0) not in one.ost for one in found)
    hot_add = next(one.n for one in records if isinstance(one, Add) and one.expected == "added")
    starts = [one for one in records if isinstance(one, SyncEnter) and one.state == START]
    existing = [one.nt for one in starts if one.n < hot_add]
    assert [one.nt for one in starts if one.n > hot_add] == [len(existing)]
    return existing


def beginning(result: RunResult) -> tuple[str, bool, bool]:
    """Return the cause of the first boot, and whether the guest said that it is ready and which options it booted with."""
    records = records_of(result)
    told = [one.event for one in records if isinstance(one, GuestEvent)]
    return next(one.cause for one in records if isinstance(one, Boot)), "ready" in told, "boot-option" in told


def start_harness(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start the command itself as a process of its own, its locks checked."""
    return subprocess.Popen(
        [sys.executable, CHECKED, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def run_harness(*arguments: str, seconds: float = 60) -> tuple[int, str, str]:
    """Run the command itself; return its exit code, standard output and standard error."""
    process = start_harness(*arguments)
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out.decode(), err.decode()


def run_here(*arguments: str) -> tuple[int, str, str]:
    """Run a command that starts no guest in this process; return its exit code, standard output and standard error."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


def qemu_processes(mention: Path | str) -> list[int]:
    """Return the QEMU processes, zombies left out, whose command line mentions ``mention``."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if (
            words
            and "qemu-system" in words[0]
            and any(str(mention) in word for word in words)
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ):
            found.append(process.pid)
    return found


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))
