# SPDX-License-Identifier: MIT
"""Plug and Play requests that the devices of drivers get, and which of the devices opted out of rebalances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contract.state.evidence import MOST_LOSSES
from harness.history import driver as d

if TYPE_CHECKING:
    from harness.contract.state.model import Model

MOST_REQUESTS = 64
"""Plug and Play requests remembered per device."""


class DeviceRequests:
    """The latest requests of each device since the last boot.

    ``devices`` has them, with their places, by driver and device. ``query_stop_at`` is the place of the last QUERY_STOP,
    ``refused_stop_at`` of the last one to a device that had opted out. ``opted_out`` says how a device opted out, over the whole
    history; the name "" stands for all.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.opted_out: dict[str, str] = {}
        self.begin_boot()

    def begin_boot(self) -> None:
        """Record that the guest boots: its devices are started anew."""
        self.devices: dict[tuple[str, str], list[tuple[int, d.PnpEnter | d.PnpExit]]] = {}
        self.query_stop_at = self.refused_stop_at = 0

    def begin_load(self, driver: str) -> None:
        """Record that a driver was loaded again, for devices of its own."""
        for key in [key for key in self.devices if key[0] == driver]:
            del self.devices[key]

    def opt_out(self, detail: str) -> None:
        """Take "DEVICE: PROPERTY=1", what the guest says of the rebalance policy; without a device it applies to all."""
        if len(self.opted_out) < MOST_LOSSES:
            device, _, said = detail.rpartition(": ")
            self.opted_out[device] = said
            self._model.facts.add("device that opted out (a rebalance-opt-out event of the guest)")

    def enter(self, enter: d.PnpEnter) -> None:
        """Take the beginning of a request."""
        model, stream = self._model, self._model.stream
        model.opened(enter.seq, enter)
        if len(stream.devices) < MOST_LOSSES:
            stream.devices.add(enter.device)
        if len(stream.asking) < MOST_LOSSES:
            asking = stream.asking.setdefault(enter.thread, [])
            asking.append(enter.device)
            del asking[:-MOST_REQUESTS]
        model.facts.add("Plug and Play request record")
        if enter.minor == "QUERY_STOP":
            self.query_stop_at = model.at
            if self.opts_out(enter.device):
                self.refused_stop_at = model.at
        self._device(enter)

    def opts_out(self, device: str) -> str:
        """Return how a device opted out of rebalances, "" if it did not. Devices of one hardware id are told apart by ``#n``."""
        return (
            self.opted_out.get(device.rpartition("#")[0] or device)
            or self.opted_out.get(device)
            or self.opted_out.get("", "")
        )

    def exit(self, leave: d.PnpExit) -> None:
        """Take the end of a request."""
        model = self._model
        model.stream.opens.pop(leave.enter, None)
        asking = model.stream.asking.get(leave.thread)
        if asking:
            asking.pop()
            if not asking:
                del model.stream.asking[leave.thread]
        self._device(leave)

    def _device(self, record: d.PnpEnter | d.PnpExit) -> None:
        """Remember the latest requests of each device, enough for the longest rule on their order."""
        key = (record.driver, record.device)
        if key in self.devices or len(self.devices) < MOST_LOSSES:
            entries = self.devices.setdefault(key, [])
            entries.append((self._model.at, record))
            del entries[:-MOST_REQUESTS]
