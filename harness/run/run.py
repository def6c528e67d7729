# SPDX-License-Identifier: MIT
"""One run: boot a guest, load the driver, execute a plan, record everything, then judge the history."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

import harness
from harness.config import to_plain
from harness.contract.verdict import RunVerdict, Verdict
from harness.deadline import Deadline
from harness.errors import (
    ExitCode,
    FailureClass,
    GuestError,
    GuestHang,
    HarnessError,
    InfrastructureError,
    of_shortage,
)
from harness.history.evidence import EvidenceIndex
from harness.history.reader import LARGEST_KEPT, History
from harness.history.record import FORMAT, Clock, End, Header, Record, RunFailure
from harness.history.run_directory import VERDICT, RunDirectory, RunFacts
from harness.history.writer import HistoryWriter, Listener
from harness.host.processor_vendor import host_processor
from harness.interrupts import Interrupted, interruption, uninterrupted, unreplaced_interruptions
from harness.run.boot import GuestBoot, Live
from harness.run.evidence import Evidence
from harness.run.failure import BootFailure, boot_failure, classify, second_attempt
from harness.run.handover import FOLDER, hand_over, summary
from harness.run.operation import Operation
from harness.run.option import options_of
from harness.run.options import RunOptions
from harness.run.request import RunRequest
from harness.run.silence import blame
from harness.run.stage import Stages

if TYPE_CHECKING:
    from harness.contract.checker import Judge

RunEnd = Literal["completed", "failed", "interrupted"]
Learnt = Callable[[RunFacts], None]

AGREEMENT = "HOST-AGREED"
"""The rule that QEMU, the firmware and the guest agree on an attempt."""

NOT_JUDGED = (OSError, HarnessError, RecursionError)
"""Errors of judging a history that is still being written."""

COLLECTION = 600.0
"""Seconds for a guest to supply its recordings: a trace may have some hundred megabytes."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run: where the evidence is, the verdict, and the error that ended the run early, if any.

    ``failure_class`` is the class of the failure, None if there is none; ``stage`` is the stage of an error.
    ``first`` is the previous attempt, if its infrastructure failed. ``history`` is the judged history.
    ``report`` is the path of the run's page, or why there is none, "" if none was requested.
    """

    directory: Path
    history: History
    verdict: RunVerdict
    error: HarnessError | None = None
    failure_class: FailureClass | None = None
    stage: str = ""
    first: RunResult | None = None
    report: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """The verdict's exit code, or the error's if nothing is proved."""
        if self.error is not None and self.verdict.verdict is not Verdict.VIOLATED:
            return self.error.exit_code
        return self.verdict.exit_code


class RunInterrupted(Interrupted):
    """A run was interrupted by signal ``number``, and everything was ended. ``result`` is its result up to then."""

    def __init__(self, result: RunResult, number: int) -> None:
        super().__init__(number)
        self.result = result


class Run:
    """One run, from its start to its verdict. Use :meth:`attempt` to use a guest, or :func:`perform` for a whole plan.

    ``learnt`` is called with the facts whenever one becomes known, and may raise to end the run. ``error`` is
    the error that ended it early, and ``failed_stage`` its stage. ``given_up`` is set before the run is ended
    from outside, for instance by a test runner's timeout: the reason as text.
    """

    def __init__(
        self,
        request: RunRequest,
        *,
        listeners: tuple[Listener, ...] = (),
        learnt: Learnt = lambda _: None,
    ) -> None:
        self.request = request
        self.error: HarnessError | None = None
        self.failed_stage = ""
        self.given_up = ""
        self.directory = RunDirectory.create(request.runs, request.plan.name)
        facts = RunFacts(
            run=self.directory.name,
            harness=harness.__version__,
            argv=request.argv,
            guest=request.guest,
            plan=to_plain(request.plan),
            seed=request.seed,
            started=_utc(),
            backend=request.backend,
            machine=request.machine,
            firmware=request.firmware,
            fault=request.inject_fault,
            request=_asked(request),
            attempt=request.attempt,
            retry_of=request.retry_of,
            repro_of=request.repro_of,
            host={
                "system": platform.platform(),
                "processor": host_processor(),
                "python": sys.version.split()[0],
                "cpus": str(os.cpu_count()),
            },
        )
        self.writer = HistoryWriter(self.directory.path)
        for listener in listeners:
            self.writer.subscribe(listener)
        self.stages = Stages(self.writer)
        self._judged: History
        self._live: Live | None = None
        self._report = ""
        self._boot = GuestBoot(
            request,
            self.directory,
            facts,
            self.writer,
            self.stages,
            learnt=learnt,
            while_quiet=self._judge_ahead,
        )

    @property
    def facts(self) -> RunFacts:
        """The facts about the run, as far as they are known."""
        return self._boot.facts

    @property
    def boot_failure(self) -> BootFailure | None:
        """What the run's end implies for the next boot of its guest, None if nothing."""
        if self.error is None:
            return None
        return boot_failure(self.request, self.directory.name, self.failed_stage, self.error)

    def attempt(self, use: Callable[[Live], None]) -> RunResult:
        """Call ``use`` with a booted guest, then end everything, judge, and return the result.

        A HarnessError of the run itself is returned in the result. Raises InfrastructureError if no verdict can be
        written, RunInterrupted after everything was ended.
        """

        def work() -> None:
            with self.live() as live:
                use(live)

        return self.judged_after(work)

    def judged_after(self, work: Callable[[], None]) -> RunResult:
        """As :meth:`attempt`; ``work`` begins and ends :meth:`live`."""
        # One block for all: a signal between the end of the guest and the verdict leaves a verdict, too.
        try:
            try:
                work()
            except HarnessError as error:
                self.error = self.error or error
            try:
                verdict = self.judge()
            except HarnessError as caught:
                raise self.error or caught from caught
            return self.result(verdict)
        except KeyboardInterrupt as stop:
            raise self.interruption() from stop

    @contextlib.contextmanager
    def live(self) -> Iterator[Live]:
        """Boot, load the driver, yield; then always end everything and close the history.

        A HarnessError becomes a Fault record and is raised again; so is an interruption. Before the guest of
        a failed run is ended, its evidence is collected.
        """
        outcome: RunEnd = "failed"
        stack = contextlib.ExitStack()
        try:
            try:
                with unreplaced_interruptions():
                    self._begin()
                    self._live = self._boot.up(stack)
                    yield self._live
                    self._collect()
                    if why := self._doubt():
                        self.collect_evidence(why, cheap=True)
                outcome = "completed"
            except HarnessError as error:
                blamed = blame(self._boot.machine, error)
                self._failed(blamed)
                if blamed is error:
                    raise
                raise blamed from error
            except (KeyboardInterrupt, GeneratorExit, SystemExit):
                raise
            except BaseException as error:
                if (short := of_shortage(error)) is not None:
                    self._failed(short)
                    raise short from error
                if self.given_up:
                    late = blame(self._boot.machine, GuestHang(self.given_up))
                    # A slow guest is not a silent guest: it is not at fault.
                    self._failed(GuestError(self.given_up) if isinstance(late, GuestHang) else late)
                else:
                    # A test's own assertion: the evidence is wanted, but this is not a failure of the run.
                    self.collect_evidence(f"{type(error).__name__}: {error}")
                raise
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            with uninterrupted():
                self._end(outcome, stack)

    def examine(self) -> None:
        """Learn what can be known before the guest's machine starts, and start nothing. The run ends, and is not judged.

        Raises what a boot raises until there.
        """
        with self.writer, contextlib.ExitStack() as stack:
            self._begin()
            self._boot.examine(stack)

    def collect_evidence(self, why: str, *, cheap: bool = False) -> EvidenceIndex:
        """Collect evidence into ``evidence/``; with ``cheap`` only what takes milliseconds.

        Raises only KeyboardInterrupt: the index says what could not be collected.
        """
        stage = self.failed_stage or self.stages.current
        collector = Evidence(
            self.directory, self._boot.machine, self._boot.guest, dump=0 if cheap else self.request.dump
        )
        deadline = Deadline(self._boot.budget.evidence, "collect the evidence")

        def collect() -> None:
            failure = str(self.error.failure_class) if self.error is not None else ""
            collector.collect(why, deadline, failure_class=failure, stage=stage, cheap=cheap)

        try:
            with self.stages.stage("evidence") as said:
                collect()
                said.append(collector.summary())
        except HarnessError:
            # The history cannot be written any more; the evidence perhaps can.
            if not collector.index.items:
                collect()
        finally:
            self.stages.current = stage
        return collector.index

    def _collect(self) -> None:
        """Fetch the guest's own recordings, if there are any."""
        guest = self._boot.guest
        if guest is None or guest.emulates_nt:
            return
        with self.stages.stage("collect") as said:
            deadline = Deadline(COLLECTION, "fetch what the guest recorded")
            place = self.directory.path
            said.append(summary(hand_over(guest, place / FOLDER, place, deadline)))

    def judge(self) -> RunVerdict:
        """Judge the history on disk; store ``verdict.json``, and the result of the run in ``run.json``."""
        from harness.contract.checker import judge_history
        from harness.run.judging import joined

        recorded, judge = self._recorded
        self._judged = joined(recorded)
        verdict = judge.finish() if self._judged is recorded else judge_history(self._judged)
        self.directory.write_json(VERDICT, verdict)
        blamed = classify(verdict, self.error)
        self._boot.facts = msgspec.structs.replace(
            self.facts, verdict=verdict.verdict.value, failure_class=str(blamed or "")
        )
        self.directory.write_facts(self.facts)
        wanted = self.request.report
        if wanted == "always" or (wanted and verdict.verdict is not Verdict.HOLDS):
            self._report = self._reported(verdict)
        return verdict

    def judge_so_far(self) -> RunVerdict:
        """Judge the history as it is now, while the guest runs. It may go on, and be judged again.

        If nothing is under way, it is judged as if the run ended now. Otherwise what only the end shows is unknown.
        """
        return self._recorded[1].so_far(self._ending(), live=True)

    def _ending(self) -> list[Record]:
        """Return the records with which the history would close now, [] if that cannot be known."""
        live = self._live
        if live is None or not live.executor.at_rest or not live.machine.alive():
            return []
        accounts = live.capture.accounts()
        return [*accounts, End(outcome="completed")] if accounts else []

    def did(self, operations: Sequence[Operation]) -> None:
        """Note that ``operations`` were done instead of the plan's, so that repeating the run repeats them."""
        if operations:
            plan = msgspec.structs.replace(self.request.plan, do=list(operations))
            self._boot.facts = msgspec.structs.replace(self.facts, plan=to_plain(plan))
            self.directory.write_facts(self.facts)

    def _reported(self, verdict: RunVerdict) -> str:
        """Write the page of the run; a failure to write it does not affect the run."""
        # Templates are slow to load, and most runs need none.
        from harness.report.page.writing import report_path, write_report

        try:
            out = report_path(self._judged)
            write_report(self._judged, verdict, out)
        except HarnessError as error:
            return f"No report: {error.message}"
        return f"Report: {out}"

    def result(self, verdict: RunVerdict) -> RunResult:
        """Return the result of the run."""
        return RunResult(
            directory=self.directory.path,
            history=self._judged,
            verdict=verdict,
            error=self.error,
            failure_class=classify(verdict, self.error),
            stage=self.failed_stage,
            report=self._report,
        )

    def interruption(self) -> KeyboardInterrupt:
        """Return what to raise after an interrupted run has ended: RunInterrupted, unless there was nothing to judge."""
        # Its history may have no header yet.
        with uninterrupted(), contextlib.suppress(HarnessError):
            return RunInterrupted(self.result(self.judge()), interruption())
        return Interrupted(interruption())

    def _failed(self, error: HarnessError) -> None:
        """Record the error, then collect the evidence."""
        self.error = error
        self.failed_stage = self.stages.current
        self._boot.facts = msgspec.structs.replace(
            self.facts, failed_stage=self.failed_stage, error=error.message[:2000]
        )
        self._fault(error)
        self.collect_evidence(error.message)

    def _doubt(self) -> str:
        """Return why evidence of the guest is useful although nothing failed, "" if it is not."""
        try:
            if self.writer.path.stat().st_size > LARGEST_KEPT:
                return ""
            early = self._recorded[1].so_far()
        except NOT_JUDGED:
            return ""
        if early.verdict is Verdict.VIOLATED:
            return f"violated: {early.reasons[0]}"
        disagreed = [
            rule.reason for rule in early.rules if rule.rule == AGREEMENT and rule.verdict is Verdict.UNKNOWN
        ]
        return f"unknown: {disagreed[0]}" if disagreed else ""

    def _judge_ahead(self) -> None:
        """Judge what is recorded so far; a failure here is the final judgement's too."""
        with contextlib.suppress(*NOT_JUDGED):
            if self.writer.path.stat().st_size <= LARGEST_KEPT:
                self._recorded[1].take()

    @functools.cached_property
    def _recorded(self) -> tuple[History, Judge]:
        """The history on disk, and its judge: each record is decoded once and judged once. Raises BadHistory."""
        from harness.contract.checker import Judge

        history = History(self.directory.path)
        return history, Judge(history)

    def _begin(self) -> None:
        self.directory.write_facts(self.facts, durable=False)
        if (mapped := self.request.mapped()) is not None:
            from harness.capture.mapping.driver_map import keep

            keep(mapped, self.directory.path)
        self.writer.write(
            Header(
                format=FORMAT,
                harness=harness.__version__,
                run=self.directory.name,
                guest=self.request.guest,
                wall=self.facts.started,
            )
        )
        self.writer.write(Clock(domain="host", hz=1_000_000_000))

    def _fault(self, error: HarnessError) -> None:
        with contextlib.suppress(
            InfrastructureError
        ):  # the disk may be full: the error itself is raised anyway
            self.writer.write(
                RunFailure(
                    failure_class=str(error.failure_class),
                    stage=self.stages.current,
                    message=error.message[:2000],
                )
            )

    def _end(self, outcome: RunEnd, stack: contextlib.ExitStack) -> None:
        """End everything that was started, newest first; then close the history.

        The history's own failure is not raised again.
        """
        try:
            stack.close()
        except Exception as error:
            known = error if isinstance(error, HarnessError) else of_shortage(error)
            if known is None:
                raise
            outcome = "failed" if outcome == "completed" else outcome
            if known is not self.error:
                self._fault(known)
            self.error = self.error or known
        finally:
            with contextlib.suppress(InfrastructureError):
                self.writer.write(End(outcome=outcome))
            self.writer.close()
            self.directory.make_private()
        self._boot.facts = msgspec.structs.replace(self.facts, finished=_utc())
        with contextlib.suppress(InfrastructureError):
            self.directory.write_facts(self.facts, durable=False)


def perform(
    request: RunRequest,
    *,
    listeners: tuple[Listener, ...] = (),
    learnt: Learnt = lambda _: None,
    retry: bool = False,
) -> RunResult:
    """Run a plan from power-on to verdict; with ``retry``, retry once if the infrastructure failed.

    A HarnessError of the run itself is returned in the result, next to the verdict on the recorded history.
    Raises InfrastructureError if no run directory or verdict can be written, RunInterrupted after everything
    was ended.
    """
    result = _attempt(request, listeners, learnt)
    again = second_attempt(request, result.directory.name, result.error) if retry else None
    if again is None or result.verdict.verdict is Verdict.VIOLATED:
        return result
    return msgspec.structs.replace(_attempt(again, listeners, learnt), first=result)


def _attempt(request: RunRequest, listeners: tuple[Listener, ...], learnt: Learnt) -> RunResult:
    run = Run(request, listeners=listeners, learnt=learnt)
    return run.attempt(lambda live: live.executor.execute(request.plan.do))


def _asked(request: RunRequest) -> dict[str, Any]:
    """Return the parts of a request that ``run.json`` has nowhere else, so that the same machine can be built again."""
    recorded = {one.field.partition(".")[0] for one in options_of(RunOptions) if one.recorded}
    asked = {name: value for name, value in vars(request).items() if name in recorded}
    return {
        name: to_plain(value) for name, value in asked.items() if value or value != getattr(RunOptions, name)
    }


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
