# SPDX-License-Identifier: MIT
"""Interactive use of a live guest: executes a plan up to a step, prints how to attach, and waits.

The guest continues to run. After a failed step it stays as the failure left it: a panicked guest is stopped, a hanging
one hangs. The harness sends it nothing until Ctrl-C, or until QEMU ends. Then the run is closed and judged like any
other.
"""

from __future__ import annotations

import contextlib

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, MachineFailed
from harness.history.record import Stage
from harness.history.writer import Listener
from harness.interrupts import answered, uninterrupted
from harness.repro.attachment import how_to_attach
from harness.run.boot import Live
from harness.run.request import RunRequest
from harness.run.run import Learnt, Run, RunResult
from harness.run.say import Say

LONGEST = 7 * 24 * 3600.0
"""Seconds after which an interactive guest is ended."""

LOOK = 0.2
"""Seconds between two checks whether QEMU is still there."""


def execute_and_wait(
    request: RunRequest,
    step: int,
    say: Say,
    *,
    listeners: tuple[Listener, ...] = (),
    learnt: Learnt = lambda _: None,
) -> RunResult:
    """Execute the first ``step`` operations of the plan, wait until the user has finished, and return the run's
    result.

    It also waits after a failed step, while QEMU runs. Raises RunInterrupted before that, and InfrastructureError as
    :func:`harness.run.run.perform` does.
    """
    run = Run(request, listeners=listeners, learnt=learnt)

    def use(live: Live) -> None:
        failed: HarnessError | None = None
        try:
            live.executor.execute(request.plan.do[:step])
        except MachineFailed:
            raise
        except HarnessError as error:
            failed = error
            say(f"A step failed: {error.message}")
        _wait(live, run, say)
        if failed is not None:
            raise failed

    return run.attempt(use)


def _wait(live: Live, run: Run, say: Say) -> None:
    why = "QEMU ended"
    try:
        # A Ctrl-C that follows the offer at once is the answer, too.
        with uninterrupted():
            for line in how_to_attach(live.machine, run):
                say(line)
            say("The guest is yours. Ctrl-C ends it and judges the run.")
            live.writer.write(Stage(name="held", phase="begin"))
        with contextlib.suppress(InfrastructureError):
            Deadline(LONGEST, "wait for Ctrl-C").poll(
                lambda: not live.machine.alive(),
                interval=LOOK,
                error=lambda: InfrastructureError("the time for interactive use is over"),
            )
            say("QEMU ended.")
    except KeyboardInterrupt as error:
        if not answered(error):
            raise
        why = "taken back"
    live.writer.write(Stage(name="held", phase="end", detail=why))
