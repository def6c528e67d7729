# SPDX-License-Identifier: MIT
"""The base of every record, and the records that the host side writes.

A history is a file of JSON lines, one record each, in the order in which the harness received them. Every record
has its number ``n`` (1-based, the line number) and ``host_ns``. **The clock domain of a time is in its name**:

``host_ns``   CLOCK_MONOTONIC of the host, nanoseconds, when the harness received or caused the event;
``qemu_us``   QEMU's wall-clock stamp of an event, microseconds since the epoch;
``qpc``       QueryPerformanceCounter ticks of the guest, one domain per boot; its rate is in the driver's ``hello``.

Times of different domains are never subtracted from one another; a :class:`Clock` record declares each domain.
The driver's own records are in :mod:`harness.history.driver`.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import msgspec

FORMAT = 1
"""Version of the history format. A reader refuses a newer one."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="k"):
    """One observation. ``n`` and ``host_ns`` are filled in by the history."""

    n: int = 0
    host_ns: int = 0

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        """Return the record itself, which never changes. A copy of a judge shares it."""
        return self


class Header(Record, frozen=True, kw_only=True, tag="header"):
    """First record of every history. ``guest`` labels all verdicts: "twin", "windows-server-2025", "host", "wine"."""

    format: int
    harness: str
    run: str
    guest: str
    wall: str


class Clock(Record, frozen=True, kw_only=True, tag="clock"):
    """Declares a clock domain: ``host`` (1e9 Hz), or ``qpc/<boot nonce>``."""

    domain: str
    hz: int


class Boot(Record, frozen=True, kw_only=True, tag="boot"):
    """A boot epoch begins. A reset or a bug check ends the previous one."""

    epoch: int
    cause: Literal["power-on", "host-reset", "guest-reset", "restored"]


class Stage(Record, frozen=True, kw_only=True, tag="stage"):
    """A stage of the run (``accelerator``, ``image``, ``qemu``, ``boot``, ``driver``, ``operation``, ``judge``, …)."""

    name: str
    phase: Literal["begin", "end", "fail", "note"]
    detail: str = ""


class Qmp(Record, frozen=True, kw_only=True, tag="qmp"):
    """A QMP message as it crossed the socket, in true order: ``out`` to QEMU, ``in`` from it.

    ``monitor`` counts connections: 2 is the first reconnect. Through libvirt, calls that change the machine are recorded
    by their names in its API, in the same form; queries and events are QEMU's own.
    """

    direction: Literal["in", "out"]
    message: dict[str, Any]
    monitor: int = 1


class Migration(Record, frozen=True, kw_only=True, tag="migration"):
    """The guest moves from one QEMU process to another, or the attempt to move it failed.

    ``begin``   the new process waits for the state, and the guest runs on in the old one;
    ``moved``   the new process has the state and the old one is gone;
    ``stayed``  the guest continues in the old process, for the reason in ``detail``.

    ``source`` and ``target`` are process numbers. After ``begin`` the guest was paused for a while that its own clock may
    not have counted: no time of the guest is measured across it.
    """

    phase: Literal["begin", "moved", "stayed"]
    source: int = 0
    target: int = 0
    detail: str = ""


class OperationProgress(Record, frozen=True, kw_only=True, tag="operation"):
    """A plan's operation begins or ends. ``index`` is its 1-based position; ``arguments`` are as in the plan."""

    index: int
    name: str
    phase: Literal["begin", "end", "fail"]
    arguments: dict[str, Any] = {}
    detail: str = ""


class Add(Record, frozen=True, kw_only=True, tag="add"):
    """A host command to add one processor or one DIMM: one attempt, from ``begin`` to ``settled``.

    ``begin``     just before ``device_add`` is sent;
    ``accepted``  QEMU answered with success, which proves nothing about the guest;
    ``refused``   QEMU answered with an error (``detail``);
    ``unsure``    the monitor dropped before the reply: QEMU may or may not have the device;
    ``settled``   the attempt's consequences were awaited; see :class:`Agreement`.

    ``expected`` is what the plan expects: ``added``, ``vetoed`` (the driver refuses: QEMU lists the device, the guest
    does not count it), ``refused`` (by QEMU), ``ignored`` (by the guest), ``found`` (by a guest that has not booted yet:
    not a hot-add, so no driver should be notified).
    """

    attempt: str
    phase: Literal["begin", "accepted", "refused", "unsure", "settled"]
    what: Literal["cpu", "dimm"]
    device: str
    slot: str = ""
    bytes: int = 0
    expected: Literal["added", "vetoed", "refused", "ignored", "found"] = "added"
    detail: str = ""


class Removal(Record, frozen=True, kw_only=True, tag="removal"):
    """A host command to remove one hot-added processor or DIMM: one request, from ``begin`` to ``settled``.

    The phases are those of :class:`Add`; its :class:`Agreement` has ``request`` as its attempt. ``expected`` is ``gone``,
    ``refused`` (by the guest), ``ignored`` (nothing came within the time), or ``kept`` (refused or ignored).
    ``outcome``, when settled, is ``gone``, ``refused`` or ``ignored``, "" if unknown. ``bytes`` is a DIMM's size.
    """

    request: str
    phase: Literal["begin", "accepted", "refused", "unsure", "settled"]
    what: Literal["cpu", "dimm"]
    device: str
    slot: str = ""
    bytes: int = 0
    expected: Literal["gone", "refused", "ignored", "kept"] = "gone"
    outcome: Literal["", "gone", "refused", "ignored"] = ""
    detail: str = ""


class Ost(Record, frozen=True, kw_only=True, tag="ost"):
    """``ACPI_DEVICE_OST``: the guest's firmware interface evaluated ``_OST`` for a device.

    ``source`` and ``status`` are ACPI's (1 device check, 0x200 insertion processing; status 0 success).
    ``slot`` is QEMU's index as a string, not an APIC id and not Windows' NtNumber.
    """

    device: str
    slot: str
    slot_type: str
    source: int
    status: int
    qemu_us: int = 0


class Count(Record, frozen=True, kw_only=True, tag="count"):
    """The guest's own counts: active processors and usable memory in bytes. ``why``: ``baseline``, ``settled``…

    A baseline was counted within the silence of the :class:`Quiesced` before it.
    """

    processors: int
    memory: int
    why: str = ""


class Agreement(Record, frozen=True, kw_only=True, tag="agreement"):
    """The three-way agreement on an attempt: QEMU's list, the firmware's ``_OST``, the guest's own count.

    An attempt is an add, or a request to give a device back, whose ``_OST`` answers are those to an ejection.
    ``agreed`` is judged against the outcome the plan expects; ``detail`` says which of the three differed. ``unshown``
    names the missing ones where the machine is a process (``qemu``, ``ost``): they were not asked, and no three-way
    agreement is claimed.
    """

    attempt: str
    expected: str
    agreed: bool
    qemu_lists: bool
    ost: list[tuple[int, int]]
    counted_before: int
    counted_after: int
    detail: str = ""
    unshown: list[str] = []


class Expectation(Record, frozen=True, kw_only=True, tag="expect"):
    """A plan's ``expect`` operation: what was demanded, what was seen, and whether they match."""

    index: int
    demanded: str
    seen: str
    met: bool


class Quiesced(Record, frozen=True, kw_only=True, tag="quiesced"):
    """No driver record came for ``quiet_ns`` and the guest then proved that it is alive by echoing ``nonce``.

    Only after such a record is the absence of a record evidence.
    """

    nonce: str
    quiet_ns: int


class GuestEvent(Record, frozen=True, kw_only=True, tag="guest"):
    """A report of the guest agent itself: ready, a processor onlined, a module loaded."""

    event: str
    detail: str = ""


BOOT_OPTION = "boot-option"
"""The event that reports an option that Windows' processor groups depend on: ``groupsize`` or ``maxgroup``, with its value."""

EDITION = "edition"
"""The event that reports whether a guest's edition takes devices while it runs: one of the words below, and the edition."""

TAKES_PROCESSORS, REFUSES_PROCESSORS = "takes processors", "refuses processors"


class Console(Record, frozen=True, kw_only=True, tag="console"):
    """Console lines worth a record: a panic, an oops, a BUG or WARN. All other lines stay in console.log.

    The first line gets a record of its own at once. Lines that follow closely share one, in their order, separated by line
    feeds; its ``severity`` is the worst among them.
    """

    text: str
    severity: Literal["warning", "crash"]


class Channel(Record, frozen=True, kw_only=True, tag="channel"):
    """A capture channel's account, written when it closes (``closed``) or when something was lost.

    ``records`` is the exact number of the driver's records of this channel in the history. The other counts are lines:
    ``torn`` (cut or interleaved), ``corrupt`` (checksum, or an event that cannot be mapped), ``foreign`` (not written by the
    driver), ``oversized``, ``stale`` (of a boot nonce that another one superseded; these are among ``records``). For a mapped
    driver ``stale`` also counts events whose number was past, which are left out. ``lost`` are missing sequence numbers.

    ``cut`` names the budget by which a channel was cut, "" if it was not. A cut channel is never ``closed``. It counted
    ``dropped`` bytes and ``left_out`` records after the cut; there may have been more.
    """

    name: str
    records: int
    torn: int = 0
    corrupt: int = 0
    foreign: int = 0
    oversized: int = 0
    stale: int = 0
    lost: int = 0
    closed: bool = False
    cut: str = ""
    dropped: int = 0
    left_out: int = 0


class Mapped(Record, frozen=True, kw_only=True, tag="mapped"):
    """From here on the records of ``driver`` are made from its own trace events, by a map.

    ``absent`` lists, by kind of record, the fields that its events do not give. The values in those fields mean nothing,
    and a rule that reads one does not apply. ``provider`` is the GUID of the events.
    """

    driver: str
    provider: str
    absent: dict[str, list[str]]


class Profile(Record, frozen=True, kw_only=True, tag="profile"):
    """The promises of ``driver`` beyond what the pages require of every driver, declared by the user.

    ``sample`` is what ``hpnotify`` promises: one object for each processor, allocated in its Start and not freed before
    its Failure or its own withdrawal, and a trace registration around everything that it reports.
    """

    driver: str
    promises: str


class Offset(Record, frozen=True, kw_only=True, tag="offset"):
    """The guest's counter bracketed by the host's clock: a driver read ``qpc`` between ``low_ns`` and ``high_ns``.

    ``domain`` is ``qpc/<boot nonce>``, ``hz`` its stated rate. ``low_ns`` is the host's clock before it requested an echo of
    ``nonce``, ``high_ns`` when ``channel`` had brought the echo. ``drift_low_ppb`` to ``drift_high_ppb`` is the interval,
    in parts per billion, by which the host's clock ran ahead of the counter since the boot's first bracket; None
    before the second.
    """

    domain: str
    hz: int
    qpc: int
    low_ns: int
    high_ns: int
    nonce: str = ""
    channel: str = ""
    drift_low_ppb: int | None = None
    drift_high_ppb: int | None = None


class RunFailure(Record, frozen=True, kw_only=True, tag="fault"):
    """The run could not continue: who is to blame (:class:`harness.errors.FailureClass`), where, and the message."""

    failure_class: str
    stage: str
    message: str


class End(Record, frozen=True, kw_only=True, tag="end"):
    """Last record of a history that ended normally. A history without it was cut."""

    outcome: Literal["completed", "failed", "interrupted"]


HostRecord = (
    Header | Clock | Boot | Stage | Qmp | Migration | OperationProgress | Add | Removal | Ost | Count | Agreement | Expectation
    | Quiesced | GuestEvent | Console | Channel | Mapped | Profile | Offset | RunFailure | End
)  # fmt: skip
