# SPDX-License-Identifier: MIT
"""The end of a domain: destroyed by libvirt, by its leash, or, when libvirt does not answer, by signals to its QEMU."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any

from harness.deadline import Deadline
from harness.errors import HarnessError
from harness.host.registry import ProcessName
from harness.machine.libvirt.connection import Connection, bounded, load

RECONNECT_GRACE = 2.0
"""Seconds for a connection that just dropped to come back. A restart of libvirtd takes about one."""

DESTROY_GRACE = 20.0
"""Seconds for virDomainDestroy: it sends SIGTERM, waits ten seconds, and sends SIGKILL (libvirt: virDomainDestroy)."""

PATIENCE = 5.0
"""Seconds for it where QEMU's process can be signalled from here: then a hung libvirtd need not be awaited."""

TERM_GRACE = 3.0
KILL_GRACE = 10.0
"""Seconds for a process that is signalled without libvirt."""


def end_domain(
    connection: Connection, leash: Any, uuid: str, process: ProcessName | None, hurry: threading.Event
) -> bool:
    """End the domain and return whether it is gone for certain. Bounded by the sum of the graces.

    ``hurry`` shortens libvirt's own time limit where the process can be signalled.
    """
    libvirt = load()

    def destroy() -> bool:
        """Return True once libvirt reports that there is no such domain any more."""
        link = connection.peek()
        if link is None:
            return False
        try:
            link.connection.lookupByUUIDString(uuid).destroy()
        except libvirt.libvirtError as error:
            return bool(error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN)
        return True

    gone = False
    if connection.connected(RECONNECT_GRACE):
        patience = DESTROY_GRACE if process is None else 0.5 if hurry.is_set() else PATIENCE
        deadline = Deadline(patience, "destroy")
        with contextlib.suppress(TimeoutError, HarnessError):
            gone = bounded(destroy, deadline)
    if leash is not None:
        # libvirt's remaining state of it goes with the connection to which it is tied.
        with contextlib.suppress(TimeoutError, libvirt.libvirtError):
            bounded(leash.close, Deadline(TERM_GRACE, "let go of the leash"))
    if process is not None:
        for number, grace in ((signal.SIGTERM, TERM_GRACE), (signal.SIGKILL, KILL_GRACE)):
            if not process.alive():
                break
            if not gone or number == signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, number)
            with contextlib.suppress(HarnessError):
                Deadline(grace, "end QEMU").poll(lambda: not process.alive())
        return not process.alive()
    return gone
