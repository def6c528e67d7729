# SPDX-License-Identifier: MIT
"""The guest protocol: what the executor may request from any guest, twin or Windows."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from harness.deadline import Deadline
from harness.history.record import GuestEvent

REGISTRATIONS = ("sync", "sync2", "processors", "memory")
"""The registrations that the driver can make while it runs, in the order of its numbers (guest_drivers/hpnotify/src/public.h)."""


OPTED_OUT = "DEVPKEY_Device_DHP_Rebalance_Policy=1"
"""The property of a device that takes no part in a rebalance (WD: install/devpkey-device-dhp-rebalance-policy.md)."""

EMULATED_DEVICES = ("ROOT\\HPNOTIFY", "PCI\\VEN_1234&DEV_11E8&SUBSYS_11001AF4&REV_10")
"""The hardware ids of a Plug and Play driver's devices on the NT layer (guest_drivers/hpnotify/nt/core/device.c)."""


def opted_out(hardware: str) -> GuestEvent:
    """Return the event which records that a device, given by its hardware id, takes no part in rebalances.

    The driver's records name the device by the same id, ``#`` and a number.
    """
    return GuestEvent(event="rebalance-opt-out", detail=f"{hardware[:300]}: {OPTED_OUT}")


class GuestCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The guest's own counts: active processors, usable memory in bytes."""

    processors: int
    memory: int


class CollectedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that a guest recorded: ``file`` is its path now, None if it could not be fetched, and ``refused`` says why.

    ``name`` is the harness's own name for it. ``channel`` names the driver's channel that the file holds, "" if it holds
    none. ``note`` is a remark for the reader.
    """

    name: str
    file: Path | None = None
    size: int = 0
    sha256: str = ""
    channel: str = ""
    note: str = ""
    refused: str = ""


class Guest(Protocol):
    """A booted guest. ``label`` goes onto every verdict; ``emulates_nt`` is true for anything that is not Windows."""

    label: str
    emulates_nt: bool
    ready_count: int

    def wait_ready(self, deadline: Deadline, *, boots: int = 1) -> None:
        """Wait until the guest has become ready for orders ``boots`` times (``ready_count``), since it may reset.

        Raises GuestHang, which names the last stage reached, and GuestCrash with the panic.
        """

    def revive(self, said: list[tuple[str, str]], nonce: str, deadline: Deadline) -> None:
        """Continue with a guest that was ready when its machine's state was saved, instead of waiting for its boot.

        ``said`` is what it had reported about itself until then, event and detail. It proves itself by echoing ``nonce``.
        Raises GuestHang if it does not, GuestRefused if it echoes another or cannot be restored.
        """

    def before_save(self, deadline: Deadline) -> None:
        """Write an event with what a restored guest needs to know about the moment of the save, which is now."""

    def follow(self, control: Path, deadline: Deadline) -> None:
        """Follow the guest to another QEMU, whose control socket is ``control``. The old QEMU still runs.

        Raises MachineFailed if it cannot be reached, GuestRefused if the guest cannot be followed.
        """

    def load_driver(
        self,
        deadline: Deadline,
        *,
        add_existing: bool = True,
        pnp: bool = False,
        opt_out: bool = False,
        veto: int = 0,
        driver: str = "hpnotify",
    ) -> None:
        """Load and start the driver, with ``pnp`` as a Plug and Play driver.

        With ``opt_out`` its devices take no part in rebalances, and the guest writes an event for each. With ``veto`` the
        driver refuses that processor, counted from 1, in Start. Raises GuestRefused with the guest's message if it does not load.
        """

    def unload_driver(self, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Stop and unload the driver."""

    def veto_next(
        self, deadline: Deadline, *, status: int = 0xC000009A, nth: int = 1, driver: str = "hpnotify"
    ) -> None:
        """Make the driver refuse the ``nth`` processor from now on, in its Start callback with ``status``."""

    def delay_start(self, milliseconds: int, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Make each of the driver's Start callbacks take ``milliseconds`` from now on."""

    def register(
        self, which: str, deadline: Deadline, *, existing: bool = False, driver: str = "hpnotify"
    ) -> None:
        """Make the driver make one of :data:`REGISTRATIONS` while it runs. Raises GuestRefused if it already exists."""

    def deregister(self, which: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Make the driver end one of :data:`REGISTRATIONS` while it runs."""

    def strain(self, seconds: int, deadline: Deadline) -> None:
        """Keep all processors and some memory busy for ``seconds`` from now on. Returns at once."""

    def watch_arrivals(self, seconds: int, deadline: Deadline) -> None:
        """Let ``hpnctl watch`` listen in user mode for ``seconds``. Returns at once. Raises GuestRefused where there is none."""

    def verifier(self, deadline: Deadline, *, drivers: tuple[str, ...]) -> None:
        """Make Driver Verifier watch these driver files, or none, and restart. Raises GuestRefused without Driver Verifier."""

    def unplug_ahead(self, deadline: Deadline) -> None:
        """Prepare for a request to give a device back, which is about to be made."""

    def answer_unplugs(self, answer: str, deadline: Deadline, *, late: float = 0.0) -> None:
        """Make the guest ``give`` devices back, ``refuse`` to or ``ignore`` the request, from ``late`` seconds on.

        Raises GuestRefused where the guest's answer cannot be chosen.
        """

    def mark(self, nonce: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Make the driver echo ``nonce`` (at most 32 letters and digits) on every channel."""

    def hand_on(self, deadline: Deadline) -> None:
        """Put into the history what the driver has reported so far and the guest hands over only on request.

        Raises GuestHang if the guest does not answer.
        """

    def counts(self, deadline: Deadline) -> GuestCounts:
        """Ask the guest for its current counts."""

    def provoke(self, verb: str, deadline: Deadline) -> None:
        """Make the guest misbehave (``panic``, ``hang``), for tests of the harness. Raises GuestRefused if it cannot."""

    def collect(self, into: Path, deadline: Deadline) -> list[CollectedFile]:
        """Copy what the guest itself recorded into the existing directory ``into``: traces, its own logs, dumps.

        Nothing more is asked of the guest afterwards. What cannot be fetched is in the list, with the reason; it raises no
        error.
        """

    def close(self) -> None:
        """Release the guest. The machine continues."""

    def prove_alive(self, nonce: str, deadline: Deadline) -> None:
        """Make the guest echo ``nonce`` on its control channel."""
