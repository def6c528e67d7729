# SPDX-License-Identifier: MIT
"""The registered machine: its own directories, and its entry in the registry, by which it is ended if the harness dies."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.errors import InfrastructureError, system_errors
from harness.history.writer import HistoryWriter
from harness.host.registry import MachineEntry, ProcessName, Registry
from harness.host.runtime import RuntimeDirectory
from harness.machine.machine import MachineSpec


@dataclasses.dataclass(eq=False, repr=False)
class RegisteredMachine:
    """What machines of all kinds have.

    ``directory`` is the run directory: console.log and debugcon.log grow there. Sockets are in a short runtime directory,
    which is gone when the machine is closed.
    """

    spec: MachineSpec
    directory: Path
    writer: HistoryWriter
    _: dataclasses.KW_ONLY
    name: str = "guest"
    registry: Registry = dataclasses.field(default_factory=Registry)

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self.console = self.directory / "console.log"
        self.debugcon = self.directory / "debugcon.log"
        self.argv: list[str] = []
        self.versions: dict[str, str] = {}
        self._runtime = RuntimeDirectory()
        self.control = self._runtime.path / "control"
        self._entry: MachineEntry | None = None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with system_errors(
            f"cannot write in the run directory {self.directory}",
            hint="Give another place with --runs DIR.",
            shortage=True,
        ):
            yield

    def _register(self, command: list[str], *, uri: str = "", domain: str = "") -> None:
        """Register the machine before it has a process, so that none is ever lost."""
        harness = ProcessName.of(os.getpid())
        if harness is None:
            raise InfrastructureError(
                "/proc is not readable", hint="The harness needs Linux with /proc mounted."
            )
        self._entry = self.registry.placed(
            MachineEntry(
                name=self.name,
                harness=harness,
                qemu=None,
                directory=str(self.directory),
                runtime=str(self._runtime.path),
                command=command,
                uri=uri,
                domain=domain,
            )
        )
        self.registry.write(self._entry)

    def _note_process(self, qemu: ProcessName | None) -> None:
        """Note the machine's process, None if it is on another host, and its command."""
        if self._entry is not None:
            self._entry = msgspec.structs.replace(self._entry, qemu=qemu, command=self.argv)
            self.registry.write(self._entry)
