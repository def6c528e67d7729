# SPDX-License-Identifier: MIT
"""A guest that cannot speak is not blamed: who stopped, paused or starved it is said, and the run may be tried again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from part_markers import needs
from private_libvirtd import PrivateLibvirtd
from twin.running import plan_of

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import ExitCode, FailureClass, GuestHang, HarnessError, InfrastructureError, UsageError
from harness.host.scheduling import is_stopped, waiting_share
from harness.machine import shutdown
from harness.machine.libvirt.connection import load
from harness.machine.machine import Machine
from harness.run import run as run_module
from harness.run import silence as silence_module
from harness.run.boot import Live
from harness.run.failure import retriable
from harness.run.options import Timeouts
from harness.run.request import RunRequest
from harness.run.run import Run
from harness.run.silence import blame

pytestmark = pytest.mark.qemu

BUDGET = Timeouts(operation=2.0, evidence=20.0)
WITHIN = 30.0


def silenced(
    request: RunRequest, silence: Callable[[Live], None], *, patience: float = BUDGET.operation
) -> tuple[Run, HarnessError]:
    """Boot, silence the guest, ask it for its counts, and return the run with the error that ends it."""
    run = Run(request)
    try:
        with run.live() as live:
            silence(live)
            live.guest.counts(Deadline(patience, "count"))
    except HarnessError as error:
        return run, error
    pytest.fail("the guest was not silent")


def pid_of(live: Live) -> int:
    """Return QEMU's process number."""
    return int(live.machine.pid)  # type: ignore[attr-defined]


@pytest.fixture
@needs("qemu")
def request_quiet(request_run: Callable[..., RunRequest]) -> Callable[..., RunRequest]:
    """A function that makes the request of a run whose guest only waits, with short times."""
    return lambda **options: request_run(plan_of('[[do]]\nop = "quiesce"\n'), budget=BUDGET, **options)


def test_a_stopped_qemu_is_not_a_hang(
    request_quiet: Callable[..., RunRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP to QEMU: the process is named with the command that lets it go on; the run is unknown, for the infrastructure."""
    # A stopped process obeys nothing but SIGKILL, however long it is waited for.
    monkeypatch.setattr(shutdown, "QUIT_GRACE", 0.1)
    monkeypatch.setattr(shutdown, "TERM_GRACE", 0.1)
    stopped: list[int] = []

    def stop(live: Live) -> None:
        stopped.append(pid_of(live))
        os.kill(pid_of(live), signal.SIGSTOP)

    run, error = silenced(request_quiet(restore=True), stop)
    assert type(error) is InfrastructureError
    assert error.message.endswith(f"; process {stopped[0]}, which runs the guest, is stopped")
    assert error.hint == f"Continue it with: kill -CONT {stopped[0]}"
    assert (retriable(error), error.exit_code) == (True, ExitCode.INFRASTRUCTURE)
    verdict = run.judge()
    assert (verdict.verdict, verdict.failure_class) == (Verdict.UNKNOWN, FailureClass.INFRASTRUCTURE)


def test_another_client_paused_it(request_quiet: Callable[..., RunRequest]) -> None:
    """``stop`` on the human monitor: the guest is paused, and this run did not do it."""

    def pause(live: Live) -> None:
        assert live.machine.human is not None
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(WITHIN)
            monitor.connect(str(live.machine.human))
            monitor.sendall(b"stop\n")
            live.machine.wait_event("STOP", Deadline(WITHIN, "test"))

    _, error = silenced(request_quiet(monitor=True, restore=True), pause)
    assert type(error) is InfrastructureError
    assert error.message.endswith("; the guest is paused, and not by this run")


def test_this_run_paused_it(request_quiet: Callable[..., RunRequest]) -> None:
    """A session that asks a guest which it paused itself is told so; trying again would not help."""
    _, error = silenced(
        request_quiet(restore=True), lambda live: live.machine.pause(Deadline(WITHIN, "test"))
    )
    assert type(error) is UsageError
    assert error.message.endswith("; this run has paused the guest and not resumed it")
    assert not retriable(error)


def test_a_guest_that_runs_and_is_silent_hangs(request_quiet: Callable[..., RunRequest]) -> None:
    """The agent stands still on purpose while QEMU runs it: that is the guest's."""
    _, error = silenced(
        request_quiet(restore=True),
        lambda live: live.guest.provoke("hang", Deadline(BUDGET.operation, "test")),
    )
    assert type(error) is GuestHang


@pytest.mark.libvirt
@needs("libvirt")
def test_libvirt_says_who_paused_it(
    request_quiet: Callable[..., RunRequest], private_libvirtd: PrivateLibvirtd
) -> None:
    """virDomainSuspend by another connection: libvirt's own reason is passed on."""

    def suspend(live: Live) -> None:
        other = load().open(private_libvirtd.uri)
        try:
            other.lookupByUUIDString(live.machine.uuid).suspend()  # type: ignore[attr-defined]
        finally:
            other.close()

    _, error = silenced(request_quiet(backend="libvirt", connect=private_libvirtd.uri), suspend)
    assert type(error) is InfrastructureError
    assert error.message.endswith("; the guest is paused, and not by this run; libvirt's reason is 'user'")


BUSY = "import os; os.sched_setaffinity(0, {int(__import__('sys').argv[1])}); print(flush=True)\nwhile True: pass"
IDLE = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\n"
PLAIN = [sys.executable, "-E", "-S", "-c"]
"""Python without its site packages, which starts in a third of the time."""


class Crowd:
    """So many busy processes on one processor of this host that no other answers in time beside them."""

    def __init__(self) -> None:
        self._busy: list[subprocess.Popen[bytes]] = []

    def gather(self, processes: int = 12) -> int:
        """Start them, and return the processor."""
        processor = min(os.sched_getaffinity(0))
        words = [*PLAIN, BUSY, str(processor)]
        self._busy.extend(subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(processes))
        for one in self._busy:
            assert one.stdout is not None
            one.stdout.readline()
        return processor

    def leave(self) -> None:
        """End them."""
        while self._busy:
            one = self._busy.pop()
            one.kill()
            one.communicate()


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """A crowd that is gone after the test."""
    made = Crowd()
    try:
        yield made
    finally:
        made.leave()


@pytest.mark.parametrize("ask", [silence_module.ASK, 0.0], ids=["answers", "too slow to answer"])
def test_a_starved_qemu_is_not_a_hang(
    request_quiet: Callable[..., RunRequest], crowd: Crowd, monkeypatch: pytest.MonkeyPatch, ask: float
) -> None:
    """QEMU's threads run only where twelve others are busy, and only when those do not want to: it is starved.

    So it is whether it reports the guest's state in time or not.
    """
    monkeypatch.setattr(silence_module, "ASK", ask)

    def starve(live: Live) -> None:
        live.guest.strain(60, Deadline(BUDGET.operation, "test"))
        crowded = crowd.gather()
        for thread in Path(f"/proc/{pid_of(live)}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {crowded})
            os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))
        # A session is scheduled as a group where the kernel makes such groups (sched(7), "The autogroup feature").
        with contextlib.suppress(FileNotFoundError):
            Path(f"/proc/{pid_of(live)}/autogroup").write_text("19")

    def blamed(machine: Machine | None, error: HarnessError) -> HarnessError:
        """What the silence is blamed on is the matter: the evidence and the end need no crowd."""
        try:
            return blame(machine, error)
        finally:
            crowd.leave()

    monkeypatch.setattr(run_module, "blame", blamed)
    # It does run now and then, some milliseconds a second, and must not get to an answer.
    _, error = silenced(request_quiet(restore=True), starve, patience=0.2)
    assert type(error) is InfrastructureError
    assert "; the guest is starved: process " in error.message


def test_who_never_runs_waits_all_the_time(crowd: Crowd) -> None:
    """The kernel counts a wait when it ends. One that has lasted the whole time counts too."""
    # It leaves its class when it is up: on a busy host it would need seconds to start in the one of the idle.
    starved = subprocess.Popen(
        [*PLAIN, IDLE + BUSY, str(crowd.gather(3))],
        stdout=subprocess.DEVNULL,
    )
    try:
        Deadline(WITHIN, "test").poll(lambda: waiting_share(starved.pid, 0.002) == 1.0, interval=0.002)
    finally:
        starved.kill()
        # A process that never runs does not end either.
        crowd.leave()
        starved.wait()


def test_the_schedulers_account() -> None:
    """A process that sleeps waits for nothing; one that is stopped is seen as such."""
    waiter = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        Deadline(WITHIN, "test").poll(lambda: waiting_share(waiter.pid, 0.05) == 0.0, interval=0.01)
        assert not is_stopped(waiter.pid)
        waiter.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, waiter.pid, os.WSTOPPED)
        assert is_stopped(waiter.pid)
    finally:
        waiter.kill()
        waiter.communicate()
    assert not is_stopped(waiter.pid)
    assert waiting_share(waiter.pid, 0.01) == 0.0
