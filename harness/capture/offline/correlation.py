# SPDX-License-Identifier: MIT
"""The relation between the host's clock and a guest's counter.

The harness notes its clock, requests that the driver echo a nonce, and notes its clock again when the echo is there. The
driver read its counter in between: only that is certain, and it is recorded as an ``Offset``. From several
of them :class:`ClockMap` computes the interval of the host's clock for any counter value. It assumes that the
counter's rate is as stated, within :data:`MOST_DRIFT`. Two brackets contradict that when the guest was stopped in
between: there it uses only that both clocks run forward.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence

import msgspec

from harness.history.driver import Hello, Mark
from harness.history.record import Migration, Offset, Record

SECOND = 1_000_000_000
BILLION = 1_000_000_000

MOST_DRIFT = 1_000_000
"""Greatest deviation of a guest's counter from its stated rate, in parts per billion: 0.1 %. Windows takes the rate from
the hypervisor, or measures it once at boot."""

FOREVER = 1 << 63

MOST_PENDING = 1024
"""Nonces awaited at once. If a guest echoes none, the oldest is forgotten."""

MOST_BOOTS = 10_000


class Correlator:
    """Brackets the guest's counter with nonces. Sans I/O: the caller reports what was sent and what came."""

    def __init__(self) -> None:
        self._sent: dict[str, int] = {}
        self._hz: dict[str, int] = {}
        self._samples: dict[str, tuple[Offset, ClockDrift]] = {}

    def sent(self, nonce: str, host_ns: int) -> None:
        """Note that ``nonce`` is about to be sent. Call before anything leaves, with the time before."""
        while len(self._sent) >= MOST_PENDING:
            del self._sent[next(iter(self._sent))]
        self._sent[nonce] = host_ns

    def observe(self, record: Record, host_ns: int) -> Offset | None:
        """Take in a record that was there at ``host_ns``; return an Offset if it echoes a nonce for the first time.

        The first channel to bring the echo gives the narrowest bracket. Later copies add nothing. A boot without a known
        ``hello`` has no rate, and its echo is not used. After a migration the drift is measured anew: the counter may have
        stood still while the guest was paused.
        """
        if isinstance(record, Migration):
            self._samples.clear()
        if isinstance(record, Hello) and 0 < record.hz <= SECOND * 100 and len(self._hz) < MOST_BOOTS:
            self._hz[record.boot] = record.hz
        if not isinstance(record, Mark) or record.boot not in self._hz:
            return None
        before = self._sent.get(record.nonce)
        if before is None or host_ns < before:
            return None
        del self._sent[record.nonce]
        offset = Offset(
            domain=f"qpc/{record.boot}",
            hz=self._hz[record.boot],
            qpc=record.qpc,
            low_ns=before,
            high_ns=host_ns,
            nonce=record.nonce,
            channel=record.channel,
        )
        drift = self._samples[record.boot][1] if record.boot in self._samples else ClockDrift()
        drift.add(offset)
        self._samples[record.boot] = (offset, drift)
        return msgspec.structs.replace(offset, drift_low_ppb=drift.low, drift_high_ppb=drift.high)


class ClockDrift:
    """The interval, in parts per billion, by which the host's clock is ahead of the counter's stated rate.

    ``low`` and ``high`` are None until two samples lie apart. They are a mean over the whole time sampled, and hold
    without any assumption. Only the first and the last samples are kept.
    """

    def __init__(self) -> None:
        self.low: int | None = None
        self.high: int | None = None
        self._first: Offset | None = None

    def add(self, offset: Offset) -> None:
        """Take in one more sample. It must be later than those before; an earlier one is ignored."""
        if self._first is None:
            self._first = offset
            return
        ticks = offset.qpc - self._first.qpc
        if ticks <= 1:
            return
        # A reading q stands for any moment of its tick: the time between two is one tick uncertain either way.
        shortest, longest = offset.low_ns - self._first.high_ns, offset.high_ns - self._first.low_ns
        self.low = shortest * offset.hz // (ticks + 1 if shortest > 0 else ticks - 1) - BILLION
        self.high = -(-longest * offset.hz // (ticks - 1)) - BILLION


class _Sample(msgspec.Struct):
    qpc: int
    low: int
    high: int
    joined: bool = False
    """Whether the stretch since the sample before is free of contradiction."""


class ClockMap:
    """Maps counter values of one boot to intervals of the host's clock, from that boot's Offset records.

    ``most_drift`` is the assumption on the rate, in parts per billion. ``contradictions`` counts the neighbouring
    samples that it does not fit: there the guest was stopped, and only the order of time is used. The same applies across
    each of the ``gaps``, intervals of the host's clock in which the guest migrated. Beyond the samples nothing is known
    across a gap.
    """

    def __init__(
        self,
        offsets: Iterable[Offset],
        *,
        most_drift: int = MOST_DRIFT,
        gaps: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.contradictions = 0
        self._gaps = gaps
        self._slow, self._fast = BILLION + most_drift, BILLION - most_drift
        samples = sorted(offsets, key=lambda offset: (offset.qpc, offset.low_ns))
        self._hz = max(1, samples[0].hz) if samples else 1
        self._samples = [_Sample(offset.qpc, offset.low_ns, offset.high_ns) for offset in samples]
        for before, after in itertools.pairwise(self._samples):
            low, high = self._after(before, after.qpc)
            fits = low <= after.high and after.low <= high
            after.joined = fits and not self._gap(before.low, after.high)
            if after.joined:
                after.low, after.high = max(after.low, low), min(after.high, high)
            elif not fits:
                self.contradictions += 1
        for before, after in reversed(list(itertools.pairwise(self._samples))):
            if after.joined:
                low, high = self._before(after, before.qpc)
                before.low, before.high = max(before.low, low), min(before.high, high)
        self._keys = [sample.qpc for sample in self._samples]

    def host_ns(self, qpc: int) -> tuple[int, int] | None:
        """Return the earliest and latest ``host_ns`` at which the guest's counter can have read ``qpc``.

        None if there is no sample, or a migration between it and the reading, or if the samples around it contradict each
        other in order: the one with the lower counter was later. Outside all samples the interval widens by the assumed drift.
        """
        place = bisect.bisect_right(self._keys, qpc)
        before = self._samples[place - 1] if place else None
        after = self._samples[place] if place < len(self._samples) else None
        if before is not None and before.qpc == qpc:
            # The same tick: neither reading is known to be the earlier one.
            return before.low - self._ticks(1, self._slow), before.high + self._ticks(1, self._slow)
        if before is not None and after is not None:
            if not after.joined:
                return (before.low, after.high) if before.low <= after.high else None
            low, high = self._after(before, qpc)
            other_low, other_high = self._before(after, qpc)
            return max(low, other_low), min(high, other_high)
        if before is not None:
            return None if self._gap(before.low, FOREVER) else self._after(before, qpc)
        return None if after is None or self._gap(-FOREVER, after.high) else self._before(after, qpc)

    def _gap(self, low: int, high: int) -> bool:
        """Return whether the guest migrated between two times."""
        return any(begin <= high and end >= low for begin, end in self._gaps)

    def _after(self, sample: _Sample, qpc: int) -> tuple[int, int]:
        """Return the interval of a reading that is not earlier than ``sample``, from it alone."""
        ticks = qpc - sample.qpc
        low = (
            sample.low + self._whole(ticks - 1, self._fast)
            if ticks
            else sample.low - self._ticks(1, self._slow)
        )
        return low, sample.high + self._ticks(ticks + 1, self._slow)

    def _before(self, sample: _Sample, qpc: int) -> tuple[int, int]:
        """Return the interval of a reading that is not later than ``sample``, from it alone."""
        ticks = sample.qpc - qpc
        high = (
            sample.high - self._whole(ticks - 1, self._fast)
            if ticks
            else sample.high + self._ticks(1, self._slow)
        )
        return sample.low - self._ticks(ticks + 1, self._slow), high

    def _whole(self, ticks: int, rate: int) -> int:
        """Return the least nanoseconds that so many ticks last."""
        return ticks * SECOND * rate // (self._hz * BILLION)

    def _ticks(self, ticks: int, rate: int) -> int:
        """Return the most nanoseconds that so many ticks last."""
        return -(-ticks * SECOND * rate // (self._hz * BILLION))
