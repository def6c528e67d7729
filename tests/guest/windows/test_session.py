# SPDX-License-Identifier: MIT
"""A session's operations on a scripted Windows, whose machine is a real QEMU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest.windows.conftest import ScriptedWindows
from part_markers import needs

from harness.capture.live.session import Capture
from harness.deadline import Deadline
from harness.guest.windows.driver_files import DriverFiles
from harness.guest.windows.guest import WindowsGuest
from harness.guest.windows.image import WindowsImage
from harness.history.reader import History
from harness.history.record import OperationProgress
from harness.host import qemu_build
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.repro.record_tape import RecordTape
from harness.repro.session import Session
from harness.run.boot import Live
from harness.run.executor import Executor
from harness.run.plan import find_plan
from harness.run.request import RunRequest
from harness.run.run import Run
from harness.run.watch import Watch

pytestmark = [pytest.mark.remote, pytest.mark.qemu]


@pytest.fixture
@needs("qemu", "remote")
def session(
    tmp_path: Path, windows: ScriptedWindows, image: WindowsImage, files: DriverFiles
) -> Iterator[tuple[Session, list[str]]]:
    """A session on a Windows that is up, and what it says."""
    request = RunRequest(
        guest="windows-server-2025",
        plan=find_plan("cpu-and-dimm"),
        runs=tmp_path / "runs",
        cache=tmp_path,
        argv=["t"],
    )
    tape, said = RecordTape(), []
    run = Run(request, listeners=(tape,))
    run._begin()
    spec = MachineSpec(
        accelerator="tcg", qemu=qemu_build.find_program(), memory=128 << 20, screen=True, monitor=True
    )
    with QemuMachine(spec, run.directory.path, run.writer) as machine:
        machine.start(Deadline(30, "start QEMU"))
        windows.change(monitor=str(machine.human))
        guest = WindowsGuest(
            machine,
            run.writer,
            image,
            windows.transports(),
            directory=run.directory.path,
            files=files,
            look=False,
        )
        guest.wait_ready(Deadline(90, "ready"))
        watch = Watch(run.writer)
        with Capture(
            debugcon=machine.debugcon,
            console=machine.console,
            writer=run.writer,
            directory=run.directory.path,
        ) as capture:
            executor = Executor(machine, guest, run.writer, watch, drain=capture.drain, seed=0)
            live = Live(
                machine=machine,
                guest=guest,
                executor=executor,
                watch=watch,
                capture=capture,
                writer=run.writer,
            )
            yield Session(run, live, said.append, tape=tape), said
        guest.close()
    run.writer.close()


def test_operations_on_windows(session: tuple[Session, list[str]], windows: ScriptedWindows) -> None:
    """They reach the guest by its tool, and are in the history; what Windows never does is refused before it is sent."""
    typed, said = session
    for line in ("load-driver", "veto-next nth=2", "qmp query-status", "screenshot", "unload-driver"):
        typed.do(line)
    assert typed.error is None, said
    began = [
        (one.name, one.arguments)
        for one in History(typed.run.directory.path)
        if isinstance(one, OperationProgress) and one.phase == "begin"
    ]
    assert ["load-driver", "veto-next", "unload-driver"] == [name for name, _ in began]
    assert 2 == began[1][1]["nth"]
    assert [] == windows.model["services"].get("hpnotify", []) or "stopped" in str(windows.model["services"])
    assert (typed.run.directory.path / "session" / "screen-1.png").read_bytes()[:4] in (b"\x89PNG", b"P6\n6")
    with pytest.raises(Exception, match="cannot be told how to answer"):
        typed.do("answer-unplugs give")
    assert 3 == len(typed.done)
