# SPDX-License-Identifier: MIT
"""The driver's event trace in a guest: started by Windows at boot, flushed and stopped here, with its account of losses."""

from __future__ import annotations

from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.guest.windows import answer
from harness.guest.windows.shell import HOME, PowerShellSession
from harness.template.provision import PROVIDER_GUID, SESSION

AT_BOOT = f"C:\\Windows\\System32\\LogFiles\\WMI\\{SESSION}.etl"
"""The file of a session that begins with the boot (W32: ETW/configuring-and-starting-an-autologger-session.md).
Each boot rewrites it."""

EVERYTHING = (1 << 64) - 1
"""All keywords of a provider."""

RESTARTED = f"{HOME}\\trace\\hpnotify.etl"

BUFFERS_PER_PROCESSOR = 4
"""W32: ETW/configuring-and-starting-an-autologger-session.md: at least two. How a processor that is added later gets its
buffers is not documented, so there are as many as for all possible processors."""


class Trace:
    """The trace session that a template starts with each boot, or one that the harness started later.

    ``session`` is its name, ``file`` is where it writes.
    """

    def __init__(self, shell: PowerShellSession, *, session: str = SESSION) -> None:
        self._shell = shell
        self._session = session
        self.file = AT_BOOT

    def start(
        self,
        deadline: Deadline,
        *,
        processors: int,
        provider: str = PROVIDER_GUID,
        flags: int = EVERYTHING,
        file: str = RESTARTED,
    ) -> None:
        """Start a session, stopped before or new, with buffers for ``processors``. Raises GuestRefused with logman's message.

        Times are those of the performance counter, like the driver's own (W32: ETW/wnode-header.md, ClientContext 1).
        """
        step = self._shell.once(
            "trace-start",
            deadline,
            answer.ChangeStep,
            Session=self._session,
            Provider=provider,
            Flags=f"{flags:#x}",
            Path=file,
            Buffers=BUFFERS_PER_PROCESSOR * processors,
        )
        if step.code:
            raise GuestRefused(f"the trace did not start: logman: exit code {step.code}: {step.said[:300]}")
        self.file = file

    def stop(self, deadline: Deadline) -> answer.TraceAccount:
        """Stop the session and return its last account. Its file is then complete."""
        name = f'"{self._session}"' if " " in self._session else self._session
        said = self._shell.tool(f"trace {name} --stop", deadline, idempotent=False)
        return answer.decode(said, answer.TraceAccount, what="hpnctl trace")
