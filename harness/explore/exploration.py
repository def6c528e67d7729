# SPDX-License-Identifier: MIT
"""An exploration: generates and executes plans until one finds something, then shrinks that plan."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from harness.errors import InfrastructureError, shortage_hint
from harness.explore.corpus import Corpus
from harness.explore.finding import ExploredFinding, FindingFolder, known_findings
from harness.explore.generation import generate, load_hypothesis, plans
from harness.explore.legality import Legality, OperationSequence
from harness.explore.shrinking import Shrinking, tries_for
from harness.explore.trial import Trial
from harness.explore.trial_pool import TrialPool, TrialSetting
from harness.interval import Rate, wilson
from harness.run.options import RunOptions, is_process
from harness.run.request import RunRequest

BATCH = 16
"""The number of plans that Hypothesis generates at once, from one state of the corpus."""

CONFIRMATIONS = 5
"""The number of runs of a plan that found something, before it is shrunk."""

FINAL_RUNS = 10
"""The number of runs of the smallest plan, for its rate of reproduction."""

MOST_FAILURES = 5
"""The number of consecutive trials whose infrastructure may fail."""

PROGRESS = "progress.jsonl"
SUMMARY = "exploration.json"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a private directory is made in it
SCRATCH = "hotplug-explore-"


class CorpusGrowth(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of exercised rules and orders after so many ``seconds`` and ``plans``."""

    seconds: float
    plans: int
    rules: int
    orders: int


class ExplorationReport(msgspec.Struct, kw_only=True):
    """The result. ``plans`` were executed, of which ``failed`` had no result because their infrastructure failed.

    ``findings`` are the new ones. ``known`` counts the trials with findings of earlier explorations. ``ended`` says
    why it ended: ``found``, ``budget``, ``plans`` or ``interrupted``.
    """

    directory: str
    guest: str
    seed: int
    fault: str = ""
    plans: int = 0
    seconds: float = 0.0
    failed: int = 0
    unknown: int = 0
    rules: int = 0
    orders: int = 0
    corpus: int = 0
    findings: list[ExploredFinding] = []
    known: dict[str, int] = {}
    ended: str = ""


class Exploration:
    """One exploration in the folder ``into``, which keeps the corpus and the findings of earlier ones.

    It ends after ``seconds`` or ``plans``, or at the first new finding unless ``going_on``. ``say`` gets progress
    messages. ``report`` is always current. Raises UsageError for options that no plan can have, MissingPart without
    the extra ``explore``, and InfrastructureError if the host or the disk fails.
    """

    def __init__(
        self,
        options: RunOptions,
        into: Path,
        *,
        cache: Path,
        seconds: float,
        most: int | None = None,
        jobs: int,
        going_on: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        load_hypothesis()
        self._options = dataclasses.replace(options, report="", retry=False)
        self._into = into
        self._cache = cache
        self._seconds = seconds
        self._most = most
        self._jobs = jobs
        self._going_on = going_on
        self._say = say
        self._legality = Legality(options)
        self._begun = time.monotonic()
        self._in_a_row = 0
        self._executed: set[OperationSequence] = set()
        self._folders: dict[str, FindingFolder] = {}
        self._pool: TrialPool
        try:
            into.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InfrastructureError(
                f"cannot make {into}: {error.strerror}", hint="Give a writable place with --into DIR."
            ) from error
        self.corpus = Corpus(into, self._legality)
        self._known = {one.signature: one for one in known_findings(into)}
        self.report = ExplorationReport(
            directory=str(into), guest=options.guest, seed=options.seed, fault=options.inject_fault
        )

    def perform(self) -> ExplorationReport:
        """Explore, and return the report. A KeyboardInterrupt is raised again, after everything found so far is
        kept."""
        try:
            with self._scratch() as scratch:
                setting = TrialSetting(self._options, scratch, self._cache)
                with TrialPool(setting, processes=self._jobs) as self._pool:
                    self._explore()
        except KeyboardInterrupt:
            self.report.ended = "interrupted"
            raise
        finally:
            self._account()
        return self.report

    # -- exploring ----------------------------------------------------------------------------------------------

    def _explore(self) -> None:
        report, ahead = self.report, 2 * self._jobs
        waiting: list[OperationSequence] = []
        number, barren = 0, 0
        while not report.ended:
            while self._pool.busy < ahead and not (self._most and len(self._executed) >= self._most):
                if not waiting:
                    number += 1
                    waiting = self._generated(number)
                    barren = 0 if waiting else barren + 1
                    if barren > 20:
                        break
                if waiting:
                    operations = waiting.pop(0)
                    self._executed.add(operations)
                    self._pool.submit(operations, seed=report.seed)
            if not self._pool.busy:
                report.ended = "plans"
                return
            for _, trial in self._pool.results(1.0):
                self._take(trial)
                if report.ended:
                    return
            if time.monotonic() - self._begun >= self._seconds:
                report.ended = "budget"

    def _generated(self, number: int) -> list[OperationSequence]:
        strategy = plans(self._legality, self._options.guest, self.corpus.plans)
        found = generate(strategy, seed=self.report.seed * 1_000_003 + number, count=BATCH)
        return [one for one in dict.fromkeys(found) if one not in self._executed]

    def _take(self, trial: Trial) -> None:
        report = self.report
        report.plans += 1
        if trial.failed:
            self._failed(trial)
            return
        self._in_a_row = 0
        report.unknown += trial.verdict is not None and trial.verdict.verdict.value == "unknown"
        if self.corpus.take(trial):
            self._grown()
        if not trial.signature:
            self._discard(trial)
        elif trial.signature in self._known or trial.signature in self._folders:
            self._count(trial)
        else:
            self._found(trial)

    def _failed(self, trial: Trial) -> None:
        self.report.failed += 1
        self._in_a_row += 1
        self._discard(trial)
        if self._in_a_row >= MOST_FAILURES:
            raise InfrastructureError(
                f"{self._in_a_row} plans in a row had no result: {trial.reason}",
                hint="Run one of the built-in plans first, and make sure that it ends without a failure.",
            )

    def _count(self, trial: Trial) -> None:
        """Count another trial of a known finding."""
        signature = trial.signature
        finding = self._known.get(signature) or self._folders[signature].finding
        finding.times += 1
        if signature in self._known:
            self.report.known[signature] = self.report.known.get(signature, 0) + 1
        FindingFolder(self._into, finding).write()
        self._discard(trial)

    def _found(self, trial: Trial) -> None:
        """Keep a new finding and shrink it."""
        finding = ExploredFinding(
            signature=trial.signature, first_seen=self.report.plans, original=len(trial.operations)
        )
        folder = self._folders[trial.signature] = FindingFolder(self._into, finding)
        self.report.findings.append(finding)
        self._keep(folder, trial)
        self._say(f"found after {self.report.plans} plans: {trial.signature}")
        self._pool.forget_waiting()
        self._shrink(folder, trial)
        if not self._going_on:
            self.report.ended = "found"

    # -- shrinking ----------------------------------------------------------------------------------------------

    def _shrink(self, folder: FindingFolder, trial: Trial) -> None:
        finding = folder.finding
        rate = self._repeated(trial.operations, finding.signature, CONFIRMATIONS)
        # The trial that found it counts: a failure that does not reproduce is still a finding.
        rate = wilson(rate.seen + 1, rate.of + 1)
        kept: dict[OperationSequence, Trial] = {}

        def first(candidates: Sequence[OperationSequence], tries: int) -> int | None:
            shown = self._first(candidates, finding.signature, tries)
            if shown is None:
                return None
            kept[candidates[shown[0]]] = shown[1]
            return shown[0]

        def taken(operations: OperationSequence) -> None:
            self._keep(folder, kept.pop(operations))
            self._say(f"{len(operations)} of {finding.original} operations show it")

        shrinking = Shrinking(trial.operations, self._legality, first, tries=tries_for(rate), taken=taken)
        smallest = shrinking.shrink()
        finding.shrunk = True
        finding.reproduced = self._repeated(smallest, finding.signature, FINAL_RUNS)
        folder.write()
        self._say(f"reproduced {finding.reproduced}")

    def _first(
        self, candidates: Sequence[OperationSequence], signature: str, tries: int
    ) -> tuple[int, Trial] | None:
        """Run each candidate, repeatedly if it does not show the signature. Return the first that shows it, with its
        trial."""
        for _ in range(tries):
            shown: dict[int, Trial] = {}
            for at, trial in self._all(candidates):
                if trial.signature == signature:
                    shown[at] = trial
                else:
                    self._discard(trial)
            if shown:
                best = min(shown)
                for at, trial in shown.items():
                    if at != best:
                        self._discard(trial)
                return best, shown[best]
        return None

    def _repeated(self, operations: OperationSequence, signature: str, count: int) -> Rate:
        seen = counted = 0
        for _, trial in self._all([operations] * count):
            counted += not trial.failed
            seen += trial.signature == signature
            self._discard(trial)
        return wilson(seen, counted)

    def _all(self, candidates: Sequence[OperationSequence]) -> Iterator[tuple[int, Trial]]:
        """Run all candidates, and yield each with its index. Count exploring trials that end meanwhile."""
        tickets = {self._pool.submit(one, seed=self.report.seed): at for at, one in enumerate(candidates)}
        while tickets:
            for ticket, trial in self._pool.results():
                if (at := tickets.pop(ticket, None)) is not None:
                    yield at, trial
                else:
                    self.report.plans += 1
                    self._discard(trial)

    # -- keeping ------------------------------------------------------------------------------------------------

    def _keep(self, folder: FindingFolder, trial: Trial) -> None:
        name = folder.path.name
        plan = self._legality.plan(trial.operations, name=name[:100])
        request = RunRequest(**vars(self._options), plan=plan, cache=self._cache, argv=[])
        folder.keep(trial, trial.operations, plan, request)

    def _discard(self, trial: Trial) -> None:
        if trial.directory:
            shutil.rmtree(trial.directory, ignore_errors=True)

    def _grown(self) -> None:
        growth = CorpusGrowth(
            seconds=round(time.monotonic() - self._begun, 3),
            plans=self.report.plans,
            rules=len(self.corpus.rules),
            orders=len(self.corpus.orders),
        )
        self._append(PROGRESS, msgspec.json.encode(growth) + b"\n")

    def _account(self) -> None:
        report = self.report
        report.seconds = round(time.monotonic() - self._begun, 3)
        report.rules, report.orders = len(self.corpus.rules), len(self.corpus.orders)
        report.corpus = len(self.corpus.plans)
        with contextlib.suppress(OSError):
            (self._into / SUMMARY).write_bytes(
                msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
            )

    def _append(self, name: str, data: bytes) -> None:
        try:
            with (self._into / name).open("ab") as file:
                file.write(data)
        except OSError as error:
            raise InfrastructureError(
                f"cannot write {self._into / name}: {error.strerror}",
                hint=shortage_hint(error, "Give another place with --into DIR."),
            ) from error

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Give a private folder for run directories that are not kept. It is in memory for guests that are
        processes."""
        root = self._into
        if is_process(self._options.guest) and os.access(SHARED_MEMORY, os.W_OK):
            root = SHARED_MEMORY
            _remove_abandoned(root)
        path = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir=root))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _remove_abandoned(root: Path) -> None:
    """Remove the folders of killed explorations: those of this user whose process has ended."""
    with contextlib.suppress(OSError):
        for path in root.glob(f"{SCRATCH}*"):
            number = path.name.removeprefix(SCRATCH).partition("-")[0]
            mine = path.lstat().st_uid == os.getuid() and not path.is_symlink()
            if mine and number.isdigit() and not Path("/proc", number).exists():
                shutil.rmtree(path, ignore_errors=True)
