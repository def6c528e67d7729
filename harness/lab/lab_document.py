# SPDX-License-Identifier: MIT
"""A ``lab.toml``: the tables of its matrix, its store and its fleet, and the options of its runs."""

from __future__ import annotations

import datetime
import functools
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec

from harness.host.budget import BudgetWishes
from harness.run.option import options_of
from harness.run.options import RunOptions, options_at
from harness.run.plan import MachineWishes, built_in_plans
from harness.schema import toml_schema
from harness.size import Size

RowName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]
Times = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
NightlySeconds = Annotated[float, msgspec.Meta(gt=0, le=7 * 24 * 3600)]

TABLES = ("guest", "qemu", "topology")
KNOWN_BY = ("rule", "failure_class", "signature", "guest", "qemu", "topology", "plan")
"""The fields by which a known issue can describe its failures."""

OPTIONS = {option.field: option for option in options_of(RunOptions)}

EXAMPLE = "until 06:00"
UNTIL = "until "
"""How the value of ``explore`` begins."""


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


def resolved(base: Path, path: str) -> Path:
    """Return a path of the document. A relative path begins at ``base``. A bare program name is unchanged."""
    if "/" not in path and not path.endswith(".toml"):
        return Path(path)
    found = base / path
    # pathlib drops the "./" of "./x", and a name without a slash would be looked up on PATH.
    return found if len(found.parts) > 1 else found.absolute()
