# SPDX-License-Identifier: MIT
"""The JSON documents that commands print, as types: docs/schemas/ is generated from them (``python -m tests.docs.schemas``).

Every document also has ``version`` (:data:`harness.cli.output.JSON_VERSION`). A command that fails before it
has its document prints :class:`ErrorDocument` instead. Commands import this module only for type checking: it
loads every room.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import msgspec

from harness.acceptance.acceptance import Acceptance
from harness.acceptance.findings import FindingChange, GuestIdentity
from harness.capture.etl.account import LogAccount
from harness.capture.etl.session import TraceSession
from harness.capture.offline.comparison import ChannelAccount, ChannelDifference, SequenceRange
from harness.contract.coverage import RuleCoverage
from harness.contract.verdict import Finding, RuleVerdict, RunVerdict
from harness.driver.image import ImageCheck
from harness.driver.manifest import DriverManifest
from harness.explore.exploration import ExplorationReport
from harness.fleet.order import NightlyNote
from harness.history.evidence import EvidenceIndex
from harness.host.budget import HostBudget
from harness.host.host_part import HostPart
from harness.interval import Rate
from harness.lab.inventory import ListedMachine
from harness.lab.live_nightly import LiveNightly
from harness.lab.matrix import Skipped
from harness.lab.nightly_state import CellOutcome
from harness.report.observations import AnswerComparison, QuestionAnswer
from harness.report.operations import OperationOutcome
from harness.report.pack import PackManifest
from harness.report.timing import TimedStage
from harness.report.transcript_comparison import TranscriptDifference
from harness.repro.build_bisection import BuildBisection
from harness.repro.recorded_run import Signature
from harness.repro.repetition import Repetition, RunContrast
from harness.store.loader import LoadReport
from harness.store.questions.flaky import Flaky
from harness.store.questions.host_comparison import HostComparison
from harness.store.questions.incidents import Incidents
from harness.store.questions.known import KnownIssues
from harness.store.questions.last_runs import LastRuns
from harness.store.questions.never import Never
from harness.store.questions.nightly_comparison import NightlyComparison
from harness.store.questions.rule_past import RulePast
from harness.store.questions.slow import Slow
from harness.store.retention import RetentionReport
from harness.store.upkeep import CheckReport
from harness.template.manifest import TemplateManifest
from harness.template.promise import PromiseFinding


class ErrorMessage(TypedDict):
    """``message`` says who, what and which value; ``hint`` what to do next, "" if there is no hint."""

    message: str
    hint: str


class ErrorDocument(TypedDict):
    """An error that prevented a command's own document: a signal's, the user's, or this machine's."""

    error: ErrorMessage
    exit_code: int


class RunError(msgspec.Struct):
    """The error that ended a run early: its failure class and its stage."""

    message: str
    hint: str
    failure_class: str = msgspec.field(name="class")
    stage: str


class RunDocument(TypedDict):
    """A run: where its evidence is, and its result."""

    directory: str
    verdict: RunVerdict
    failure_class: NotRequired[str]
    first_attempt: NotRequired[str]
    report: NotRequired[str]
    earlier: NotRequired[list[str]]
    error: NotRequired[RunError]


class ReproDocument(RunDocument):
    """A repeated run."""

    repro_of: str
    same: bool
    before: Signature
    now: Signature
    differences: list[str]


class SessionDocument(RunDocument):
    """The last run of a session that did a recorded run again."""

    repro_of: str
    differences: list[str]


class RepetitionsDocument(TypedDict):
    """A run that was done again many times."""

    repro_of: str
    before: Signature
    reproduced: Rate
    runs: list[Repetition]
    contrast: RunContrast | None
    differences: list[str]
    exit_code: int


class ShowDocument(TypedDict):
    """A recorded run: its verdict, its operations, and its timeline as text lines."""

    path: str
    verdict: RunVerdict
    operations: list[OperationOutcome]
    timeline: list[str]


class TimingDocument(TypedDict):
    """The stages of a recorded run, with their times in milliseconds."""

    path: str
    stages: list[TimedStage]


class ReportDocument(TypedDict):
    """A written report: its path, its size, its verdict, and the number of its runs.

    The verdict of a comparison is ``agree``, ``differ`` or ``unknown``, that of a set the worst of its runs, which may also be
    ``unreadable`` or ``missing``.
    """

    report: str
    bytes: int
    verdict: str
    runs: int


class CheckedRun(TypedDict):
    """One run of a check: its verdict, or why there is none."""

    path: str
    exit_code: int
    verdict: NotRequired[RunVerdict]
    joined: NotRequired[str]
    error: NotRequired[ErrorMessage]


class CheckDocument(TypedDict):
    """Recorded runs, judged again."""

    runs: list[CheckedRun]
    coverage: list[RuleCoverage]
    exit_code: int


class ComparedRun(TypedDict):
    """One run whose transcript was compared."""

    path: str
    run: str
    guest: str
    unshown: list[str]
    missing: list[str]


class DiffDocument(TypedDict):
    """Runs of one plan, compared."""

    verdict: str
    runs: list[ComparedRun]
    differences: list[TranscriptDifference]
    stories: int
    steps: int
    exit_code: int


class FindingsDiff(TypedDict):
    """Two findings of acceptances, compared."""

    old: GuestIdentity
    new: GuestIdentity
    changes: list[FindingChange]


class NightlyRun(CellOutcome, frozen=True, kw_only=True, omit_defaults=True):
    """One finished cell of the matrix."""

    word: str


class ExploredDocument(TypedDict):
    """A guest that a nightly run explored: a guest and a QEMU build; ``error`` is why that failed."""

    name: str
    error: str
    report: ExplorationReport | None


class NightlyDocument(TypedDict):
    """A nightly run and its progress."""

    night: str
    directory: str
    lab: str
    digest: str
    seed: int
    planned: int
    left: int
    out_of_time: str
    left_out: list[str]
    exit_code: int
    counts: dict[str, int]
    unsteady: dict[str, dict[str, int]]
    explored: list[ExploredDocument]
    lost_workers: list[str]
    runs: list[NightlyRun]


class PlannedCell(TypedDict):
    """One run that a nightly run would make; ``seconds`` is the earlier duration of such a run, None if unknown.

    ``in_time`` is false if there is no time for it.
    """

    id: str
    seed: int
    seconds: float | None
    in_time: bool


class NightlyPlan(TypedDict):
    """The runs of a nightly run: ``--dry-run``. The durations of ``known`` runs are known, ``seconds`` in total."""

    digest: str
    cells: list[PlannedCell]
    skipped: list[Skipped]
    known: int
    seconds: float


class ListedHost(TypedDict):
    """A host of a fleet: its budget in processors and bytes, what else it offers, and the attempts that it has.
    ``instance`` tells several workers of one host apart, "" for its only one. ``unheard`` are the seconds since its last
    heartbeat."""

    host: str
    instance: str
    address: str
    drained: bool
    vcpus: int
    memory: int
    harness: str
    engine: str
    offers: list[str]
    attempts: list[str]
    unheard: float


class FleetDocument(TypedDict):
    """The hosts of a scheduler, and the nightly runs that use it, each as it says itself."""

    scheduler: str
    hosts: list[ListedHost]
    nightlies: list[NightlyNote]


class DrainDocument(TypedDict):
    """A host that gets no more runs, or gets runs again; ``under_way`` is how many it has."""

    host: str
    drained: bool
    under_way: int


class CertificateFiles(TypedDict):
    """The files of one host: its certificate, its key, and the authority's certificate."""

    cert: str
    key: str
    ca: str


class CertificatesDocument(TypedDict):
    """Certificates that were made."""

    certificates: list[CertificateFiles]


class StoreLoadDocument(TypedDict):
    """Runs that were loaded into the store at the address ``store``."""

    store: str
    report: LoadReport


class StorePruneDocument(TypedDict):
    """Runs that were removed from a store; ``old`` is the number that are, or would be, removed.

    ``directories`` reports on run directories, None if their removal was not requested.
    """

    store: str
    removed: int
    old: int
    directories: RetentionReport | None


class StoreCheckDocument(TypedDict):
    """A store compared with the run directories that it names."""

    store: str
    report: CheckReport


class RuleDocument(TypedDict):
    """A rule of the contract."""

    id: str
    level: str
    section: str
    title: str
    says: str
    clauses: str
    source: str
    pages: list[str]
    needs: str
    decides: bool
    awaited: bool
    holds: str
    violates: str


class RuleList(TypedDict):
    """All rules."""

    rules: list[RuleDocument]


class JudgedExample(TypedDict):
    """An example of a rule with the checker's verdict."""

    trace: str
    verdict: RuleVerdict
    findings: list[Finding]


class ExplainedRule(RuleDocument):
    """One rule with its examples: ``--id``."""

    examples: list[JudgedExample]


class DoctorDocument(TypedDict):
    """This machine: whether the main job can run, the command that installs what it lacks ("" for none), and every part."""

    ready: bool
    install: str
    parts: list[HostPart]


class ListedLease(TypedDict):
    """A lease of the host, granted or waiting."""

    user: int
    process: int
    vcpus: int
    memory: int
    disk: int
    granted: bool


class ListedReservation(TypedDict):
    """Who has reserved the host until when, in seconds since the epoch."""

    user: int
    until: int
    why: str


class ReserveDocument(TypedDict):
    """The reservations of a host. ``private`` is why only this user's are in ``directory``, "" for all."""

    host: str
    reservations: list[ListedReservation]
    directory: str
    private: str


class PsDocument(TypedDict):
    """This user's machines, and the leases of the host. ``private`` is why only this user's are in ``directory``, "" for all."""

    machines: list[ListedMachine]
    leases: list[ListedLease]
    reservations: list[ListedReservation]
    directory: str
    private: str
    budget: HostBudget


class ImportDocument(TypedDict):
    """A history with the imported channels."""

    directory: str
    channels: list[ChannelAccount]
    different: int
    differences: list[ChannelDifference]
    lost_nowhere: int
    nowhere: list[SequenceRange]
    missing: dict[str, list[str]]
    unproven: int
    widest_ns: int | None
    damage: str


class PackDocument(TypedDict):
    """An archive of a run."""

    archive: str
    manifest: PackManifest


class AnsweredQuestion(TypedDict):
    """A question with the answers of runs."""

    rule: str
    question: str
    answer: QuestionAnswer


class ObservedBuild(TypedDict):
    """The answers of one guest build."""

    build: str
    runs: int
    questions: list[AnsweredQuestion]


class ObserveDocument(TypedDict):
    """What runs showed about undocumented behaviour."""

    builds: list[ObservedBuild]
    exit_code: int


class ObservedSet(TypedDict):
    """A set of runs."""

    name: str
    runs: int
    builds: dict[str, int]


class ObserveComparison(TypedDict):
    """Two compared sets of runs."""

    a: ObservedSet
    b: ObservedSet
    questions: list[AnswerComparison]
    exit_code: int


class CheckedPlan(TypedDict):
    """One plan and its mistake, if any."""

    plan: str
    right: bool
    message: str
    hint: str


class PlanCheckDocument(TypedDict):
    """Plans that were checked for a guest on a machine type."""

    guest: str
    machine: str
    plans: list[CheckedPlan]


class EtlInfoDocument(TypedDict):
    """A trace log: its session, what was read, what is missing, and records by provider.

    ``decoded`` counts records by the kind of their description, ``raw`` those without one, by the reason;
    ``symbols`` are the identities of symbol files that the log names.
    """

    session: TraceSession
    account: LogAccount
    missing: list[str]
    providers: dict[str, int]
    decoded: dict[str, int]
    raw: dict[str, int]
    symbols: list[str]


class CountedEvent(TypedDict):
    """An event and its count in a log."""

    provider: str
    event: str
    records: int


class EtlStatDocument(TypedDict):
    """The counts of a trace log."""

    records: int
    headers: dict[str, int]
    processors: dict[str, int]
    events: list[CountedEvent]


class WdkBuild(TypedDict):
    """A build with the WDK: ``--wdk``."""

    ok: bool
    manifest: DriverManifest
    missing: list[str]
    checks: list[ImageCheck]


class CompiledManifestDocument(TypedDict):
    """A compiled instrumentation manifest: its files and their content."""

    sha256: dict[str, str]
    providers: list[str]
    events: int
    cultures: list[str]


class DriverCheckDocument(TypedDict):
    """The checks of a driver's image."""

    path: str
    ok: bool
    checks: list[ImageCheck]


class ListedTemplate(TypedDict):
    """A template, built or not."""

    name: str
    title: str
    support: str
    built: str
    age_days: int | None
    days_left: int | None
    days_left_real_time: int | None
    warnings: int
    unfinished: bool
    installed: bool
    damage: str


class TemplateList(TypedDict):
    """All templates."""

    directory: str
    templates: list[ListedTemplate]


class TemplateDocument(TypedDict):
    """A built template."""

    directory: str
    manifest: TemplateManifest


class VerifiedTemplate(TypedDict):
    """The promises of a template, kept or broken."""

    kept: bool
    promises: list[PromiseFinding]


DOCUMENTS: dict[str, list[Any]] = {
    "demo": [RunDocument],
    "run": [RunDocument],
    "check": [CheckDocument],
    "show": [ShowDocument, TimingDocument],
    "report": [ReportDocument],
    "diff": [DiffDocument, FindingsDiff],
    "repro": [ReproDocument, SessionDocument, RepetitionsDocument],
    "bisect": [BuildBisection],
    "explore": [ExplorationReport],
    "nightly": [NightlyDocument, NightlyPlan, LiveNightly],
    "fleet": [FleetDocument],
    "fleet drain": [DrainDocument],
    "fleet certificates": [CertificatesDocument],
    "history runs": [LastRuns],
    "history new": [NightlyComparison],
    "history rule": [RulePast],
    "history flaky": [Flaky],
    "history incidents": [Incidents],
    "history known": [KnownIssues],
    "history slow": [Slow],
    "history hosts": [HostComparison],
    "history never": [Never],
    "store load": [StoreLoadDocument],
    "store rebuild": [StoreLoadDocument],
    "store prune": [StorePruneDocument],
    "store check": [StoreCheckDocument],
    "accept": [Acceptance],
    "rules": [RuleList, ExplainedRule],
    "doctor": [DoctorDocument],
    "ps": [PsDocument],
    "reserve": [ReserveDocument],
    "import": [ImportDocument],
    "evidence show": [EvidenceIndex],
    "evidence pack": [PackDocument],
    "observe show": [ObserveDocument],
    "observe diff": [ObserveComparison],
    "plan check": [PlanCheckDocument],
    "etl info": [EtlInfoDocument],
    "etl stat": [EtlStatDocument],
    "driver build": [DriverManifest, WdkBuild],
    "driver check": [DriverCheckDocument],
    "driver manifest": [CompiledManifestDocument],
    "template list": [TemplateList],
    "template show": [TemplateDocument],
    "template build": [TemplateDocument],
    "template adopt": [TemplateDocument],
    "template verify": [VerifiedTemplate],
}
"""The documents of each command with ``--json``: it prints one document of one of these types."""
