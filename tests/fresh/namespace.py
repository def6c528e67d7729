# SPDX-License-Identifier: MIT
"""A namespace of mounts and processes: whatever a command mounts or starts in it is gone when the command ends.

So it is when this process is killed, too: each link of the chain has the kernel kill it when its parent ends.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence

import psutil

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.interrupts import uninterrupted
from harness.program import DEVNULL, ChildProcess, run_program, start_program

APART = (
    "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork",
    "--kill-child=KILL", "--mount-proc", "--uts", "--ipc", "--",
)  # fmt: skip


def check_mounts() -> None:
    """Raise InfrastructureError if this process may not mount in a namespace of its own."""
    ended = run_program([*APART, "mount", "-t", "tmpfs", "none", "/mnt"], Deadline(30, "trying a mount"))
    if ended.status:
        raise InfrastructureError(
            f"this machine lets {_who()} mount nothing: {ended.failure()}",
            hint="Run this as root. A container needs the capability CAP_SYS_ADMIN (docker run --privileged).",
        )


def _who() -> str:
    return f"the user {psutil.Process().username()}"


def run_apart(
    command: Sequence[str],
    deadline: Deadline,
    *,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
) -> int:
    """Run ``command`` in a namespace of its own as its first process, and return its exit status.

    It writes where this process writes. It is killed, with everything that it started, when the deadline passes or this
    call is left by an exception. Raises InfrastructureError when the deadline passes.
    """
    sys.stdout.flush()
    child = start_program(
        [*APART, *command], deadline.what, environment=environment, stdout=None, stderr=None, stdin=DEVNULL,
        descriptors=descriptors,
    )  # fmt: skip
    try:
        return child.wait(deadline.remaining())
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(f"{deadline.what}: not finished within {deadline.seconds:g} s") from error
    finally:
        with uninterrupted():
            end_apart(child)


def end_apart(child: ChildProcess) -> None:
    """Kill what runs apart, and wait until it is gone: the first process of a namespace takes all others with it.

    unshare is killed before it, since it complains about a first process that was killed.
    """
    if child.poll() is None:
        first: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(child.pid).children()
        child.kill()
        child.wait()
        Deadline(30, "ending a namespace").poll(lambda: not any(map(_alive, first)))


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
