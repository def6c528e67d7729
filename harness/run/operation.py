# SPDX-License-Identifier: MIT
"""The operations a plan is made of: one struct each, told apart by ``op``."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from harness.machine.memory_backend import BackendKind, MemoryBackend
from harness.size import Size

OperationSeconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Index = Annotated[int, msgspec.Meta(ge=0, le=4095)]
HostNode = Annotated[int, msgspec.Meta(ge=0, le=127)]
ExpectedCount = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
ExpectedOutcome = Literal["added", "vetoed", "refused", "ignored", "found"]
ExpectedUnplug = Literal["gone", "refused", "ignored", "kept"]
RefusalReason = Literal["unspecified", "not-supported", "in-use", "busy", "dependency"]
DriverName = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9]{0,31}$")]
RegistrationKind = Literal["sync", "sync2", "processors", "memory"]
Awaited = Literal["start", "complete", "failure", "cpu-arrival", "memory-arrival", "ost"]


class _Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """``timeout`` in seconds overrides the operation's own budget."""

    timeout: OperationSeconds | None = None


class AddCpu(_Operation, frozen=True, kw_only=True, tag="add-cpu"):
    """Hot-add one processor.

    ``slot`` counts QEMU's slots in ascending order of socket, die, core and thread; the first empty one if absent.
    ``id`` is QEMU's device id. ``expect``: ``added``; ``vetoed`` by the driver; ``refused`` by QEMU, with words that
    contain ``saying``; ``ignored`` by the guest; ``found`` by a guest that has not booted yet (see ``boot``).
    ``settle = false`` continues without waiting (see ``settle``). With ``rival = true`` a second client
    requests the same slot at the same time: one of the two must be refused.
    """

    slot: Index | None = None
    id: str | None = None
    expect: ExpectedOutcome = "added"
    saying: str = ""
    settle: bool = True
    rival: bool = False


class _OfMemory(_Operation, frozen=True, kw_only=True):
    """``size`` is that of the memory. Sizes may be given as text, as a test in Python does."""

    size: Size

    def __post_init__(self) -> None:
        for name in ("size", "hugepages", "file_size"):
            value = getattr(self, name, None)
            if value is not None and not isinstance(value, Size):
                msgspec.structs.force_setattr(self, name, Size(value))


class AddDimm(_OfMemory, frozen=True, kw_only=True, tag="add-dimm"):
    """Hot-add one DIMM of ``size`` ("256 MiB"), on ``node`` if given.

    ``id``, ``expect``, ``saying`` and ``settle`` are those of ``add-cpu``.
    A size that is not a multiple of 128 MiB is refused before QEMU sees it, because it misaligns every later
    DIMM and guests reject those although QEMU accepts them; ``unaligned = true`` selects this negative case.

    ``backend`` is its memory on the host: ``ram``; ``file``, which the harness creates in the run directory
    and which is sparse without ``prealloc``; ``memfd``, the only one with ``hugepages`` (a page size).
    ``share`` and ``prealloc`` are QEMU's; ``host_nodes`` binds it to nodes of the host. ``file_size`` gives
    the file a different size.
    """

    node: Index | None = None
    id: str | None = None
    expect: ExpectedOutcome = "added"
    saying: str = ""
    settle: bool = True
    unaligned: bool = False
    backend: BackendKind = "ram"
    share: bool | None = None
    prealloc: bool = False
    hugepages: Size | None = None
    host_nodes: Annotated[list[HostNode], msgspec.Meta(min_length=1, max_length=128)] | None = None
    file_size: Size | None = None

    @property
    def made_of(self) -> MemoryBackend:
        """Its memory backend on the host."""
        return MemoryBackend(
            kind=self.backend,
            share=self.share,
            prealloc=self.prealloc,
            hugepages=int(self.hugepages or 0),
            host_nodes=tuple(sorted(set(self.host_nodes or ()))),
            file_size=None if self.file_size is None else int(self.file_size),
        )


class AddNvdimm(_OfMemory, frozen=True, kw_only=True, tag="add-nvdimm"):
    """Hot-add an NVDIMM of ``size``, backed by a sparse file; for contrast: it is not an ACPI memory device."""

    node: Index = 0
    id: str | None = None


class ResizeVirtioMem(_OfMemory, frozen=True, kw_only=True, tag="resize-virtio-mem"):
    """Request ``size`` of the guest's virtio-mem device, and wait until the guest has it; for contrast, like ``add-nvdimm``."""


class SetBalloon(_OfMemory, frozen=True, kw_only=True, tag="set-balloon"):
    """Request that the balloon leave the guest ``size`` of memory; for contrast, like ``add-nvdimm``."""


class Settle(_Operation, frozen=True, kw_only=True, tag="settle"):
    """Wait for the end of a migration, and for the consequences of every add that was started with ``settle = false``."""


class WaitFor(_Operation, frozen=True, kw_only=True, tag="wait-for"):
    """Wait until ``count`` records of a kind have arrived since the driver was last loaded."""

    what: Awaited
    count: ExpectedCount = 1


class _OfDriver(_Operation, frozen=True, kw_only=True):
    """``driver`` is the service's name: the driver can be loaded under several."""

    driver: DriverName = "hpnotify"


class VetoNext(_OfDriver, frozen=True, kw_only=True, tag="veto-next"):
    """Make the driver veto the ``nth`` processor from now on in Start, counted from 1, with ``status``."""

    status: Annotated[int, msgspec.Meta(ge=0x80000000, le=0xFFFFFFFF)] = 0xC000009A
    nth: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 1


class DelayStart(_OfDriver, frozen=True, kw_only=True, tag="delay-start"):
    """Make each Start take this many ``milliseconds`` in the driver from now on."""

    milliseconds: Annotated[int, msgspec.Meta(ge=0, le=60_000)]


class Register(_OfDriver, frozen=True, kw_only=True, tag="register"):
    """Make a registration while the driver runs; ``existing`` requests notification of existing devices.

    ``which``: ``sync`` and ``sync2`` are processor change callbacks, ``processors`` and ``memory`` device interfaces.
    ``expect``: ``made``, or ``refused``, like a registration whose Start of an existing processor was vetoed.
    """

    which: RegistrationKind
    existing: bool = False
    expect: Literal["made", "refused"] = "made"


class Deregister(_OfDriver, frozen=True, kw_only=True, tag="deregister"):
    """End a registration while the driver runs; none of its callbacks may come after this has returned."""

    which: RegistrationKind


class Strain(_Operation, frozen=True, kw_only=True, tag="strain"):
    """Keep the guest's processors and memory busy for this many ``seconds``; the plan continues at once."""

    seconds: Annotated[int, msgspec.Meta(ge=1, le=600)]


class WatchArrivals(_Operation, frozen=True, kw_only=True, tag="watch-arrivals"):
    """Let a user-mode program listen for the same arrivals for this many ``seconds``; the plan continues at
    once (Windows only).

    What it received is collected as ``user-mode.jsonl``.
    """

    seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 300


class Unplug(_Operation, frozen=True, kw_only=True, tag="unplug"):
    """Request the unplug of ``device``, which an earlier operation added, and wait for the guest's reaction.

    ``expect``: ``gone``; ``refused`` by the guest through ``_OST`` (ACPI 6.5, 6.3.5), with ``reason``, any if
    that is absent; ``ignored``, no answer within ``timeout``; ``kept``, refused or ignored: Windows removes
    neither processors nor memory, and no page says how it answers (WD:
    kernel/introduction-to-dynamic-hardware-partitioning.md).
    """

    device: str
    expect: ExpectedUnplug = "gone"
    reason: RefusalReason | None = None


class AnswerUnplugs(_Operation, frozen=True, kw_only=True, tag="answer-unplugs"):
    """Set how the guest answers unplug requests from now on (twin only).

    ``by``: ``give`` it back, ``refuse``, or ``ignore``. With ``late``, the guest receives no request for this
    many seconds, and then answers those that arrived meanwhile. While it receives no requests, it receives no
    adds either.
    """

    by: Literal["give", "refuse", "ignore"]
    late: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0


class Verifier(_Operation, frozen=True, kw_only=True, tag="verifier"):
    """Turn on Driver Verifier for the driver from the next boot on (``on = false`` turns it off), and restart the guest.

    The driver must be loaded again. Windows only (WD: devtest/driver-verifier.md).
    """

    on: bool = True


class Crash(_Operation, frozen=True, kw_only=True, tag="crash"):
    """Crash the guest: by an NMI on Windows, a bug check 0x80; the run is unknown from there."""


class LoadDriver(_OfDriver, frozen=True, kw_only=True, tag="load-driver"):
    """Load the driver, registering with or without KE_PROCESSOR_CHANGE_ADD_EXISTING.

    ``pnp = true`` installs it as a Plug and Play driver, which has devices and receives rebalances; with
    ``opt_out = true`` the devices take no part in them. ``veto`` counts from 1: the driver vetoes that
    processor in Start, counted from its first registration; 0 for none. ``expect``: ``loaded``, or
    ``refused``, like a driver whose DriverEntry fails.
    """

    add_existing: bool = True
    pnp: bool = False
    opt_out: bool = False
    veto: Annotated[int, msgspec.Meta(ge=0, le=65536)] = 0
    expect: Literal["loaded", "refused"] = "loaded"


class UnloadDriver(_OfDriver, frozen=True, kw_only=True, tag="unload-driver"):
    """Unload the driver."""


class Pause(_Operation, frozen=True, kw_only=True, tag="pause"):
    """Stop the guest's processors; adds sent now are delivered together after ``resume``."""


class BootGuest(_Operation, frozen=True, kw_only=True, tag="boot"):
    """Boot a guest that ``machine.started`` has stopped before its boot, wait until it is ready, and load the driver.

    Devices that were added before are found at boot: there is no ``_OST`` for them and no driver is notified
    of a hot-add.
    """


class Resume(_Operation, frozen=True, kw_only=True, tag="resume"):
    """Let the guest run again."""


class Reset(_Operation, frozen=True, kw_only=True, tag="reset"):
    """Reset the machine and wait until the guest is ready again; the driver must be loaded again.

    ``add_cpus`` processors are plugged in before the reset machine runs its first instruction: the firmware and the
    guest find them as if they had always been there.
    """

    add_cpus: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 0


class Migrate(_Operation, frozen=True, kw_only=True, tag="migrate"):
    """Migrate the guest to another QEMU on this host: of the program ``qemu``, or of the same one.

    With ``settle = false`` the plan continues while the state is sent, until ``settle``; meanwhile QEMU
    accepts no devices. ``fail`` makes it fail, so that the guest must continue where it is: ``target-killed``
    and ``cancelled`` in the middle, ``other-machine`` with another version of the machine type, whose QEMU
    refuses the state.
    """

    qemu: Annotated[str, msgspec.Meta(pattern="^.{1,4096}$")] | None = None
    settle: bool = True
    fail: Literal["target-killed", "cancelled", "other-machine"] | None = None


class Quiesce(_Operation, frozen=True, kw_only=True, tag="quiesce"):
    """Wait until there was no driver record for ``quiet`` seconds, then check that the guest is alive."""

    quiet: Annotated[float, msgspec.Meta(gt=0, le=600)] = 0.3


class DropMonitor(_Operation, frozen=True, kw_only=True, tag="drop-monitor"):
    """Close the QMP connection, as a crashing proxy would; the harness must reconnect without a second add.

    ``when``: ``now``; ``before-command``, in place of sending the next add's command; ``before-reply``, when
    the reply to it arrives, so that QEMU has executed the command but its reply is lost.
    """

    when: Literal["now", "before-command", "before-reply"] = "now"


class Expect(_Operation, frozen=True, kw_only=True, tag="expect"):
    """Require a state; if it is not met, the run is violated (exit code 1).

    ``processors`` and ``dimms``: what the guest counts and what QEMU lists. The others count the driver's
    hot-add records since it was last loaded.
    """

    processors: ExpectedCount | None = None
    dimms: ExpectedCount | None = None
    starts: ExpectedCount | None = None
    completes: ExpectedCount | None = None
    failures: ExpectedCount | None = None
    cpu_arrivals: ExpectedCount | None = None
    memory_arrivals: ExpectedCount | None = None


GuestCommand = VetoNext | DelayStart | Register | Deregister | Strain | Crash | WatchArrivals | AnswerUnplugs
"""Operations that are commands to the guest and only wait for its answer."""

Contrast = AddNvdimm | ResizeVirtioMem | SetBalloon
"""Operations that add or remove memory of a guest without an ACPI memory device."""

Operation = (
    GuestCommand | Contrast | AddCpu | AddDimm | Settle | WaitFor | LoadDriver | UnloadDriver | Pause | Resume | Reset
    | Quiesce | DropMonitor | Expect | Unplug | Verifier | BootGuest | Migrate
)  # fmt: skip
