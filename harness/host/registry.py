# SPDX-License-Identifier: MIT
"""The registry: one file per running machine in the user's state directory, so that no machine is ever lost.

An entry is written before QEMU is spawned and removed when the machine is closed. A process is named by its number,
its start time in clock ticks since boot, and the boot's id. So a recycled number, a zombie or another boot's process is
never mistaken for the harness's own (proc(5)).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from harness.errors import of_shortage, system_errors
from harness.history.json_file import read_json
from harness.history.private import open_private
from harness.host.runtime import remove as remove_runtime


class ProcessName(msgspec.Struct, frozen=True, kw_only=True):
    """A unique name of a process: number, start in clock ticks since boot, boot id."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the name of a live process; None for none, for a zombie, or when /proc has no answer.

        Raises InfrastructureError if this process may open no more files.
        """
        try:
            stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        except (OSError, ValueError) as error:
            if short := of_shortage(error):
                # A process that cannot be read must not count as dead.
                raise short from error
            return None
        # The second field is the program's name in brackets, which may itself contain brackets and spaces.
        fields = stat[stat.rfind(")") + 2 :].split()
        if len(fields) < 20 or fields[0] in "ZXx":
            return None
        return cls(pid=pid, started=int(fields[19]), boot=boot)

    def alive(self) -> bool:
        """Return whether this very process is running."""
        return ProcessName.of(self.pid) == self


class MachineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that a harness started. ``qemu`` is None until it is spawned. Paths are absolute.

    ``runtime``, a random name that occurs in ``command``, finds a QEMU whose number was never noted. ``uri`` and
    ``domain``, the UUID, are "" for a machine that does not run through libvirt.
    """

    name: str
    harness: ProcessName
    qemu: ProcessName | None
    directory: str
    runtime: str
    command: list[str]
    uri: str = ""
    domain: str = ""
    file: str = ""

    def alive(self) -> bool:
        """Return whether both the harness and its QEMU are running."""
        return self.harness.alive() and self.qemu is not None and self.qemu.alive()

    def processes(self) -> list[ProcessName]:
        """Return the live processes that belong to this machine: QEMU, or the program spawned to become it.

        If QEMU's number was never noted, it is found by its command, or under libvirt by the name that libvirt was given.
        """
        if self.qemu is not None:
            return [self.qemu] if self.qemu.alive() else []
        found = []
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                with contextlib.suppress(OSError):
                    words = [
                        os.fsdecode(word) for word in (directory / "cmdline").read_bytes().split(b"\0")[:-1]
                    ]
                    if self._is_command(words):
                        name = ProcessName.of(int(directory.name))
                        if name is not None and name != self.harness:
                            found.append(name)
        return found

    def _is_command(self, words: list[str]) -> bool:
        if self.domain:
            return any(word.startswith(f"guest={Path(self.runtime).name},") for word in words)
        return len(self.command) > 1 and words[-len(self.command) :] == self.command


def state_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory of the harness's state of this user (XDG Base Directory)."""
    named = environment.get("XDG_STATE_HOME", "")
    base = Path(named) if named.startswith("/") else Path.home() / ".local" / "state"
    return base / "hotplug-harness"


class Registry:
    """The entries of this user. ``directory`` overrides the place. It is made if it does not exist."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or state_directory(os.environ) / "machines"

    def placed(self, entry: MachineEntry) -> MachineEntry:
        """Return the entry with its file. Keep it before it is written: an interrupt may come as soon as the file exists."""
        return msgspec.structs.replace(entry, file=str(self.directory / f"{Path(entry.runtime).name}.json"))

    def write(self, entry: MachineEntry) -> MachineEntry:
        """Write or replace an entry in one step; return it with its file. Raises InfrastructureError."""
        entry = self.placed(entry)
        file = Path(entry.file)
        fresh = file.with_suffix(".new")
        with system_errors(
            f"cannot note the machine in {self.directory}", hint="Set XDG_STATE_HOME to a writable directory."
        ):
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_TRUNC), "wb") as draft:
                draft.write(msgspec.json.encode(entry))
            fresh.replace(file)
        return entry

    def remove(self, entry: MachineEntry) -> None:
        """Forget a machine that is gone; its runtime directory goes with it."""
        remove_runtime(Path(entry.runtime))
        for file in (Path(entry.file).with_suffix(".new"), Path(entry.file)):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    def entries(self) -> list[MachineEntry]:
        """Return every readable entry, oldest first. A file that is not an entry is skipped."""
        found: list[tuple[int, MachineEntry]] = []
        if self.directory.is_dir():
            for file in sorted(self.directory.glob("*.json")):
                entry = read_json(file, MachineEntry)
                with contextlib.suppress(OSError):
                    if entry is None:
                        continue
                    found.append((file.stat().st_mtime_ns, msgspec.structs.replace(entry, file=str(file))))
        return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]

    def half_written(self) -> list[Path]:
        """Return the files that should have become an entry and whose writer is dead.

        An unreadable file may be in progress. Writing takes microseconds, so such a file is skipped for a minute.
        """
        found = []
        for file in self.directory.glob("*.new"):
            with contextlib.suppress(OSError):
                entry = read_json(file, MachineEntry)
                age = time.time() - file.stat().st_mtime
                if age > 60 if entry is None else not entry.harness.alive():
                    found.append(file)
        return found

    def running(self) -> list[MachineEntry]:
        """Return the machines whose harness and QEMU both run."""
        return [entry for entry in self.entries() if entry.alive()]
