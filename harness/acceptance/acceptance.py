# SPDX-License-Identifier: MIT
"""An acceptance: the cases run on one guest, each on a fresh one, and their combined result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from harness.acceptance.case import Case
from harness.acceptance.migration import migrate
from harness.acceptance.questions import Question, questions
from harness.acceptance.result import CaseOutcome, CaseResult, not_run, result_of, skipped
from harness.errors import ExitCode, HarnessError, UsageError, worst
from harness.report.observations import RunSet
from harness.report.transcript import read_transcript
from harness.report.transcript_comparison import TranscriptDifference, compare_transcripts
from harness.run.failure import BootFailures, boot_failure
from harness.run.judging import judge_run
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.template.template import find_template

TWIN = "twin"

Told = Callable[[CaseResult], None]


class TranscriptAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """A case's transcripts on the guest and on the twin, compared: ``agree``, ``differ`` or ``unknown``, with the reason."""

    number: int
    verdict: str
    differences: list[TranscriptDifference] = []
    why: str = ""


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """The results of the cases. ``observations`` are values and how often each was seen, by question."""

    guest: str
    build: str
    started: str
    results: list[CaseResult]
    questions: list[Question]
    observations: dict[str, dict[str, int]]
    compared: list[TranscriptAgreement] = []

    @property
    def exit_code(self) -> ExitCode:
        """The worst exit code of all cases."""
        return worst([one.exit_code for one in self.results])

    def count(self, outcome: CaseOutcome) -> int:
        """Return how many cases had this outcome."""
        return sum(one.outcome is outcome for one in self.results)


def accept(
    cases: Sequence[Case],
    request: Callable[[Case, str], RunRequest],
    guest: str,
    *,
    compare: bool,
    soak: bool,
    started: str,
    told: Told,
) -> Acceptance:
    """Run the cases on ``guest`` and, to ``compare`` their transcripts, on the twin.

    ``request`` creates the request of a case on a guest. ``soak`` repeats the cases with a repeat count.
    ``told`` is called with each result. A failed boot is not retried. Raises KeyboardInterrupt after the
    guest was ended.
    """
    failures = BootFailures()
    results: list[CaseResult] = []
    compared: list[TranscriptAgreement] = []
    for case in cases:
        found = _run(case, guest, request, failures, case.repeat if soak else 1)
        for one in found:
            told(one)
        results += found
        if compare and guest != TWIN and found[-1].directory and not case.procedure:
            compared.append(_compare(case, found[-1], request, failures))
    observed = RunSet(guest)
    builds = set()
    for one in results:
        if one.directory:
            judged = judge_run(Path(one.directory))
            builds.add(judged.build)
            observed.add(judged)
    return Acceptance(
        guest=guest,
        build=", ".join(sorted(builds - {""})),
        started=started,
        results=results,
        questions=questions(results, observed),
        observations={
            name: {value: seen.times for value, seen in observed.answer(name).values.items()}
            for name in observed.questions()
        },
        compared=compared,
    )


def unsuited(case: Case, guest: str) -> str:
    """Return why a case does not apply to this guest, "" if it does."""
    if guest == TWIN and case.twin:
        return case.twin
    client = guest.startswith("windows") and find_template(guest).expect.processor == "after-restart"
    if client and case.adds_processors and case.guests != "clients":
        return "a client edition takes no processor while it runs"
    if case.guests == "clients" and not client:
        return "only client editions of Windows take a processor no sooner than at a restart"
    return ""


def _run(
    case: Case,
    guest: str,
    request: Callable[[Case, str], RunRequest],
    failures: BootFailures,
    times: int,
) -> list[CaseResult]:
    """Run a case up to this many times, until it does not pass."""
    if why := unsuited(case, guest):
        return [skipped(case, guest, why)]
    results: list[CaseResult] = []
    for _ in range(times):
        try:
            wanted = request(case, guest)
        except UsageError as error:
            # An option for all cases that this case's plan does not allow.
            return [*results, not_run(case, guest, error.message)]
        if (failure := failures.against(wanted)) is not None:
            return [*results, not_run(case, guest, str(failure))]
        if case.procedure == "migrate":
            results.append(migrate(case, wanted))
            continue
        run = perform(wanted, retry=True)
        if run.error is not None:
            failures.note(boot_failure(wanted, run.directory.name, run.stage, run.error))
        results.append(result_of(case, guest, run))
        if results[-1].outcome is not CaseOutcome.PASSED:
            break
    return results


def _compare(
    case: Case,
    result: CaseResult,
    request: Callable[[Case, str], RunRequest],
    failures: BootFailures,
) -> TranscriptAgreement:
    (twin,) = _run(case, TWIN, request, failures, 1)
    if not twin.directory:
        return TranscriptAgreement(number=case.number, verdict="not compared", why="; ".join(twin.why))
    try:
        found = compare_transcripts([read_transcript(Path(one.directory)) for one in (result, twin)])
    except HarnessError as error:
        return TranscriptAgreement(number=case.number, verdict="not compared", why=error.message)
    return TranscriptAgreement(number=case.number, verdict=found.verdict, differences=found.differences)
