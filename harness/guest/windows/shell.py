# SPDX-License-Identifier: MIT
"""The harness's scripts in one guest, run as often as necessary, or exactly once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, TypeVar

from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.guest.windows import answer, script
from harness.transport.link import WireTransport
from harness.transport.results import CommandResult

T = TypeVar("T")

SCRIPT = "script"
"""The event with the result of one script: ``NAME: answered``, ``NAME: code N`` or ``NAME: broke off: WORDS``."""

ANSWERED, BROKE_OFF = "answered", "broke off"

HOME = "C:\\ProgramData\\hotplug-harness"
"""The harness's folder in the guest."""

ANSWERS = f"{HOME}\\answers"
TOOL = f"{HOME}\\hpnctl.exe"
"""The driver's control program, put there when the guest is ready."""


class PowerShellSession:
    """PowerShell in a guest, reached by ``commands``. Every method raises a transport's errors.

    ``told`` is called for each script that Windows answered, with its name and :data:`ANSWERED`, ``code N`` if its program ended
    with a code other than 0, or :data:`BROKE_OFF` with Windows' message. It is not called if the answer was lost on the way.
    """

    def __init__(self, commands: WireTransport) -> None:
        self.commands = commands
        self.told: Callable[[str, str], None] = lambda *_: None

    def ask(self, name: str, deadline: Deadline, kind: type[T], *, again: bool = True, **values: Any) -> T:
        """Run a script that may run twice, with ``again`` repeatedly if the connection breaks, and return its answer."""
        text = script.compose(name, **values)
        return self._answer(self.commands.script(text, deadline, idempotent=again), kind, name)

    def once(self, name: str, deadline: Deadline, kind: type[T], **values: Any) -> T:
        """Run a script exactly once, even if the connection breaks while it runs, and return its answer.

        Across a hot-add Windows may stop and start its network. The script continues, and its answer is requested again.
        """
        text = script.compose_once(name, directory=ANSWERS, command=secrets.token_hex(8), **values)
        found = self._answer(self.commands.script(text, deadline, idempotent=True), kind, name)
        self.told(script.ONCE, ANSWERED)
        return found

    def tool(self, words: str, deadline: Deadline, *, device: str = "", idempotent: bool = True) -> str:
        """Run ``hpnctl`` and return its output. Raises GuestRefused with its message for any exit code but 0."""
        named = f" --device {device}" if device else ""
        outcome = self.commands.run(f'"{TOOL}"{named} {words}', deadline, idempotent=idempotent)
        if outcome.exit_code != 0:
            raise GuestRefused(f"hpnctl{named} {words}: exit code {outcome.exit_code}: {_words(outcome)}")
        return outcome.stdout

    def machine(self, deadline: Deadline) -> answer.MachineView:
        """Return Windows' counts and what the firmware reported to it."""
        return answer.decode(self.tool("machine", deadline), answer.MachineView, what="hpnctl machine")

    def _answer(self, outcome: CommandResult, kind: type[T], name: str) -> T:
        what = f"script {name}"
        try:
            if outcome.exit_code != 0:
                raise GuestRefused(f"{what}: exit code {outcome.exit_code}: {_words(outcome)}")
            if not outcome.complete:
                raise GuestRefused(f"{what}: half an answer: {'; '.join(outcome.remarks)}")
            found = answer.decode(outcome.stdout, kind, what=what)
        except GuestRefused as error:
            if outcome.complete:
                self.told(name, f"{BROKE_OFF}: {error.message}")
            raise
        code = getattr(found, "code", 0)
        self.told(name, f"code {code}" if code else ANSWERED)
        return found


def _words(outcome: CommandResult) -> str:
    return (outcome.stderr.strip() or outcome.stdout.strip() or "no output")[:400]
