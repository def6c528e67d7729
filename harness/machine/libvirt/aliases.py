# SPDX-License-Identifier: MIT
"""Aliases: libvirt's names of devices, and the harness's names that replace them everywhere else.

libvirt chooses the ids of processors (``vcpu3``). Names that users choose for DIMMs must begin with ``ua-``
(libvirt: formatdomain.html, ``alias``).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from harness.errors import CommandRefused
from harness.machine.machine import PERIPHERAL, CpuSlot, MemoryDevice


def refused(call: str, why: str) -> CommandRefused:
    """Return the error for a call that is not made because libvirt could not do what was meant."""
    return CommandRefused(
        f"{call} is not called: {why}", command=call, error_class="NotCalled", description=why
    )


def processor(number: int | str) -> str:
    """Return libvirt's name of a processor; for "", the prefix of all such names."""
    return f"vcpu{number}"


def dimm(device: str, call: str) -> str:
    """Return libvirt's name for a DIMM called ``device``. Raises CommandRefused for a name that libvirt silently drops."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", device) is None:
        raise refused(
            call, f"{device!r} cannot be a name: libvirt takes up to 64 letters, digits, '-' and '_'"
        )
    return f"ua-{device}"


class Aliases:
    """The names of one machine's devices."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}

    @contextlib.contextmanager
    def named(self, call: str, alias: str, device: str) -> Iterator[None]:
        """Map ``alias`` to ``device``, unless the call within is refused. Raises CommandRefused for a name in use."""
        if device in self._ours.values():
            raise refused(call, f"duplicate id: a device is called {device!r} already")
        fresh = alias not in self._ours
        self._ours.setdefault(alias, device)
        try:
            yield
        except CommandRefused:
            if fresh:
                del self._ours[alias]
            raise

    def of(self, device: str) -> str:
        """Return libvirt's name of ``device``, "" if no device has this name."""
        return next((alias for alias, ours in self._ours.items() if ours == device), "")

    def forget(self, device: str) -> None:
        """Free the name of a device that is gone."""
        self._ours.pop(self.of(device), None)

    def slot(self, row: CpuSlot) -> CpuSlot:
        """Return ``row`` with the harness's name of its processor."""
        alias = row.qom.removeprefix(PERIPHERAL)
        if alias == row.qom or alias not in self._ours:
            return row
        return msgspec.structs.replace(row, qom=PERIPHERAL + self._ours[alias])

    def memory_device(self, row: MemoryDevice) -> MemoryDevice:
        """Return ``row`` with the harness's name."""
        return msgspec.structs.replace(row, id=self._ours.get(row.id, row.id))

    def event(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return an event with the harness's name of its device, and libvirt's name beside it. Other devices keep theirs."""
        data = message.get("data", {})
        message, data = self._path(message, data)
        inner = data.get("info")
        place = inner if isinstance(inner, dict) else data
        alias = place.get("device")
        ours = self._ours.get(alias) if isinstance(alias, str) else None
        if ours is None:
            return message
        renamed = {**place, "device": ours}
        data = {**data, "info": renamed} if place is inner else renamed
        return {**message, "data": data, "libvirt": {"device": alias}}

    def _path(self, message: dict[str, Any], data: Any) -> tuple[dict[str, Any], Any]:
        """Return both with the harness's name in the path, which is the only name of a part of a device."""
        path = data.get("path") if isinstance(data, dict) else None
        if not isinstance(path, str) or not path.startswith(PERIPHERAL):
            return message, data
        alias, slash, rest = path.removeprefix(PERIPHERAL).partition("/")
        ours = self._ours.get(alias, alias)
        if ours == alias:
            return message, data
        data = {**data, "path": PERIPHERAL + ours + slash + rest}
        return {**message, "data": data, "libvirt": {"device": alias}}, data
