# SPDX-License-Identifier: MIT
"""What a run passes to a guest type, and what the guest type returns to boot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.capture.live.budget import ChannelBudget, RunBudget
from harness.capture.live.channel_limits import ChannelLimits
from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.guest.guest import Guest
from harness.history.writer import HistoryWriter
from harness.machine.accelerator import BootImage
from harness.machine.machine import Machine, MachineSpec

if TYPE_CHECKING:
    from harness.capture.mapping.driver_map import DriverMap


class GuestOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run asks of its guest.

    ``spec`` is the machine as the request and the plan describe it, before its accelerator is chosen. ``cache`` is where built
    things are kept. ``directory`` is the run's own place for what only this run writes (an overlay, its NVRAM). ``group_size`` is
    the number of processors in a group, 0 for the guest's own (on Windows the boot option ``groupsize``, which makes groups
    visible on small systems). ``fault`` is the fault to inject into the project's own NT layer. ``driver`` is the driver to
    install, a file or a folder; None for the guest's own choice. ``mapped`` maps the driver's own trace events, which the guest
    hands over, to records; None for a driver that writes the harness's own. ``here`` is false for a machine on another host.
    ``limits`` bounds how much the guest may write. ``prints``: the guest itself records what drivers print. ``savable``: the run
    may save the machine's state. ``moves``: another QEMU will take the machine over, so it may have no device whose state QEMU
    does not save. ``real_time`` asks for the host's time where a guest's clock begins at another time.
    """

    spec: MachineSpec
    cache: Path
    directory: Path
    group_size: int = 0
    fault: str = ""
    driver: Path | None = None
    here: bool = True
    mapped: DriverMap | None = None
    prints: bool = False
    savable: bool = False
    moves: bool = False
    limits: ChannelLimits = ChannelLimits()
    real_time: bool = False


MakeMachine = Callable[[MachineSpec, Path, HistoryWriter, str], Machine]
"""Makes a machine from its spec, the run directory, the history and a name, without starting it."""


class Bootable(msgspec.Struct, frozen=True, kw_only=True):
    """A guest, ready to boot on the machine ``spec``.

    ``description`` is for people. ``digest`` identifies everything it was made from. ``content`` has the SHA-256 of the files
    that run, compared with what was built. ``driver`` names the driver that it will run, "" if that is part of the image.
    ``probe`` is the image that shows whether KVM works, None for a guest that is not accelerated at all. ``make`` is set by a
    guest that brings its own machine instead of a backend's. ``unshown`` names what such a machine cannot show: ``qemu`` (its
    list of devices) and ``ost`` (the firmware's answers).

    ``symbols`` says how to give WinDbg the driver's symbols and sources, "" without any.
    ``hands_over_events``: the events of a mapped driver are requested (:meth:`harness.guest.guest.Guest.hand_on`), and do not
    come over the debug port.
    ``saved_with`` identifies the parts of the run that are in the guest when it is ready, and so in its ready snapshot.
    ``adapt`` changes the machine once its accelerator is chosen. It gets the vendor of the processor where the machine runs,
    None for this host. ``release`` is called when the run is over. ``pace`` is the factor by which this guest may be slower
    than the twin, unless a run sets its own time limits.
    """

    spec: MachineSpec
    digest: str
    description: str
    content: dict[str, str] = {}
    driver: str = ""
    symbols: str = ""
    probe: BootImage | None = None
    make: MakeMachine | None = None
    unshown: tuple[str, ...] = ()
    hands_over_events: bool = False
    saved_with: str = ""
    adapt: Callable[[MachineSpec, str | None], MachineSpec] | None = None
    release: Callable[[], None] | None = None
    pace: float = 1.0


def cannot_show(guest: str, what: str) -> GuestRefused:
    """Return the error for something that the machine of ``guest`` cannot show, because it is a process."""
    return GuestRefused(
        f"{guest} cannot show {what}, because its machine is a process",
        hint="Run this plan on a guest that boots: --guest twin.",
    )


class OutsideSigns(msgspec.Struct, frozen=True, kw_only=True):
    """What the run observes of a guest from outside: the console's last crash line, or "", and how much it printed.

    A guest calls ``expect_reset`` before it restarts, or may restart: until it is ready again a reset does not count as a crash.
    ``silent`` records what QEMU reports about a guest that writes nothing, before it is reset. ``crash`` raises the error that
    made the capture fail, such as a full disk. ``admit`` returns whether an event that the guest reports by itself may still
    become a record. ``budget`` returns the budget of one more channel, by its name.
    """

    crash: Callable[[], str] = lambda: ""
    console_bytes: Callable[[], int] = lambda: 0
    expect_reset: Callable[[], None] = lambda: None
    silent: Callable[[], None] = lambda: None
    admit: Callable[[], bool] = lambda: True
    budget: Callable[[str], ChannelBudget] = lambda name: RunBudget(ChannelLimits()).channel(name)


class GuestType(Protocol):
    """A guest type. Its name labels every verdict."""

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """Build or find what boots. Raises MissingPart or InfrastructureError, which names what is missing.

        Raises UsageError for an option that the guest type does not support.
        """

    def attach(
        self, machine: Machine, writer: HistoryWriter, signs: OutsideSigns, options: GuestOptions
    ) -> Guest:
        """Connect to the guest of a started, paused machine, before its first instruction."""
