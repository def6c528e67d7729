# SPDX-License-Identifier: MIT
"""One test's run, and the operations of a test on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.contract.verdict import RunVerdict
    from harness.history.record import Record
    from harness.run.boot import Live
    from harness.run.run import Run, RunResult

ReadRecords = Callable[[], "list[Record]"]
"""The type of the fixture ``history``."""

JudgeNow = Callable[[], "RunVerdict"]
"""The type of the fixture ``verdict``."""


class RunUnderTest:
    """One test's run: started when it is created, ended and judged once.

    ``asked`` is set once the test has requested its verdict. ``error`` is the error that ended the test
    early, set while the guest still runs: the run then ends with it, so that it is in the history and the
    guest's evidence is collected.
    """

    def __init__(self, run: Run, *, stack: contextlib.ExitStack) -> None:
        self.run = run
        self.asked = False
        self.over = False
        self.error: BaseException | None = None
        self.on_violation: Callable[[RunUnderTest], None] | None = None
        self._stack = stack
        self._verdict: RunVerdict | None = None
        self.live: Live = stack.enter_context(run.live())

    def begin(self, operations: Sequence[Any]) -> None:
        """Execute the operations that a test starts with. What they raise is also the run's error."""
        try:
            self.live.executor.execute(list(operations))
        except BaseException as error:
            self.error = error
            raise

    def verdict(self) -> RunVerdict:
        """End the run if it is still active, judge it, and return the verdict; later calls return the same one."""
        from harness.errors import HarnessError

        if self._verdict is None:
            error = self.error
            if error is None:
                try:
                    self.live.executor.execute([])
                    if self.on_violation is not None and self.run.judge_so_far().verdict == "violated":
                        self.on_violation(self)
                        # A Ctrl-C there is answered; what was typed may still be under way.
                        self.live.executor.execute([])
                except HarnessError as late:
                    error = late
            self.over = True
            try:
                if error is None:
                    with contextlib.suppress(
                        HarnessError
                    ):  # it is in the history as a Fault, and so in the verdict
                        self._stack.close()
                else:
                    with contextlib.suppress(type(error)):
                        self._stack.__exit__(type(error), error, error.__traceback__)
            finally:
                # An error at the very end does not change the recorded history.
                self._verdict = self.run.judge()
        return self._verdict

    def result(self) -> RunResult:
        """Return the result of the run; end the run if it is still active."""
        return self.run.result(self.verdict())

    def how_to_attach(self) -> list[str]:
        """Return how to inspect the guest while it is alive, one line each; [] after its end."""
        if self.over or not self.live.machine.alive():
            return []
        from harness.repro.attachment import how_to_attach

        return how_to_attach(self.live.machine, self.run)

    def converse(self, say: Callable[[str], None]) -> None:
        """Hold a session on the guest, at a prompt or by a script on standard input; what ended the run there ends it."""
        from harness.errors import HarnessError
        from harness.repro.interactive_run import hold_here
        from harness.repro.prompt import lines_for

        try:
            lines = lines_for(self.run.request.cache / "repro-history", say)
            session = hold_here(self.run, self.live, lines, say)
        except HarnessError as error:
            # Without the extra, or for a history that cannot be read: the test goes on.
            say(str(error))
            return
        self.error = self.error or session.error


class Hotplug:
    """Hot-add operations on the test's guest; each waits for its consequences and records them.

    The arguments are those of a plan's operations (:mod:`harness.run.operation`).
    """

    def __init__(self, live: Live) -> None:
        self._live = live

    def add_cpu(self, **arguments: Any) -> None:
        """Add one processor: ``slot``, ``id``, ``expect``, ``saying``, ``settle``, ``timeout``."""
        from harness.run.operation import AddCpu

        self.do(AddCpu(**arguments))

    def add_dimm(self, size: str = "256 MiB", **arguments: Any) -> None:
        """Add one DIMM: ``size``, ``node``, ``id``, ``expect``, ``saying``, ``settle``, ``unaligned``, ``timeout``.

        Also ``backend``, ``share``, ``prealloc``, ``hugepages``, ``host_nodes`` and ``file_size``; QEMU
        reports what this host lacks for them, because without a plan they are not checked before the boot.
        """
        from harness.run.operation import AddDimm
        from harness.size import Size

        self.do(AddDimm(size=Size(size), **arguments))

    def do(self, *operations: Any) -> None:
        """Execute operations of :mod:`harness.run.operation` in order."""
        for operation in operations:
            self._live.executor.step(operation)

    def plan(self, name: str) -> None:
        """Execute the operations of a built-in plan or a plan file."""
        from harness.run.plan import find_plan

        self.do(*find_plan(name).do)
