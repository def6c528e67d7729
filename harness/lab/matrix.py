# SPDX-License-Identifier: MIT
"""The matrix of a nightly run, from a ``lab.toml``: guests x QEMU builds x topologies x plans x repetitions, in a
planned order.

The order depends on the seed only. Each cell runs once before any is repeated, so an interrupted nightly run has
covered as much as it could. Each round is shuffled, so that a host that degrades over time does not always affect the
same cells.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec

from harness.choice import check_choice
from harness.config import decode_toml, line_of, read_document, to_plain
from harness.errors import BadDocument, UsageError
from harness.host.budget import BudgetWishes
from harness.host.end_time import read_end_time
from harness.host.qemu_build import find_program
from harness.run.option import options_of
from harness.run.options import RunOptions, is_process, made, options_at
from harness.run.plan import MachineWishes, Plan, built_in_plans, decode_plan, find_plan
from harness.run.plan_text import plan_text
from harness.schema import toml_schema
from harness.size import Size

RowName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]
Times = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
NightlySeconds = Annotated[float, msgspec.Meta(gt=0, le=7 * 24 * 3600)]

MOST_CELLS = 100_000
"""The most cells of one nightly run; a run takes seconds at best."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class GuestRow(_Table, frozen=True, kw_only=True):
    """``[[guest]]``: a guest type by its name, and the driver to install, a path; "" for the guest's own."""

    name: str
    driver: str = ""


class QemuRow(_Table, frozen=True, kw_only=True):
    """``[[qemu]]``: a QEMU build: its ``path``, "" for the first on PATH, and the ``backend`` that starts it."""

    name: RowName
    path: str = ""
    backend: str = "qemu"
    connect: str = ""


class TopologyRow(MachineWishes, frozen=True, kw_only=True):
    """``[[topology]]``: keys of a plan's ``[machine]``, which it overrides. ``machine`` is QEMU's machine type."""

    name: RowName
    machine: str = ""


class PlanRow(_Table, frozen=True, kw_only=True):
    """``[[plan]]``: a built-in plan's name or the path of a file, and its number of repetitions in a nightly run."""

    plan: str
    repeat: Times | None = None


class _CellRow(_Table, frozen=True, kw_only=True):
    """A row that belongs to cells, by the fields given."""

    guest: str = ""
    qemu: str = ""
    topology: str = ""
    plan: str = ""

    def matches(self, **said: str) -> bool:
        """Return whether what has these fields belongs to the row."""
        return all(getattr(self, name) in ("", value) for name, value in said.items())


class SkipRow(_CellRow, frozen=True, kw_only=True):
    """``[[skip]]``: cells to leave out, by the fields given, and ``why``: the URL of a bug, if there is one."""

    why: Annotated[str, msgspec.Meta(min_length=1)]


class KnownRow(_CellRow, frozen=True, kw_only=True):
    """``[[known]]``: a known issue: its ``url``, the last day ``until`` which it is expected, and the failures that
    belong to it.

    A failure belongs to the issue if every given field matches: ``rule``, ``failure_class``, ``signature``, and the
    fields of its cell.
    """

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://\S{1,500}$")]
    until: datetime.date | None = None
    rule: str = ""
    failure_class: str = ""
    signature: str = ""


class StoreRow(_Table, frozen=True, kw_only=True):
    """``[store]``: the address of the result store, without a password. "" is a file beside the nightly runs."""

    url: str = ""


class KeepRow(_Table, frozen=True, kw_only=True):
    """``[keep]``: the days for which run directories are kept: of runs that held, and of all others. Without a number
    they are kept for ever.

    ``total`` is the limit for all of them together, in bytes.
    """

    days: Annotated[float, msgspec.Meta(ge=0)] | None = None
    failed_days: Annotated[float, msgspec.Meta(ge=0)] | None = None
    total: Size | None = None

    @property
    def said(self) -> bool:
        """Whether any limit is set."""
        return (self.days, self.failed_days, self.total) != (None, None, None)


class FleetRow(_Table, frozen=True, kw_only=True):
    """``[fleet]``: the ``scheduler`` of many hosts, "" to run here; the files of TLS; and ``results``, the place
    through which run directories return.

    ``wait`` is the time in seconds to wait for a host that can run the remaining cells, or for a lost scheduler. ``hold``
    is the time in seconds that a host gets no order after it refused one, or after its runs were interrupted.
    """

    scheduler: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    results: str = ""
    wait: Annotated[float, msgspec.Meta(ge=0, le=7 * 24 * 3600)] = 600.0
    hold: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 15.0


class LabDocument(_Table, frozen=True, kw_only=True):
    """A ``lab.toml``. Relative paths begin at its directory.

    ``repeat`` is the default of plans without their own. ``parallel`` runs execute at once, if the host has leases for
    them. ``timeout`` is in seconds, for one run with its wait for a lease. ``until`` is the end of the nightly run, a
    time of day or a span. ``explore`` is ``until`` and such a time: the time from the end of the runs to it is for
    exploring. ``budget`` is the host's (:mod:`harness.host.budget`). :func:`document_kind` adds a key for each option
    of a run.
    """

    name: RowName = "lab"
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32)] = 0
    repeat: Times = 1
    parallel: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    timeout: NightlySeconds = 7200.0
    until: Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,2}:[0-9]{2}|([0-9]{1,4}[dhm])+)?$")] = ""
    explore: Annotated[str, msgspec.Meta(max_length=100)] = ""
    guest: list[GuestRow] = msgspec.field(default_factory=lambda: [GuestRow(name="twin")])
    qemu: list[QemuRow] = msgspec.field(default_factory=lambda: [QemuRow(name="default")])
    topology: list[TopologyRow] = msgspec.field(default_factory=lambda: [TopologyRow(name="default")])
    plan: Annotated[list[PlanRow], msgspec.Meta(min_length=1)]
    skip: list[SkipRow] = []
    known: list[KnownRow] = []
    store: StoreRow = StoreRow()
    keep: KeepRow = KeepRow()
    fleet: FleetRow = FleetRow()
    budget: BudgetWishes = BudgetWishes()


@functools.cache
def document_kind() -> type[LabDocument]:
    """Return the struct of a ``lab.toml``. The options of a run are its keys too: any value, unset by default."""
    keys = [(option.key("lab"), Any, msgspec.UNSET) for option in options_at("lab")]
    kind = msgspec.defstruct("LabDocument", keys, bases=(LabDocument,), frozen=True, kw_only=True)
    return cast("type[LabDocument]", kind)


def lab_schema() -> dict[str, Any]:
    """Return the JSON Schema of a ``lab.toml``. Its numbers are numbers; the decoder also takes them in quotes."""
    options = {f"LabDocument.{option.key('lab')}": option.schema() for option in options_at("lab")}
    guest, backend = OPTIONS["guest"].schema(), OPTIONS["backend"].schema()
    rows = {
        "GuestRow.name": {"enum": guest["enum"]},
        "QemuRow.backend": {"enum": backend["enum"]},
        "PlanRow.plan": {"examples": [*built_in_plans()]},
        "LabDocument.explore": {"pattern": "^(until .+)?$", "examples": [EXAMPLE]},
    }
    return toml_schema(
        document_kind(),
        title="A lab of the hotplug harness: the matrix of its nightly runs",
        fields={**options, **rows},
    )


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a nightly run. ``id`` names it in the state, ``text`` is its plan, ``seed`` its own."""

    guest: str
    qemu: str
    topology: str
    plan: str
    repetition: int
    seed: int

    @property
    def point(self) -> str:
        """The place in the matrix, without the repetition."""
        return f"{self.machine}.{self.plan}"

    @property
    def machine(self) -> str:
        """Identify the guest and its machine, by all that may decide whether the guest boots."""
        return f"{self.guest}.{self.qemu}.{self.topology}"

    @property
    def id(self) -> str:
        """The name of this run within the nightly run."""
        return f"{self.point}.{self.repetition}"


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the matrix that the document leaves out."""

    point: str
    why: str


class PointRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a point of the matrix asks for: its plan, on the machine of its topology, and the options of its runs.

    ``text`` is the text of the plan; the plan itself has the source text of its own file. ``rows`` are the numbers of
    the point's rows in the document, by table. ``error`` says why plan and topology exclude each other, None if not.
    """

    plan: Plan
    text: str
    options: RunOptions
    rows: dict[str, int]
    error: BadDocument | None = None


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """The work of a nightly run: its ``cells`` in their order, the text of each point's plan, and what is left out.

    ``origin`` is the source text of the document and its name. ``requests`` are what the points ask for, by point.
    ``options`` are the arguments of ``harness run`` for the machine of a cell. ``explored`` are the options of
    explorations, by guest and QEMU build. They have no topology, because all explored plans have the same machine.
    ``digest`` identifies the matrix: two documents with the same digest make the same nightly run.
    """

    document: LabDocument
    origin: tuple[str, str]
    cells: list[Cell]
    plans: dict[str, str]
    requests: dict[str, PointRequest]
    options: dict[str, list[str]]
    explored: dict[str, RunOptions]
    skipped: list[Skipped]
    digest: str


TABLES = ("guest", "qemu", "topology")
KNOWN_BY = ("rule", "failure_class", "signature", "guest", "qemu", "topology", "plan")
"""The fields by which a known issue can describe its failures."""

OPTIONS = {option.field: option for option in options_of(RunOptions)}

EXAMPLE = "until 06:00"
UNTIL = "until "
"""How the value of ``explore`` begins."""

NO_QEMU = "process"
"""The name in place of a QEMU build for a guest whose machine is a process."""


def read_lab(path: Path) -> LabDocument:
    """Read the parts of a ``lab.toml`` outside the matrix, on a host that may lack its guests and QEMU builds.

    Raises BadDocument.
    """
    text = read_document(path)
    document = decode_toml(text, document_kind(), name=str(path))
    _Check(text, str(path), path.parent).known(document)
    return document


class _FleetPart(msgspec.Struct, frozen=True):
    fleet: FleetRow = FleetRow()


def read_fleet(path: Path) -> FleetRow:
    """Read ``[fleet]`` of a file. A host that only offers itself needs no matrix, so other keys are not checked.

    Raises BadDocument.
    """
    return decode_toml(read_document(path), _FleetPart, name=str(path)).fleet


def read_matrix(path: Path) -> Matrix:
    """Read a ``lab.toml``. Raises BadDocument with file:line and a hint for anything that cannot be done."""
    if not path.exists() and not path.is_symlink():
        raise BadDocument(
            f"{path}: No such file or directory",
            hint="Write it, as docs/lab.md shows, or name the lab's file with --lab FILE.",
        )
    return decode_matrix(read_document(path), name=str(path), base=path.parent)


def decode_matrix(text: str, *, name: str, base: Path) -> Matrix:
    """Decode a ``lab.toml``. ``name`` is its name in messages. Its relative paths begin at ``base``."""
    document = decode_toml(text, document_kind(), name=name)
    check = _Check(text, name, base)
    for table in TABLES:
        check.names(table, [row.name for row in getattr(document, table)])
    for index, guest in enumerate(document.guest):
        check.read("guest", guest.name, "guest", index, "name")
    for index, qemu in enumerate(document.qemu):
        check.read("backend", qemu.backend, "qemu", index, "backend")
        if qemu.path:
            check.program(index, qemu.path)
    plans = [check.plan(index, row.plan) for index, row in enumerate(document.plan)]
    check.names("plan", [plan.name for plan in plans], key="plan")
    check.known(document)
    check.until(document)
    for index, skip in enumerate(document.skip):
        check.skip(index, skip, document, [plan.name for plan in plans])
    matrix = _expand(document, plans, check)
    if len(matrix.cells) > MOST_CELLS:
        raise BadDocument(f"{name}:1: the matrix has {len(matrix.cells)} runs, more than {MOST_CELLS}")
    if not matrix.cells:
        raise BadDocument(f"{name}:1: the matrix has no runs: a list is empty, or all are skipped")
    return matrix


def _expand(document: LabDocument, plans: Sequence[Plan], check: _Check) -> Matrix:
    points: list[tuple[str, str, str, str, int]] = []
    texts: dict[str, str] = {}
    skipped: list[Skipped] = []
    common = check.options(document)
    requests: dict[str, PointRequest] = {}
    machines: dict[str, RunOptions] = {}
    explored: dict[str, RunOptions] = {}
    several = [len(document.topology) > 1, len(document.qemu) > 1]
    for index, guest in enumerate(document.guest):
        for build in [None] if is_process(guest.name) else document.qemu:
            qemu = build.name if build is not None else NO_QEMU
            if document.explore:
                explored[f"{guest.name}.{qemu}"] = check.run(
                    index, common, guest, build, TopologyRow(name="explored")
                )
            for at, topology in enumerate(document.topology):
                for number, (row, plan) in enumerate(zip(document.plan, plans, strict=True)):
                    slug = _slug(plan.name)
                    point = f"{guest.name}.{qemu}.{topology.name}.{slug}"
                    of = {"guest": guest.name, "qemu": qemu, "topology": topology.name, "plan": plan.name}
                    if skip := next((one for one in document.skip if one.matches(**of)), None):
                        skipped.append(Skipped(point=point, why=skip.why))
                        continue
                    machine = f"{guest.name}.{qemu}.{topology.name}"
                    if machine not in machines:
                        machines[machine] = check.run(index, common, guest, build, topology)
                    parts = [
                        plan.name,
                        *([topology.name] if several[0] else []),
                        *([qemu] if several[1] else []),
                    ]
                    requests[point] = _merged(
                        plan, topology, "-".join(parts), machines[machine],
                        {"guest": index, "topology": at, "plan": number},
                    )  # fmt: skip
                    texts[point] = requests[point].text
                    times = row.repeat or document.repeat
                    points.append((guest.name, qemu, topology.name, slug, times))
    cells: list[Cell] = []
    for repetition in range(1, max((point[-1] for point in points), default=0) + 1):
        round_ = [
            Cell(
                guest=guest, qemu=qemu, topology=topology, plan=plan, repetition=repetition,
                seed=_seed(document.seed, guest, qemu, topology, plan, repetition),
            )
            for guest, qemu, topology, plan, times in points
            if repetition <= times
        ]  # fmt: skip
        random.Random(f"{document.seed}:{repetition}").shuffle(round_)  # noqa: S311 - an order, no secret
        cells += round_
    # Known issues, the store, the retention, the fleet and the time limits do not change the nightly run's
    # identity.
    same = msgspec.structs.replace(
        document, known=[], store=StoreRow(), keep=KeepRow(), fleet=FleetRow(), until="", explore=""
    )
    meant = msgspec.json.encode([to_plain(same), texts], order="sorted")
    return Matrix(
        document=document,
        origin=(check.text, check.name),
        cells=cells,
        plans=texts,
        requests=requests,
        options={machine: options.words() for machine, options in machines.items()},
        explored=explored,
        skipped=skipped,
        digest=hashlib.sha256(meant).hexdigest(),
    )


WISHES = [field.name for field in msgspec.structs.fields(MachineWishes)]


def _merged(
    plan: Plan, topology: TopologyRow, name: str, options: RunOptions, rows: dict[str, int]
) -> PointRequest:
    """Return what a point asks for: the plan, called ``name``, with the topology's keys in place of its own."""
    wishes = {key: value for key in WISHES if (value := getattr(topology, key)) is not None}
    merged = msgspec.structs.replace(plan, name=name, machine=msgspec.structs.replace(plan.machine, **wishes))
    merged.__dict__["origin"] = plan.origin
    text, wrong = plan_text(merged), None
    try:
        decode_plan(text, name=plan.name)
    except BadDocument as error:
        wrong = error
    return PointRequest(plan=merged, text=text, options=options, rows=rows, error=wrong)


def _seed(*of: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:4])


def _slug(name: str) -> str:
    return (
        "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "-" for sign in name)[:60]
        or "plan"
    )


class _Check:
    """Checks that a document can be carried out. Errors name the line."""

    def __init__(self, text: str, name: str, base: Path) -> None:
        self.text = text
        self.name = name
        self._base = base

    def _at(self, *steps: object) -> str:
        return f"{self.name}:{line_of(self.text, list(steps))}"

    def names(self, table: str, names: Sequence[str], *, key: str = "name") -> None:
        for index, name in enumerate(names):
            if _slug(name) in [_slug(before) for before in names[:index]]:
                raise BadDocument(
                    f"{self._at(table, index, key)}: two {table} tables are called {name!r}",
                    hint="repeat = N runs a plan more than once."
                    if table == "plan"
                    else "Give each a name of its own.",
                )

    @contextlib.contextmanager
    def at(self, *steps: object) -> Iterator[None]:
        """Add the place in the document to a UsageError, unless the error is about another document."""
        try:
            yield
        except BadDocument:
            raise
        except UsageError as error:
            raise BadDocument(f"{self._at(*steps)}: {error.message}", hint=error.hint) from error

    def read(self, field: str, value: object, *steps: object) -> Any:
        option = OPTIONS[field]
        with self.at(*steps):
            return option.read(str(self._base / value) if option.exist and isinstance(value, str) else value)

    def options(self, document: LabDocument) -> dict[str, Any]:
        """Return the options that the document sets for all runs, by field."""
        return {
            option.field: self.read(option.field, value, option.key("lab"))
            for option in options_at("lab")
            if (value := getattr(document, option.key("lab"))) not in (msgspec.UNSET, "")
        }

    def run(
        self,
        index: int,
        common: Mapping[str, Any],
        guest: GuestRow,
        qemu: QemuRow | None,
        topology: TopologyRow,
    ) -> RunOptions:
        """Return the options of a run on one machine, without those that do not apply to its guest."""
        rows = {"guest": guest.name, "driver": guest.driver and str(resolved(self._base, guest.driver))}
        if qemu is not None:
            path = qemu.path and str(resolved(self._base, qemu.path))
            rows |= {"qemu": path, "machine": topology.machine}
            rows |= {"backend": qemu.backend, "connect": qemu.connect}
        windows = guest.name.startswith("windows")
        fitting = {
            field: value
            for field, value in common.items()
            if (qemu or not OPTIONS[field].machine) and (windows or not OPTIONS[field].windows)
        }
        with self.at("guest", index, "name"):
            return made("lab", {**fitting, **{field: said for field, said in rows.items() if said}})

    def program(self, index: int, path: str) -> None:
        try:
            find_program(resolved(self._base, path))
        except UsageError:
            raise
        except Exception as error:
            raise BadDocument(
                f"{self._at('qemu', index, 'path')}: there is no program {path!r}",
                hint=f"Relative paths begin at the directory of {self.name}; a name without a slash is looked up on PATH.",
            ) from error

    def plan(self, index: int, wanted: str) -> Plan:
        if "/" not in wanted and not wanted.endswith(".toml"):
            with self.at("plan", index, "plan"):
                return find_plan(wanted)
        file = resolved(self._base, wanted)
        try:
            text = read_document(file)
        except BadDocument as error:
            raise BadDocument(
                f"{self._at('plan', index, 'plan')}: {error.message}",
                hint=error.hint or f"Relative paths begin at the directory of {self.name}.",
            ) from error
        return decode_plan(text, name=str(file))

    def skip(self, index: int, row: SkipRow, document: LabDocument, plans: Sequence[str]) -> None:
        known = {table: [other.name for other in getattr(document, table)] for table in TABLES}
        known["plan"] = list(plans)
        for key, names in known.items():
            value = getattr(row, key)
            if value:
                with self.at("skip", index, key):
                    check_choice(key, value, names)
        if not any(getattr(row, key) for key in known):
            raise BadDocument(
                f"{self._at('skip', index)}: this leaves out everything", hint="Name a guest or a plan."
            )

    def until(self, document: LabDocument) -> None:
        if document.until:
            with self.at("until"):
                read_end_time(document.until, what="until", now=time.time())
        if document.explore:
            if not document.explore.startswith(UNTIL):
                raise BadDocument(
                    f"{self._at('explore')}: explore = {document.explore!r} does not say until when",
                    hint=f'explore = "{EXAMPLE}"',
                )
            with self.at("explore"):
                read_end_time(document.explore.removeprefix(UNTIL), what="explore", now=time.time())

    def known(self, document: LabDocument) -> None:
        for index, row in enumerate(document.known):
            if not any(getattr(row, key) for key in KNOWN_BY):
                raise BadDocument(
                    f"{self._at('known', index)}: this matches every failure",
                    hint=f"Give at least one of {', '.join(KNOWN_BY)}.",
                )


def resolved(base: Path, path: str) -> Path:
    """Return a path of the document. A relative path begins at ``base``. A bare program name is unchanged."""
    if "/" not in path and not path.endswith(".toml"):
        return Path(path)
    found = base / path
    # pathlib drops the "./" of "./x", and a name without a slash would be looked up on PATH.
    return found if len(found.parts) > 1 else found.absolute()
