# SPDX-License-Identifier: MIT
"""The state that a machine needs to continue another one: its migration state, and what had been hot-added.

A restored machine must have every device that the saved one had, with the same names and places, from its start
(QEMU: docs/devel/migration, "the destination must be started with the same devices").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.machine.attachments import option_value


class AddedCpu(msgspec.Struct, frozen=True, kw_only=True, tag="cpu"):
    """A processor of type ``driver`` in the slot with QEMU's ``props``."""

    id: str
    driver: str
    props: dict[str, Any]

    def arguments(self) -> list[str]:
        """Return ``-device``."""
        place = "".join(f",{key}={option_value(word)}" for key, word in self.props.items())
        return ["-device", f"{self.driver},id={option_value(self.id)}{place}"]


class AddedDimm(msgspec.Struct, frozen=True, kw_only=True, tag="dimm"):
    """A DIMM of ``size`` bytes at ``address``, where the first machine had it."""

    id: str
    size: int
    node: int
    slot: int
    address: int

    def arguments(self) -> list[str]:
        """Return its memory and its device."""
        memory = f"{self.id}-memory"
        return [
            "-object", f"memory-backend-ram,id={option_value(memory)},size={self.size}",
            "-device",
            f"pc-dimm,id={option_value(self.id)},memdev={option_value(memory)},node={self.node},slot={self.slot},addr={self.address:#x}",
        ]  # fmt: skip


Added = AddedCpu | AddedDimm


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """The migration state ``file``, which replaces a start of the firmware.

    ``mapped`` is its form. In a mapped file every page has a fixed place (mapped-ram, QEMU 9.0 and later), and QEMU reads
    it itself. Otherwise it is a stream on QEMU's standard input (QEMU: docs/devel/migration/mapped-ram.rst).
    """

    file: Path
    mapped: bool = False

    def arguments(self) -> list[str]:
        """Return ``-incoming``. A mapped state comes later: its capability has to be set before the state is read."""
        return ["-incoming", "defer" if self.mapped else "fd:0"]


class AwaitedState(msgspec.Struct, frozen=True, kw_only=True):
    """The migration state of another QEMU that still runs. Its source is set later."""

    def arguments(self) -> list[str]:
        """Return the option with which QEMU waits for ``migrate-incoming`` (QEMU: qapi/migration.json)."""
        return ["-incoming", "defer"]
