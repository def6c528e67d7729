# SPDX-License-Identifier: MIT
"""The budget: how many bytes and records a guest may write on each channel, and in a run altogether.

A guest writes as fast as it likes, and its disk space is the host's. QEMU and process guests append to files
(``O_APPEND``), so a file that is cut back to its limit stays that long, however much more is written. What a channel brought
before it was cut is kept. Later data is counted, and conclusions that rest on it are unknown.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from harness.capture.live.channel_limits import ChannelLimits
from harness.history.record import Channel


class ChannelBudget:
    """What one channel may write. One thread at a time uses it; ``cut`` says why the channel was cut, "" if it was not.

    ``bytes`` is what its file keeps, ``dropped`` the bytes seen beyond that (bytes that come while the file is cut back are
    not seen). ``records`` counts those in the history and ``left_out`` the others.
    """

    def __init__(self, name: str, run: RunBudget, path: Path | None = None) -> None:
        self.name = name
        self.path = path
        self.cut = ""
        self.bytes = self.dropped = self.records = self.left_out = 0
        self._run = run
        self._keep = -1

    def fit(self, descriptor: int) -> int:
        """Cut the file back if it is too long, and return its length. The descriptor must be writable."""
        size = os.fstat(descriptor).st_size
        if self._keep < 0:
            most, option = self._run.room(self)
            if size <= most:
                self.bytes = size
                return size
            self._keep = self.bytes = most
            self.cut = self.cut or f"the guest wrote more than {_words(most)} (--{option})"
        if size > self._keep:
            self.dropped += size - self._keep
            os.ftruncate(descriptor, self._keep)
        return self._keep

    @property
    def full(self) -> bool:
        """Whether the file was cut back."""
        return self._keep >= 0

    def admit(self) -> bool:
        """Count one more record, and return whether it may be written to the history."""
        if not self.left_out:
            option = self._run.spent(self)
            if not option:
                self.records += 1
                return True
            self.cut = self.cut or f"the guest caused more than {self.records} records (--{option})"
        self.left_out += 1
        return False

    def account(self, account: Channel, *, driver_records: int) -> Channel:
        """Return the channel's account with what was cut. A cut channel is never closed.

        ``driver_records`` is the number in the history, for a channel that left records out.
        """
        if not self.cut:
            return account
        if self.left_out:
            account = msgspec.structs.replace(account, records=driver_records)
        return msgspec.structs.replace(
            account, closed=False, cut=self.cut, dropped=self.dropped, left_out=self.left_out
        )


def _words(size: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


class RunBudget:
    """What all channels of a run may write together."""

    def __init__(self, limits: ChannelLimits) -> None:
        self.limits = limits
        self.channels: list[ChannelBudget] = []

    def channel(self, name: str, path: Path | None = None) -> ChannelBudget:
        """Return the budget of one more channel; ``path`` is the file that the guest, or QEMU for it, appends to."""
        found = ChannelBudget(name, self, path)
        self.channels.append(found)
        return found

    def room(self, asking: ChannelBudget) -> tuple[int, str]:
        """Return the bytes that a channel may have, and the option that sets this limit."""
        others = sum(one.bytes for one in self.channels if one is not asking)
        left = max(0, self.limits.run_limit - others)
        if left < self.limits.channel_limit:
            return left, "run-limit"
        return self.limits.channel_limit, "channel-limit"

    def spent(self, asking: ChannelBudget) -> str:
        """Return the option that forbids a channel more records, "" if it may bring more."""
        if asking.records >= self.limits.channel_records:
            return "channel-records"
        if sum(one.records for one in self.channels) >= self.limits.run_records:
            return "run-records"
        return ""

    def trim(self) -> None:
        """Cut every file back once more. Its writer has ended, and may have written until then."""
        for one in self.channels:
            if one.path is None:
                continue
            with contextlib.suppress(OSError):
                descriptor = os.open(one.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    one.fit(descriptor)
                finally:
                    os.close(descriptor)
