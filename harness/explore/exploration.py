# SPDX-License-Identifier: MIT
"""An exploration: generates and executes plans until one finds something, then shrinks that plan."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from harness.errors import ExitCode, HarnessError, InfrastructureError, system_errors
from harness.explore.corpus import Corpus, writing
from harness.explore.finding import ExploredFinding, FindingFolder, known_findings
from harness.explore.generation import generate, load_hypothesis, plans
from harness.explore.legality import Legality, OperationSequence
from harness.explore.shrinking import Shrinking, tries_for
from harness.explore.trial import Trial, broken_rule
from harness.explore.trial_pool import TrialPool
from harness.explore.trial_process import TrialSetting
from harness.history.json_file import indented
from harness.history.private import write_private
from harness.host.file_lock import locked_or_refused
from harness.host.qemu_build import find_qemu
from harness.interrupts import uninterrupted, unreplaced_interruptions
from harness.interval import Rate, wilson
from harness.run.options import RunOptions, is_process
from harness.run.request import RunRequest

BATCH = 16
"""The number of plans that Hypothesis generates at once, from one state of the corpus."""

CONFIRMATIONS = 5
"""The number of runs of a plan that found something, before it is shrunk."""

FINAL_RUNS = 10
"""The number of runs of the smallest plan, for its rate of reproduction."""

MOST_REPEATED = 3
"""The number of trials without a result that are repeated for one candidate while shrinking."""

MOST_BARREN = 20
"""The number of consecutive batches without a new plan, after which no more are expected soon."""

MOST_FAILURES = 5
"""The number of consecutive trials whose infrastructure may fail."""

PROCESSES, MOST_PROCESSES = 24, 64
"""The number of concurrent process guests: for each processor, and in all."""

PROGRESS = "progress.jsonl"
SUMMARY = "exploration.json"
ROOM = 4 << 20
"""Bytes that a run directory may take in memory."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a private directory is made in it
SCRATCH = "hotplug-explore-"


def usual_jobs(guest: str) -> int:
    """Return how many guests are explored at once by default.

    The plan of a process waits for about a second, mostly for quiet, and takes 25 to 35 ms of processor time
    (measured on 29 and 30 November 2026, guest ``host``): 24 of them keep a processor busy. Each has one of the 128
    instances of inotify that a user usually has (inotify(7), max_user_instances).
    """
    processors = len(os.sched_getaffinity(0))
    return min(MOST_PROCESSES, PROCESSES * processors) if is_process(guest) else processors


class CorpusGrowth(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of exercised rules and orders after so many ``seconds`` and ``plans``."""

    seconds: float
    plans: int
    rules: int
    orders: int


class ExplorationReport(msgspec.Struct, kw_only=True):
    """The result. ``plans`` were executed, of which ``failed`` had no result because their infrastructure failed.

    ``findings`` are the new ones. ``known`` counts the trials with findings that earlier explorations found and shrank.
    ``ended`` says why it ended: ``found``, ``budget``, ``plans`` or ``interrupted``; "" if an error ended it.
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

    @property
    def nothing_explored(self) -> bool:
        """Whether no plan had a result and nothing was found."""
        return self.plans == self.failed and not self.findings

    @property
    def exit_code(self) -> ExitCode:
        """VIOLATED if a rule was broken, UNKNOWN for another finding or if nothing was explored; a known one counts too."""
        if self.nothing_explored:
            return ExitCode.UNKNOWN
        signatures = [one.signature for one in self.findings] + list(self.known)
        if any(map(broken_rule, signatures)):
            return ExitCode.VIOLATED
        return ExitCode.UNKNOWN if signatures else ExitCode.HOLDS


class _OutOfTime(Exception):
    """The time is over, shrinking included."""


@dataclasses.dataclass(eq=False)
class Exploration:
    """One exploration in the folder ``into``, which keeps the corpus and the findings of earlier ones.

    It ends after ``seconds`` or ``plans``, or at the first new finding unless ``going_on``. With ``strict`` shrinking
    ends then too. No plan begins while ``held`` returns true. ``say`` gets progress messages. ``tick`` is called about
    once a second. ``report`` is always current. Raises UsageError for options that no plan can have and for a folder
    that another exploration uses, MissingPart without the extra ``explore``, and InfrastructureError if the host or
    the disk fails.
    """

    options: RunOptions
    into: Path
    _: dataclasses.KW_ONLY
    cache: Path
    seconds: float
    most: int | None = None
    jobs: int
    going_on: bool = False
    strict: bool = False
    held: Callable[[], bool] = lambda: False
    tick: Callable[[], None] = lambda: None
    say: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        load_hypothesis()
        options = self.options = dataclasses.replace(self.options, report="", retry=False)
        self.jobs = min(self.jobs, self.most or self.jobs)
        own = options.backend == "qemu" and not is_process(options.guest)
        qemu = find_qemu(options.qemu).version if own else ""
        self._legality = Legality(options, qemu=qemu)
        self._begun = time.monotonic()
        self._in_a_row = 0
        self._executed: set[int] = set()
        self._ended: deque[Trial] = deque()
        self._folders: dict[str, FindingFolder] = {}
        self._pool: TrialPool
        self._lock = _locked(self.into)
        self.corpus = Corpus(self.into, self._legality)
        found = known_findings(self.into)
        self._known = {one.signature: one for one in found if one.shrunk}
        # One whose shrinking did not end is shrunk when it comes again.
        self._earlier = {one.signature: one.times for one in found if not one.shrunk}
        self.report = ExplorationReport(
            directory=str(self.into), guest=options.guest, seed=options.seed, fault=options.inject_fault
        )

    def perform(self) -> ExplorationReport:
        """Explore, and return the report. A KeyboardInterrupt is raised again, after everything found so far is
        kept."""
        try:
            with unreplaced_interruptions(), self._scratch() as scratch:
                setting = TrialSetting(self.options, scratch, self.cache)
                try:
                    with TrialPool(setting, processes=self.jobs, held=self.held) as self._pool:
                        self._explore()
                except _OutOfTime:
                    self.report.ended = "budget"
                finally:
                    self._keep_ended()
        except KeyboardInterrupt:
            self.report.ended = "interrupted"
            raise
        finally:
            with uninterrupted():
                self._account()
                os.close(self._lock)
        return self.report

    # -- exploring ----------------------------------------------------------------------------------------------

    def _explore(self) -> None:
        report, ahead = self.report, 2 * self.jobs
        waiting: list[OperationSequence] = []
        number, barren = 0, 0
        while not report.ended:
            if over := self._soon_late:
                self._executed -= self._pool.forget_waiting()
            left = self.most - len(self._executed) if self.most else ahead
            room = 0 if over else max(0, min(ahead - self._pool.busy, left))
            # One batch at a time: what ended meanwhile is looked at between two, and the first plans begin at once.
            if room and not waiting:
                number += 1
                waiting = self._generated(number)
                barren = 0 if waiting else barren + 1
                if 0 < barren <= MOST_BARREN:
                    continue
            submitted, waiting = waiting[:room], waiting[room:]
            for operations in submitted:
                self._executed.add(hash(operations))
                self._pool.submit(operations, seed=report.seed)
            if not self._pool.busy and not self._ended:
                report.ended = "budget" if over else "plans"
                return
            self._receive(seconds=0.0 if submitted and self._pool.busy < ahead else 1.0)
            while self._ended and not report.ended:
                self._take(self._ended.popleft())
            if not report.ended and self._late:
                report.ended = "budget"

    def _keep_ended(self) -> None:
        """Keep what the trials found that ended and were not looked at. Their findings are not shrunk."""
        with uninterrupted(), contextlib.suppress(HarnessError):
            while self._ended:
                self._take(self._ended.popleft(), shrink=False)

    @property
    def _late(self) -> bool:
        return time.monotonic() - self._begun >= self.seconds

    @property
    def _soon_late(self) -> bool:
        """Whether a plan that begins now would probably not end in time."""
        return time.monotonic() - self._begun + self._pool.usual_seconds >= self.seconds

    def _receive(
        self, tickets: dict[int, int] | None = None, *, seconds: float = 1.0
    ) -> list[tuple[int, Trial]]:
        """Wait at most ``seconds`` for trials; return those of ``tickets`` with their indices, and keep the others for later."""
        found = []
        for ticket, trial in self._pool.results(seconds):
            if tickets is not None and ticket in tickets:
                found.append((tickets.pop(ticket), trial))
            else:
                self._ended.append(trial)
        self.tick()
        return found

    def _generated(self, number: int) -> list[OperationSequence]:
        strategy = plans(self._legality, self.options.guest, self.corpus.plans)
        found = generate(strategy, seed=self.report.seed * 1_000_003 + number, count=BATCH)
        return [one for one in dict.fromkeys(found) if hash(one) not in self._executed]

    def _take(self, trial: Trial, *, shrink: bool = True) -> None:
        report = self.report
        report.plans += 1
        if trial.failed:
            report.failed += 1
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
            self._found(trial, shrink=shrink)

    def _failed(self, trial: Trial) -> None:
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
        FindingFolder(self.into, finding).write()
        self._discard(trial)

    def _found(self, trial: Trial, *, shrink: bool) -> None:
        """Keep a new finding, and shrink it if ``shrink``."""
        finding = ExploredFinding(
            signature=trial.signature,
            times=1 + self._earlier.get(trial.signature, 0),
            first_seen=self.report.plans,
            original=len(trial.operations),
        )
        folder = self._folders[trial.signature] = FindingFolder(self.into, finding)
        self.report.findings.append(finding)
        self._keep(folder, trial)
        self.say(f"found after {self.report.plans} plans: {trial.signature}")
        if not shrink:
            return
        self._executed -= self._pool.forget_waiting()
        self._shrink(folder, trial)
        if not self.going_on:
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
            self.say(f"{len(operations)} of {finding.original} operations show it")

        shrinking = Shrinking(trial.operations, self._legality, first, tries=tries_for(rate), taken=taken)
        smallest = shrinking.shrink()
        finding.shrunk = True
        finding.reproduced = self._repeated(smallest, finding.signature, FINAL_RUNS)
        folder.write()
        self.say(f"reproduced {finding.reproduced}")

    def _first(
        self, candidates: Sequence[OperationSequence], signature: str, tries: int
    ) -> tuple[int, Trial] | None:
        """Run each candidate, ``tries`` times if it does not show the signature. Return the first that shows it, with its
        trial. A trial without a result says nothing about its candidate, and is repeated."""
        left, repeated = [tries] * len(candidates), [0] * len(candidates)
        while any(left):
            todo = [at for at, runs in enumerate(left) if runs]
            shown: dict[int, Trial] = {}
            for place, trial in self._all([candidates[at] for at in todo]):
                at = todo[place]
                if trial.failed and repeated[at] < MOST_REPEATED:
                    repeated[at] += 1
                else:
                    left[at] -= 1
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
        """Run all candidates, and yield each with its index. Keep exploring trials that end meanwhile for later.

        Raises InfrastructureError if too many in a row have no result: they say nothing about the finding.
        """
        tickets = {self._pool.submit(one, seed=self.report.seed): at for at, one in enumerate(candidates)}
        while tickets:
            if self.strict and self._late:
                raise _OutOfTime
            for at, trial in self._receive(tickets):
                if trial.failed:
                    self._failed(trial)
                else:
                    self._in_a_row = 0
                yield at, trial

    # -- keeping ------------------------------------------------------------------------------------------------

    def _keep(self, folder: FindingFolder, trial: Trial) -> None:
        name = folder.path.name
        plan = self._legality.plan(trial.operations, name=name[:100])
        request = RunRequest(**vars(self.options), plan=plan, cache=self.cache, argv=[])
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
            write_private(self.into / SUMMARY, indented(report))

    def _append(self, name: str, data: bytes) -> None:
        with writing(self.into / name), (self.into / name).open("ab") as file:
            file.write(data)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Give a private folder for run directories that are not kept. It is in memory for guests that are
        processes."""
        root = self.into
        _remove_abandoned(root)
        if is_process(self.options.guest) and _has_room(SHARED_MEMORY, 2 * self.jobs * ROOM):
            root = SHARED_MEMORY
            _remove_abandoned(root)
        path = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir=root))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _has_room(root: Path, size: int) -> bool:
    """Tell whether ``root`` can be written and has ``size`` bytes left."""
    try:
        return os.access(root, os.W_OK) and shutil.disk_usage(root).free >= size
    except OSError:
        return False


def _locked(into: Path) -> int:
    """Make the folder of an exploration and lock it; return the descriptor that holds the lock."""
    with system_errors(f"cannot make {into}", hint="Give a writable place with --into DIR."):
        into.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    locked_or_refused(
        descriptor,
        f"another exploration uses {into}",
        hint="Wait for its end, or give another folder with --into DIR.",
    )
    return descriptor


def _remove_abandoned(root: Path) -> None:
    """Remove the folders of killed explorations: those of this user whose process has ended."""
    with contextlib.suppress(OSError):
        for path in root.glob(f"{SCRATCH}*"):
            number = path.name.removeprefix(SCRATCH).partition("-")[0]
            mine = path.lstat().st_uid == os.getuid() and not path.is_symlink()
            if mine and number.isdigit() and not Path("/proc", number).exists():
                shutil.rmtree(path, ignore_errors=True)
