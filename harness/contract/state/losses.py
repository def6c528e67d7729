# SPDX-License-Identifier: MIT
"""What may be missing from a history: gaps in a driver's numbers, channels that lost lines, an end that was cut off.

A loss is an interval of places in the stream. Only what overlaps it is touched by it. A gap lies between two known
numbers; damage that no gap explains is suspected to be the loss of a driver's last records, unless another channel was
undamaged or the driver had been unloaded.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.contract.state.entities import DriverLoad, Loss
from harness.contract.state.merge import Gap
from harness.history.record import Channel, Record

FOREVER = 1 << 62
"""A place after every record."""

MOST_LOSSES = 1024
"""Losses remembered one by one; beyond that they are widened into one."""


class Losses:
    """All losses of one history, over all its boots."""

    def __init__(self) -> None:
        self.known: list[Loss] = []
        self._missing = 0
        self._explained = 0
        self._suspect = 0
        self._channels: dict[str, Channel] = {}

    def add(self, driver: str, begin: int, end: int, why: str, shown: Record | None = None) -> None:
        """Something of ``driver`` ("" for any) may be missing between two places."""
        if len(self.known) >= MOST_LOSSES:
            last = self.known[-1]
            self.known[-1] = Loss("", min(last.begin, begin), max(last.end, end), last.why, last.shown)
        else:
            self.known.append(Loss(driver, begin, end, why, shown))

    def between(self, driver: str, begin: int, end: int) -> str:
        """Say why records of ``driver`` ("" for any) may be missing between two places; "" if none are."""
        for loss in self.known:
            overlaps = loss.begin < end and loss.end > begin
            if overlaps and (not driver or not loss.driver or loss.driver == driver):
                return loss.why
        return ""

    def gap(self, gap: Gap, begin: int, end: int) -> None:
        """The numbers of ``gap`` never arrived: their places lie between ``begin`` and ``end``."""
        count = gap.last - gap.first + 1
        self._missing += count
        numbers = f"record #{gap.first}" if count == 1 else f"records #{gap.first} to #{gap.last}"
        self.add(gap.driver, begin, end, f"{numbers} of driver {gap.driver} never arrived", gap)

    def account(self, channel: Channel, at: int) -> None:
        """Keep a channel's account. What it lost more than gaps explain may have been the last records."""
        before = self._channels.get(channel.name)
        worse = _damage(channel) - (_damage(before) if before else 0)
        if worse > self._missing - self._explained:
            self._suspect = at
        self._explained = self._missing
        if before is not None or len(self._channels) < MOST_LOSSES:
            self._channels[channel.name] = channel

    def boot(self) -> None:
        """The guest booted again: what was lost before is no longer a question of the last records."""
        self._suspect = 0

    def end(self, streams: Iterable[DriverLoad]) -> None:
        """Decide whether the last records of drivers may be missing. One undamaged channel is enough to say no."""
        alive = [stream for stream in streams if not stream.finished]
        closed = [channel for channel in self._channels.values() if channel.closed]
        if any(_damage(channel) == 0 for channel in closed) or (closed and not self._suspect):
            return
        for stream in alive:
            if closed and stream.last_at > self._suspect:
                continue
            channel = stream.last.channel if stream.last is not None else "unknown"
            how = (
                f"channel {closed[0].name} had damaged or lost lines"
                if closed
                else f"channel {channel} was never closed with an account"
            )
            why = f"the last records of driver {stream.driver} may be missing: {how}"
            self.add(stream.driver, stream.last_at, FOREVER, why)


def _damage(channel: Channel) -> int:
    return max(channel.lost, channel.torn + channel.corrupt + channel.oversized)
