# SPDX-License-Identifier: MIT
"""The registry finds what is ours, and never takes a stranger for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.host.registry import MachineEntry, ProcessName, Registry


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A live process."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def entry(tmp_path: Path, harness: ProcessName | None, qemu: ProcessName | None) -> MachineEntry:
    """An entry with a runtime directory of its own."""
    runtime = tmp_path / "hotplug-abc"
    runtime.mkdir(exist_ok=True)
    assert harness is not None
    return MachineEntry(
        name="vm", harness=harness, qemu=qemu, directory="/run", runtime=str(runtime), command=["qemu"]
    )


def test_running(tmp_path: Path, registry: Registry, sleeper: subprocess.Popen[bytes]) -> None:
    """With harness and QEMU alive a machine runs, and comes back as it was written."""
    written = registry.write(entry(tmp_path, ProcessName.of(os.getpid()), ProcessName.of(sleeper.pid)))
    assert [written] == registry.running()


def test_dead_harness(tmp_path: Path, registry: Registry, sleeper: subprocess.Popen[bytes]) -> None:
    """A machine whose harness is gone does not run, and its QEMU is still found."""
    mine = ProcessName.of(sleeper.pid)
    assert mine is not None
    gone = msgspec.structs.replace(mine, started=mine.started - 1)
    written = registry.write(entry(tmp_path, gone, mine))
    assert ([written], []) == (registry.entries(), registry.running())
    assert [mine] == written.processes()


def test_zombie_is_dead(tmp_path: Path, registry: Registry, sleeper: subprocess.Popen[bytes]) -> None:
    """A process that ended but was not reaped is not alive, though its number is still taken."""
    name = ProcessName.of(sleeper.pid)
    written = registry.write(entry(tmp_path, ProcessName.of(os.getpid()), name))
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    os.kill(sleeper.pid, 0)
    assert ProcessName.of(sleeper.pid) is None
    assert ([written], []) == (registry.entries(), registry.running())


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_recycled_number(sleeper: subprocess.Popen[bytes], change: dict[str, object]) -> None:
    """The same number with another start, or of another boot, is another process."""
    name = ProcessName.of(sleeper.pid)
    assert name is not None
    assert name.alive()
    assert not msgspec.structs.replace(name, **change).alive()


def test_being_spawned(tmp_path: Path, registry: Registry) -> None:
    """Before QEMU's number is known a machine is in the registry, and does not run."""
    written = registry.write(entry(tmp_path, ProcessName.of(os.getpid()), None))
    assert ([written], []) == (registry.entries(), registry.running())


def test_unnoted_qemu_is_found_by_its_command(tmp_path: Path) -> None:
    """A QEMU whose number was never noted is found by its command, with what starts it or without; a mention is not enough."""
    unnoted = entry(tmp_path, ProcessName.of(os.getpid()), None)
    # A shell that waits without a child of its own, which would for a moment bear the same command.
    command = ["sh", "-c", "read line", unnoted.runtime + "/qmp"]
    unnoted = msgspec.structs.replace(unnoted, command=command[-3:])
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as process,
        subprocess.Popen([*command, "attached"], stdin=subprocess.PIPE),
    ):
        # Around its exec a process bears no command or its parent's for a moment.
        Deadline(10, "exec").poll(lambda: [process.pid] == [name.pid for name in unnoted.processes()])
    assert [] == unnoted.processes()


def test_remove(tmp_path: Path, registry: Registry) -> None:
    """Removing an entry removes its file and its runtime directory."""
    written = registry.write(entry(tmp_path, ProcessName.of(os.getpid()), None))
    registry.remove(written)
    assert [] == registry.entries()
    assert not Path(written.runtime).exists()


def test_remove_touches_no_other_directory(tmp_path: Path, registry: Registry) -> None:
    """An entry that names something else as its runtime directory does not make us delete it."""
    precious = tmp_path / "precious"
    precious.mkdir()
    forged = msgspec.structs.replace(
        entry(tmp_path, ProcessName.of(os.getpid()), None), runtime=str(precious)
    )
    registry.remove(registry.write(forged))
    assert precious.is_dir()


def test_damaged_entry_is_passed_over(registry: Registry) -> None:
    """A file that is no entry hides no other."""
    registry.directory.mkdir()
    (registry.directory / "bad.json").write_text("{")
    assert [] == registry.entries()


def test_unwritable_state_directory(tmp_path: Path) -> None:
    """A state directory that cannot be written is said, with the way out."""
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match="cannot note the machine") as refused:
        Registry(tmp_path / "file" / "registry").write(entry(tmp_path, ProcessName.of(os.getpid()), None))
    assert "XDG_STATE_HOME" in refused.value.hint
