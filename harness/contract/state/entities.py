# SPDX-License-Identifier: MIT
"""The subjects that rules judge: calls, callbacks, registrations, attempts, arrivals, host commands.

They are built by :class:`harness.contract.state.model.Model`. ``at`` is the place of a record in the judged stream,
counted from 1: it orders records by receipt, which is their order within one driver. Only :mod:`harness.contract.order`
compares times of the guest's clock.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from harness.history import driver as d
from harness.history import record as r
from harness.history.driver import START, nt_success

Stretch = tuple[str, int, int]
"""A driver ("" for any) and two places of the stream: where a conclusion assumes that its records are absent."""


class Entity(msgspec.Struct, eq=False):
    """A subject with many instances. A msgspec struct is created faster than a dataclass."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy. Entities may refer to each other."""
        made = memo[id(self)] = copy.copy(self)
        for name in self.__struct_fields__:
            setattr(made, name, copy.deepcopy(getattr(self, name), memo))
        return made


@dataclass(slots=True, eq=False)
class Loss:
    """Records that may be missing: between the places ``begin`` and ``end``, of ``driver`` ("" for any)."""

    driver: str
    begin: int
    end: int
    why: str
    shown: r.Record | None = None


@dataclass(slots=True, eq=False)
class CallSpan:
    """A call the driver made (or its DriverEntry or Unload): from just before it to just after it."""

    at: int
    stream: DriverLoad
    enter: d.CallEnter
    registration: Registration | None = None
    exit: d.CallExit | None = None
    exit_at: int = 0


@dataclass(slots=True, eq=False)
class Registration:
    """One KeRegisterProcessorChangeCallback or IoRegisterPlugPlayNotification call and the time it was in force.

    ``implied`` registrations were never seen being made: the history begins after them, or their record was lost.
    ``first_cls`` is the class of an implied one's first notification. ``presumed``: it is taken to have returned, because
    the guest was quiet since its exit record was lost. ``proved``: it is in force, because a hot add was reported to it.
    ``base`` is the number of active processors at the first quiesced point after the registration, -1 before it.
    ``known_links`` existed at that point or were removed before. ``told`` are the places at which further links arrived
    first. ``add_existing``: a synchronous one with KE_PROCESSOR_CHANGE_ADD_EXISTING. ``include_existing``: an asynchronous
    one with PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES. ``device`` is the device in whose callback it was made,
    "" if none is known. ``owed`` are the places and numbers of the adds whose arrivals it should get.
    """

    stream: DriverLoad
    id: int
    sync: bool
    span: CallSpan | None = None
    handle: bool = True
    presumed: bool = False
    proved: bool = False
    first_cls: str = ""
    done_at: int = 0
    leave: CallSpan | None = None
    left_at: int = 0
    leaves: int = 0
    device: str = ""
    races_add: bool = False
    existing: list[Callback] = field(default_factory=list)
    existing_processors: frozenset[int] = frozenset()
    base: int = -1
    base_at: int = 0
    completes_at_base: int = 0
    links: dict[str, int] = field(default_factory=dict)
    known_links: set[str] = field(default_factory=set)
    new_links: set[str] = field(default_factory=set)
    told: list[int] = field(default_factory=list)
    owed: list[tuple[int, int]] = field(default_factory=list)
    implied: bool = field(init=False)
    flags: int = field(init=False)
    add_existing: bool = field(init=False)
    include_existing: bool = field(init=False)

    def __post_init__(self) -> None:
        self.implied = self.span is None
        self.flags = 0 if self.span is None else self.span.enter.flags
        self.add_existing = self.sync and bool(self.flags & d.ADD_EXISTING)
        self.include_existing = not self.sync and bool(self.flags & d.INCLUDE_EXISTING)

    @property
    def driver(self) -> str:
        """Name of the driver instance."""
        return self.stream.driver

    @property
    def made(self) -> tuple[d.CallEnter, ...]:
        """The record of the registering call, as a witness; empty if the history does not hold it."""
        return () if self.span is None else (self.span.enter,)

    @property
    def returned(self) -> tuple[d.CallExit, ...]:
        """The record of the registering call's return, as a witness; empty if the history does not hold it."""
        return () if self.span is None or self.span.exit is None else (self.span.exit,)

    @property
    def uncertain(self) -> bool:
        """Whether it is not known when it comes into force and when it ends.

        A map leaves that out, the beginning is missing, or the registering call's result is not known.
        """
        if self.presumed and not self.proved:
            return True
        return self.span is None and (self.stream.mapped or self.stream.headless)

    @property
    def cls(self) -> str:
        """Device class of an asynchronous registration: ``cpu``, ``memory`` or a GUID."""
        return self.first_cls if self.span is None else self.span.enter.cls

    @property
    def open(self) -> bool:
        """Whether the registering call is running, even if only its callbacks were seen so far."""
        if self.span is None:
            return self.done_at == 0
        return self.span.exit is None and not self.presumed

    @property
    def alive(self) -> bool:
        """Whether callbacks may be expected: it is registered and not about to be removed."""
        return self.handle and not self.open and self.leave is None

    @property
    def left(self) -> bool:
        """Whether the removing call has returned."""
        return self.left_at > 0

    def __str__(self) -> str:
        return f"registration {self.id} of driver {self.driver}"


SAMPLE = "sample"
"""The profile of a driver that promises what ``hpnotify`` does (:class:`harness.history.record.Profile`)."""

CONTEXT = ("state", "nt", "group", "number", "status")
"""Fields of KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT that a driver could change for the clients after it."""


class Callback(Entity):
    """One call of the processor change callback: its enter record and, once seen, its exit record.

    ``veto``: this Start itself turned a success into an error. ``refused``: the operation status was an error when this
    Start returned, from any client. ``overwrites``: this Start cleared an error that an earlier client had reported.
    ``altered``: the driver changed the context that the next client gets. ``written`` are the fields that an earlier
    client had changed, with old and new value. The records of this call are kept as Windows had written them.
    """

    at: int
    enter: d.SyncEnter
    registration: Registration
    attempt: Attempt | None = None
    exit: d.SyncExit | None = None
    exit_at: int = 0

    written: dict[str, tuple[int, int]] = {}
    veto: bool = False
    refused: bool = False
    overwrites: bool = False
    altered: bool = False

    @property
    def last(self) -> d.SyncEnter | d.SyncExit:
        """The last record of the call so far."""
        return self.exit or self.enter

    def returned(self, leave: d.SyncExit, at: int) -> None:
        """Record that the callback returned."""
        self.exit, self.exit_at = leave, at
        enter = self.enter
        if enter.state == START:
            before, after = nt_success(enter.op), nt_success(leave.op)
            self.refused = not after
            self.veto = before and not after
            self.overwrites = after and not before
        # A map need not give the context again at the exit.
        self.altered = not self.registration.stream.mapped and (
            enter.state != leave.state
            or enter.nt != leave.nt
            or enter.group != leave.group
            or enter.number != leave.number
            or enter.status != leave.status
        )


class RegistrationView(Entity):
    """What one registration saw of one attempt. ``vetoed``: it refused the processor itself."""

    starts: list[Callback] = msgspec.field(default_factory=list)
    terminals: list[Callback] = msgspec.field(default_factory=list)
    vetoed: bool = False

    @property
    def closed(self) -> bool:
        """Whether nothing more has to come: a terminal was delivered, or the registration vetoed."""
        return bool(self.terminals) or not self.starts or self.vetoed

    def state(self, state: int) -> list[Callback]:
        """Return the terminals of the given state."""
        terminals = self.terminals
        return [call for call in terminals if call.enter.state == state] if terminals else terminals


class Attempt(Entity):
    """A(n, k): the hot-add events of processor ``n``, k-th time, over all registrations, in order of receipt.

    ``vetoed``: a Start returned with an error in the operation status, from any client. ``refused``: it was vetoed, or a
    Start found an error, or a Failure came. ``waiting`` counts the registrations whose Start has no end.
    ``ambiguous``: a Start joined that may belong to another host command, because nothing more had to come.
    ``doubtful``: one joined while another had not been seen to return. ``overwritten``: a driver cleared the error of
    another, which causes what follows.

    ``since`` is the last place before the first event at which no event of this attempt can have been: a quiesced
    point, a host command when none was in flight, or the boot. ``settled`` is the first quiesced point after
    everything was closed (0: none came). ``quiet`` is the first one after the last event, closed or not, and ``proof``
    its record. ``active_after`` is the active count at ``quiet``, 0 if another attempt overlapped. ``cut`` says why the attempt was cut short, "" if it was not.
    """

    n: int
    k: int
    since: int
    first: int
    active_before: int
    views: dict[Registration, RegistrationView] = msgspec.field(default_factory=dict)
    events: list[Callback] = msgspec.field(default_factory=list)
    starts: list[Callback] = msgspec.field(default_factory=list)
    terminals: list[Callback] = msgspec.field(default_factory=list)
    completes: list[Callback] = msgspec.field(default_factory=list)
    vetoed: bool = False
    refused: bool = False
    overwritten: bool = False
    late: list[Callback] = msgspec.field(default_factory=list)
    last: int = 0
    settled: int = 0
    quiet: int = 0
    proof: r.Quiesced | None = None
    active_after: int = 0
    overlapped: bool = False
    cut: str = ""
    crowded: bool = False
    retried: bool = False
    ambiguous: bool = False
    doubtful: bool = False
    waiting: int = 0
    sealed_at: int = 0
    ran_on: tuple[d.DriverRecord | None, d.DriverRecord | None] = (None, None)

    def release(self) -> None:
        """Drop the references to its callbacks after it was judged, unless one of them has not returned yet."""
        if all(call.exit is not None for call in self.events):
            for calls in (self.events, self.starts, self.terminals, self.completes, self.late):
                calls.clear()
            self.views.clear()

    @property
    def mixed(self) -> bool:
        """Whether callbacks of two host commands may be mixed in it."""
        vetoed = self.vetoed or any(call.exit is None for call in self.starts)
        return self.ambiguous or (self.doubtful and vetoed)

    @property
    def stretch(self) -> Stretch:
        """The stretch in which a record of it may be missing."""
        return "", self.since, self.settled or self.sealed_at or self.last + 1

    @property
    def over(self) -> int:
        """The place from which on nothing more was to be expected of it."""
        return self.settled or self.quiet or self.sealed_at

    @property
    def name(self) -> str:
        """``processor 2`` or ``processor 2, attempt 3``."""
        return f"processor {self.n}" if self.k == 1 else f"processor {self.n}, attempt {self.k}"

    @property
    def closed(self) -> bool:
        """Whether every registration that saw a Start saw its terminal or vetoed."""
        return not self.waiting


class Arrival(Entity):
    """One call of a Plug and Play notification callback.

    ``new``: its link was first seen after the registration's baseline; ``seen_at`` is the place at which any registration
    saw it first. ``window`` is then the window of the host commands that explain it, None if none does, and ``index``
    counts the new links of this registration in it, from 1.
    ``times`` is how often this link arrived since its last removal. ``start`` is the first Start that its driver saw in
    the window, if it came after the arrival. ``quiet``: after it the guest was quiet and nothing was added.
    """

    at: int
    enter: d.AsyncEnter
    registration: Registration
    new: bool = False
    seen_at: int = 0
    window: AddWindow | None = None
    index: int = 0
    times: int = 1
    existing: bool = False
    exit: d.AsyncExit | None = None
    start: Callback | None = None
    quiet: bool = False


class AddWindow(Entity):
    """The time of one processor add, or of several in flight together, until the next host command.

    ``base`` is the active count before it. ``starts`` are the attempts of which each driver had seen a Start before it.
    ``earlier``: processors were added before, whose interfaces may arrive late. ``failed``: an add had failed, and may be
    tried again. ``uncounted`` and ``unannounced`` are arrivals that came before the count or the Start.
    """

    at: int
    base: int
    earlier: bool
    failed: bool
    adds: int = 1
    agreed: int = 0
    completes: int = 0
    grown: int = 0
    failures: int = 0
    closed_at: int = 0
    starts: dict[DriverLoad, int] = msgspec.field(default_factory=dict)
    links: dict[Registration, int] = msgspec.field(default_factory=dict)
    uncounted: list[Arrival] = msgspec.field(default_factory=list)
    unannounced: list[Arrival] = msgspec.field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Whether a processor was added in it: Complete came, the count grew, or the three agreed."""
        return bool(self.completes or self.grown > self.base or self.agreed)


class HostAdd(Entity):
    """A host command to add one processor or DIMM and the window in which its consequences were awaited.

    A ``clean`` window overlaps with no processor add and follows only processor adds that are closed and did not fail,
    since a failed one may be tried again.
    """

    begin: r.Add
    at: int
    accepted: bool = False
    refused: bool = False
    unsure: bool = False
    settled_at: int = 0
    agreed: bool | None = None
    unshown: bool = False
    detail: str = ""
    starts_before: int = 0
    active_before: int = 0
    clean: bool = True


@dataclass(slots=True, eq=False)
class DriverLoad:
    """One load of one driver, as the checker remembers it.

    ``earlier`` are the registrations of its former loads in this boot. ``calling`` are the running Starts and ends,
    by registration and processor. ``headless``: its first records are missing. ``held`` are the objects that it reported,
    by number, with the call in which each was made.
    """

    driver: str
    boot: str
    began_at: int
    last: d.DriverRecord | None = None
    last_at: int = 0
    hz: int = 0
    mode: str = ""
    mapped: bool = False
    promises: str = ""
    headless: bool = False
    finished: bool = False
    unload: CallSpan | None = None
    opens: dict[int, CallSpan | Callback | Arrival | r.Record] = field(default_factory=dict)
    registrations: dict[int, Registration] = field(default_factory=dict)
    earlier: dict[int, Registration] = field(default_factory=dict)
    calling: dict[tuple[int, int], Callback] = field(default_factory=dict)
    objects: dict[tuple[int, int], dict[int, HeldObject]] = field(default_factory=dict)
    held: int = 0
    allocates: bool = False
    starts: int = 0
    completes: int = 0
    complete_calls: list[Callback] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    arrived_at: int = 0
    devices: set[str] = field(default_factory=set)
    asking: dict[int, list[str]] = field(default_factory=dict)
    etw: str = ""
    order_lost: bool = False
    crowded: bool = False


class HeldObject(Entity):
    """An object that a driver reported as allocated for a processor; ``call`` is the callback in which it was made."""

    record: r.Record
    call: Callback | None


@dataclass(slots=True, eq=False)
class Growth:
    """Between two quiet points more processors became active (``grown``) than were announced (``told``) and not ``refused``."""

    since: int
    grown: int
    told: int
    refused: int
    proof: r.Quiesced


class Sample:
    """Kind of subject: every driver record, before it becomes the stream's last. The subject is the record."""


@dataclass(slots=True, eq=False)
class Epoch:
    """The end of a boot epoch: by the next ``boot``, by the orderly ``end`` of the history, or because it was ``cut``."""

    number: int
    began_at: int
    ended_by: str
    last: bool
