# SPDX-License-Identifier: MIT
"""The driver's event trace in a guest: begun by Windows itself at boot, flushed, stopped, and asked what it lost."""

from __future__ import annotations

from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.guest.windows import answer
from harness.guest.windows.shell import HOME, PowerShellSession
from harness.template.provision import PROVIDER_GUID, SESSION

AT_BOOT = f"C:\\Windows\\System32\\LogFiles\\WMI\\{SESSION}.etl"
"""Where Windows writes a session that begins with the boot (W32: ETW/configuring-and-starting-an-autologger-session.md).
It is written anew at each boot."""

EVERYTHING = (1 << 64) - 1
"""All keywords of a provider."""

RESTARTED = f"{HOME}\\trace\\hpnotify.etl"

BUFFERS_PER_PROCESSOR = 4
"""W32: ETW/configuring-and-starting-an-autologger-session.md: at least two; how a processor that is added later gets its
buffers is not documented, so there are as many as for all that can come."""


class Trace:
    """The trace session that a template starts with each boot, or one that we started later.

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
        """Start a session that was stopped, or a new one, with buffers for ``processors``. Raises GuestRefused with logman's words.

        Times are those of the performance counter, as the driver's own are (W32: ETW/wnode-header.md, ClientContext 1).
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

    def flush(self, deadline: Deadline) -> answer.TraceAccount:
        """Have the session write its buffers, and return its account."""
        return self._control("--flush", deadline)

    def account(self, deadline: Deadline) -> answer.TraceAccount:
        """Return what the session lost so far."""
        return self._control("", deadline)

    def stop(self, deadline: Deadline) -> answer.TraceAccount:
        """Stop the session; its file is whole then. Returns its last account."""
        return self._control("--stop", deadline)

    def _control(self, words: str, deadline: Deadline) -> answer.TraceAccount:
        name = f'"{self._session}"' if " " in self._session else self._session
        said = self._shell.tool(f"trace {name} {words}".strip(), deadline, idempotent=not words)
        return answer.decode(said, answer.TraceAccount, what="hpnctl trace")
