# SPDX-License-Identifier: MIT
"""What a run asks of a guest type, and what the guest type returns to boot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from harness.capture.live.budget import ChannelBudget, RunBudget
from harness.capture.live.channel_limits import ChannelLimits
from harness.capture.mapping.driver_map import DriverMap
from harness.deadline import Deadline
from harness.guest.guest import Guest
from harness.history.writer import HistoryWriter
from harness.machine.accelerator import BootImage
from harness.machine.machine import Machine, MachineSpec


class GuestOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run wants of its guest.

    ``spec`` is the machine as request and plan describe it, its accelerator not chosen yet. ``cache`` is where built
    things lie, ``directory`` the run's own place, for what only this run writes (an overlay, its NVRAM). ``group_size``
    processors in a group, 0 for the guest's own (on Windows the boot option ``groupsize``, which makes groups visible
    on small systems). ``fault`` is the fault to inject into the project's own NT layer. ``driver`` is the driver to install, a file or a
    folder; None for the guest's own choice. ``mapped`` says which of its own trace events, which the guest is to hand over,
    are which records; None for a driver that speaks the harness's own. ``here`` is false for a machine on another host.
    ``limits`` is how much the guest may say. ``prints``: the guest itself records what drivers print. ``savable``: the machine
    may be asked to save its state; ``moves``: another QEMU will take it over, so that it may have nothing whose state QEMU does
    not save. ``real_time`` asks for the host's time where a guest's clock begins at another.
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
"""Makes a machine, not yet started, from its spec, the run directory, the history and a name."""


class Bootable(msgspec.Struct, frozen=True, kw_only=True):
    """A guest, ready to boot on the machine ``spec``.

    ``description`` is for people, ``digest`` identifies all it was made from, ``content`` has the SHA-256 of the files that
    run, compared with what was built; ``driver`` says which driver it will run,
    "" if that is part of the image. ``probe`` is the image that shows whether KVM works, None for a guest that is not
    accelerated at all. ``make`` is set by a guest that brings a machine of its own instead of a backend's, and ``unshown``
    names what such a machine cannot show: ``qemu`` (its list of devices) and ``ost`` (the firmware's answers).

    ``symbols`` is how WinDbg is told of the driver's symbols and sources, "" without any.
    ``hands_over_events``: the events of a mapped driver are asked for (:meth:`harness.guest.guest.Guest.hand_on`), and do not
    come by the debug port.
    ``saved_with`` identifies what of the run is in the guest already when it is ready, and so in its ready snapshot.
    ``adapt`` changes the machine once its accelerator is chosen; ``release`` is called when the run is over. ``pace`` is how
    many times as long as the twin this guest may take, unless a run says itself how long.
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
    adapt: Callable[[MachineSpec], MachineSpec] | None = None
    release: Callable[[], None] | None = None
    pace: float = 1.0


class OutsideSigns(msgspec.Struct, frozen=True, kw_only=True):
    """What the run knows of a guest from outside: the console's last crash line, or "", and how much it printed.

    ``expect_reset`` is what a guest calls before it restarts, or may: until it is ready again no reset is a crash.
    ``silent`` keeps what QEMU tells of a guest that says nothing, before it is reset. ``crash``
    raises what made the capture fail, such as a full disk. ``admit`` says whether an event that the guest reports by itself
    may still become a record. ``budget`` returns the budget of one more channel, by its name.
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
        """Build or find what boots. Raises MissingPart or InfrastructureError with what is missing.

        A guest type that cannot grant a wish raises UsageError.
        """

    def attach(
        self, machine: Machine, writer: HistoryWriter, signs: OutsideSigns, options: GuestOptions
    ) -> Guest:
        """Connect to the guest of a started, paused machine, before its first instruction."""
