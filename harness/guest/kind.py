# SPDX-License-Identifier: MIT
"""Kinds of guests: what a run needs to know to boot one, and the table of those there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from harness.deadline import Deadline
from harness.guest.guest import Guest
from harness.guest.twin import Twin, kernel_arguments, machine_arguments
from harness.guest.twin_image import build
from harness.history.tape import Tape
from harness.machine.machine import Machine


class BootWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a run wants of a guest's boot.

    ``max_processors`` the machine's slots; ``group_size`` processors in a group, 0 for the guest's own (on Windows the
    boot option ``groupsize``, which makes groups visible on small systems).
    """

    max_processors: int
    group_size: int = 0


class Bootable(msgspec.Struct, frozen=True, kw_only=True):
    """A guest's image, ready to boot: ``description`` is for people, ``digest`` identifies all it was made from.

    ``extra`` are QEMU arguments without which this guest does not work.
    """

    kernel: Path
    initrd: Path | None
    append: str
    digest: str
    description: str
    extra: list[str] = []


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What the run knows of a guest from outside: the console's last crash line, or "", and how much it printed."""

    crash: Callable[[], str] = lambda: ""
    console_bytes: Callable[[], int] = lambda: 0


class GuestKind(Protocol):
    """A kind of guest. Its name labels every verdict."""

    def prepare(
        self, cache: Path, wishes: BootWishes, deadline: Deadline, progress: Callable[[str], None]
    ) -> Bootable:
        """Build or find the image. Raises MissingPart or InfrastructureError with what is missing.

        A kind that cannot grant a wish raises UsageError.
        """

    def attach(self, machine: Machine, tape: Tape, signs: Signs, *, plant: str) -> Guest:
        """Connect to the guest of a started, paused machine, before its first instruction."""


class TwinKind:
    """The twin."""

    def prepare(
        self, cache: Path, wishes: BootWishes, deadline: Deadline, progress: Callable[[str], None]
    ) -> Bootable:
        """Build the twin's image, or take it from the cache."""
        image = build(cache, deadline, progress=progress)
        return Bootable(
            kernel=image.kernel,
            initrd=image.initrd,
            append=f"{image.append} {kernel_arguments(wishes.max_processors, wishes.group_size)}",
            digest=image.digest,
            description=f"Linux {image.kernel_release}",
            extra=machine_arguments(image.kernel_release),
        )

    def attach(self, machine: Machine, tape: Tape, signs: Signs, *, plant: str) -> Twin:
        """Connect to the agent's control port."""
        return Twin(machine, tape, plant=plant, crash=signs.crash, console_bytes=signs.console_bytes)


KINDS: dict[str, GuestKind] = {"twin": TwinKind()}
"""The kinds of guests by name."""
