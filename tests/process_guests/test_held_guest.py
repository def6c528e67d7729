# SPDX-License-Identifier: MIT
"""A guest that is held for its user on the guest ``host``: Ctrl-C is the answer from the offer on, and no interruption."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.history import record as r
from harness.history.reader import History
from harness.interrupts import interruptible
from harness.repro.attachment import attach
from harness.repro.interactive import execute_and_wait
from harness.run.request import RunRequest
from harness.run.run import RunInterrupted

pytestmark = pytest.mark.host


def test_ctrl_c_within_the_offer_is_the_answer(request_run: Callable[..., RunRequest]) -> None:
    """A user who is faster than the program ends the guest, and the run is judged."""
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "Ctrl-C ends it" in line:
            signal.raise_signal(signal.SIGINT)

    with interruptible():
        result = execute_and_wait(request_run("cpu-and-dimm", "host"), 1, say)
    assert (result.error, result.verdict.reasons) == (None, [])
    held = [one for one in History(result.directory) if isinstance(one, r.Stage) and one.name == "held"]
    assert [("begin", ""), ("end", "taken back")] == [(one.phase, one.detail) for one in held]
    assert "The guest is yours. Ctrl-C ends it and judges the run." == said[-1]


def test_a_process_has_no_monitor(request_run: Callable[..., RunRequest]) -> None:
    """To attach says what the machine is, and does not name options that would open none either."""
    refused: list[UsageError] = []

    def say(line: str) -> None:
        if "console " in line:
            # From another directory the path is still right.
            run = Path(shlex.split(line)[3])
            assert run.is_absolute()
            for place in ("monitor", "vnc", "gdb"):
                with pytest.raises(UsageError) as caught:
                    attach(run, place, said.append)
                refused.append(caught.value)
        if "Ctrl-C ends it" in line:
            signal.raise_signal(signal.SIGINT)

    said: list[str] = []
    with interruptible():
        execute_and_wait(request_run("cpu-and-dimm", "host"), 1, say)
    assert len(refused) == 3
    assert {one.message.partition(": ")[2] for one in refused} == {"its machine is a process, without QEMU"}
    assert not [one for one in refused if "--" in one.hint]


def test_another_signal_within_the_offer_interrupts(request_run: Callable[..., RunRequest]) -> None:
    """SIGTERM is no answer."""

    def say(line: str) -> None:
        if "Ctrl-C ends it" in line:
            signal.raise_signal(signal.SIGTERM)

    with interruptible(), pytest.raises(RunInterrupted) as caught:
        execute_and_wait(request_run("cpu-and-dimm", "host"), 1, say)
    assert signal.SIGTERM == caught.value.number
