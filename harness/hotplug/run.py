# SPDX-License-Identifier: MIT
"""One run: boot a guest, load the driver, execute a plan, record everything, then judge the history."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

import harness
from harness.contract.checker import judge_history
from harness.contract.verdict import RunVerdict
from harness.errors import HarnessError, InfrastructureError
from harness.history.reader import History
from harness.history.record import FORMAT, Clock, End, Fault, Header
from harness.history.run_directory import RunDirectory, RunFacts
from harness.history.tape import Listener, Tape
from harness.hotplug.boot import Boot, Live
from harness.hotplug.request import RunRequest
from harness.hotplug.stage import Stages
from harness.machine import ladder


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where the evidence is, the verdict, and the error that ended the run early, if one did."""

    directory: Path
    verdict: RunVerdict
    error: HarnessError | None = None


class Run:
    """One run's evidence and life. Use :meth:`live` to have a guest, or :func:`perform` for a whole plan."""

    def __init__(self, request: RunRequest, *, listeners: tuple[Listener, ...] = ()) -> None:
        self.request = request
        self.directory = RunDirectory(request.runs, request.plan.name)
        facts = RunFacts(
            run=self.directory.name,
            harness=harness.__version__,
            argv=request.argv,
            guest=request.guest,
            plan=msgspec.to_builtins(request.plan),
            seed=request.seed,
            started=_utc(),
            backend=request.backend,
            machine=request.machine,
            firmware=request.firmware,
            plant=request.plant,
            host={
                "system": platform.platform(),
                "python": sys.version.split()[0],
                "cpus": str(os.cpu_count()),
            },
        )
        self.tape = Tape(self.directory.path / "history.jsonl")
        for listener in listeners:
            self.tape.subscribe(listener)
        self.stages = Stages(self.tape)
        self._boot = Boot(request, self.directory, facts, self.tape, self.stages)

    @property
    def facts(self) -> RunFacts:
        """What the run is made of, as far as it is known."""
        return self._boot.facts

    @contextlib.contextmanager
    def live(self) -> Iterator[Live]:
        """Boot, load the driver, yield; then end everything, whatever happened, and close the history.

        A HarnessError becomes a Fault record and is raised again; so is an interruption.
        """
        outcome: Literal["completed", "failed", "interrupted"] = "failed"
        stack = contextlib.ExitStack()
        try:
            self._begin()
            yield self._boot.up(stack)
            outcome = "completed"
        except HarnessError as error:
            self._fault(error)
            raise
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            with ladder.uninterrupted():
                self._end(outcome, stack)

    def judge(self) -> RunVerdict:
        """Judge the history as it lies on disk and store ``verdict.json``."""
        verdict = judge_history(History(self.directory.path))
        self.directory.write_json("verdict.json", verdict)
        return verdict

    def _begin(self) -> None:
        self.directory.write_json("run.json", self.facts)
        self.tape.write(
            Header(
                format=FORMAT,
                harness=harness.__version__,
                run=self.directory.name,
                guest=self.request.guest,
                wall=self.facts.started,
            )
        )
        self.tape.write(Clock(domain="host", hz=1_000_000_000))

    def _fault(self, error: HarnessError) -> None:
        with contextlib.suppress(
            InfrastructureError
        ):  # the disk may be full: the error itself is raised all the same
            self.tape.write(
                Fault(
                    failure_class=str(error.failure_class),
                    stage=self.stages.current,
                    message=error.message[:2000],
                )
            )

    def _end(
        self, outcome: Literal["completed", "failed", "interrupted"], stack: contextlib.ExitStack
    ) -> None:
        """End what was begun, newest first; then close the history. The tape's own failure is not raised again."""
        try:
            stack.close()
        except HarnessError as error:
            outcome = "failed" if outcome == "completed" else outcome
            self._fault(error)
        finally:
            with contextlib.suppress(InfrastructureError):
                self.tape.write(End(outcome=outcome))
            self.tape.close()
        self._boot.facts = msgspec.structs.replace(self.facts, finished=_utc())
        with contextlib.suppress(InfrastructureError):
            self.directory.write_json("run.json", self.facts)


def perform(request: RunRequest, *, listeners: tuple[Listener, ...] = ()) -> RunResult:
    """Run a plan from power-on to verdict.

    A HarnessError of the run itself is returned in the result, next to the verdict on what was recorded. Raises
    InfrastructureError if no run directory or verdict can be written, KeyboardInterrupt after everything was ended.
    """
    run = Run(request, listeners=listeners)
    error: HarnessError | None = None
    try:
        with run.live() as live:
            live.executor.execute(request.plan.do)
    except HarnessError as caught:
        error = caught
    except KeyboardInterrupt:
        with ladder.uninterrupted():
            run.judge()
        raise
    try:
        verdict = run.judge()
    except HarnessError as caught:
        raise error or caught from caught
    return RunResult(directory=run.directory.path, verdict=verdict, error=error)


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
