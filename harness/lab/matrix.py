# SPDX-License-Identifier: MIT
"""The matrix of a nightly run, from a ``lab.toml``: guests x QEMU builds x topologies x plans x repetitions, in a
planned order.

The order depends on the seed only. Each cell runs once before any is repeated, so an interrupted nightly run has
covered as much as it could. Each round is shuffled, so that a host that degrades over time does not always affect the
same cells.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.config import decode_toml, read_document, to_plain
from harness.errors import BadDocument
from harness.lab.document_check import DocumentCheck, slug
from harness.lab.lab_document import (
    TABLES,
    FleetRow,
    KeepRow,
    LabDocument,
    StoreRow,
    TopologyRow,
    document_kind,
)
from harness.run.options import RunOptions, is_process
from harness.run.plan import MachineWishes, Plan, decode_plan
from harness.run.plan_text import plan_text

MOST_CELLS = 100_000
"""The most cells of one nightly run; a run takes seconds at best."""


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
    """The work of a nightly run: its ``cells`` in their order, what their points ask for, and what is left out.

    ``origin`` is the source text of the document and its name. ``requests`` are by point. ``explored`` are the options of
    explorations, by guest and QEMU build. They have no topology, because all explored plans have the same machine.
    ``digest`` identifies the matrix: two documents with the same digest make the same nightly run.
    """

    document: LabDocument
    origin: tuple[str, str]
    cells: list[Cell]
    requests: dict[str, PointRequest]
    explored: dict[str, RunOptions]
    skipped: list[Skipped]
    digest: str


NO_QEMU = "process"
"""The name in place of a QEMU build for a guest whose machine is a process."""


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
    check = DocumentCheck(text, name, base)
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


def _expand(document: LabDocument, plans: Sequence[Plan], check: DocumentCheck) -> Matrix:
    points: list[tuple[str, str, str, str, int]] = []
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
                    name = slug(plan.name)
                    point = f"{guest.name}.{qemu}.{topology.name}.{name}"
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
                    times = row.repeat or document.repeat
                    points.append((guest.name, qemu, topology.name, name, times))
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
    texts = {point: request.text for point, request in requests.items()}
    meant = msgspec.json.encode([to_plain(same), texts], order="sorted")
    return Matrix(
        document=document,
        origin=(check.text, check.name),
        cells=cells,
        requests=requests,
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
