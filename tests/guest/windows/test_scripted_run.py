# SPDX-License-Identifier: MIT
"""What each stage of a run asks of Windows: its commands and requests, counted on a whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest.windows.conftest import ScriptedWindows
from guest.windows.scripted_run import ScriptedKernel, asked
from guest.windows.test_driver_trace import CLOSED, OPEN, START, STOP, logged
from guest.windows.test_guest_type import Request, driver, request_of, store
from guest.windows.test_mapped_run import MAP, answering, tiny

from harness.guest.windows.trace import AT_BOOT
from harness.history.reader import History
from harness.run.operation import AddCpu, LoadDriver, Quiesce, UnloadDriver
from harness.run.options import Timeouts
from harness.run.run import perform
from harness.template.store import Store

__all__ = ["driver", "request_of", "store", "tiny"]

pytestmark = [pytest.mark.qemu, pytest.mark.remote]


@pytest.fixture
def kernel(windows: ScriptedWindows) -> Iterator[ScriptedKernel]:
    """A kernel that takes processors."""
    kernel = ScriptedKernel(windows)
    yield kernel
    kernel.close()


def test_what_each_stage_asks(
    store: Store,
    request_of: Request,
    windows: ScriptedWindows,
    kernel: ScriptedKernel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stage that asks more makes every run on Windows slower."""
    answering(monkeypatch, windows)
    windows.file(AT_BOOT).parent.mkdir(parents=True)
    windows.file(AT_BOOT).write_bytes(b"no trace")
    request = request_of(
        LoadDriver(), Quiesce(quiet=0.01), UnloadDriver(), AddCpu(), monitor=True, budget=Timeouts(quiet=0.01)
    )
    result = perform(request, listeners=(kernel,))
    assert result.error is None
    stages = {one.stage: one.commands for one in asked(History(result.directory), windows, kernel.spent)}
    assert {
        "boot": 6,  # ready, the tool (folder, content, digest), two of the preflight
        "driver": 2,  # without a driver: counted, alive
        "load-driver": 7,  # the file, the service, counted, alive, marked
        "quiesce": 1,  # alive
        "unload-driver": 2,  # the ring, the service
        "add-cpu": 4,  # counted before, counted with it, alive, counted after the silence
        "collect": 11,  # alive, the trace's end, the logs, and two for each of four files
    } == {name: commands for name, commands in stages.items() if commands}


def test_what_a_driver_with_a_map_adds(
    store: Store,
    request_of: Request,
    windows: ScriptedWindows,
    kernel: ScriptedKernel,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its events are asked for before the silence, and once behind the proof that ends it."""
    answering(monkeypatch, windows)
    windows.change(
        log_head=OPEN.hex(),
        log_closed=CLOSED.hex(),
        logged={"start": [logged(START, at=1)], "stop": [logged(STOP, at=100, sequence=2)]},
    )
    do = (LoadDriver(), Quiesce(quiet=0.01), UnloadDriver())
    request = request_of(*do, driver=str(tiny), driver_map=str(MAP), budget=Timeouts(quiet=0.01))
    result = perform(request, listeners=(kernel,))
    assert result.error is None
    stages = {one.stage: one.commands for one in asked(History(result.directory), windows, kernel.spent)}
    assert {"boot": 7, "driver": 4, "load-driver": 8, "quiesce": 3, "unload-driver": 2, "collect": 10} == {
        name: commands for name, commands in stages.items() if commands
    }
