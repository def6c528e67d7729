# SPDX-License-Identifier: MIT
"""The records of a made history: their numbers, the host's clock and the guest's counter."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec

from harness.history.driver import DriverRecord
from harness.history.record import FORMAT, Boot, Channel, End, Header, Quiesced, Record

HZ = 10_000_000


class HistoryTape:
    """Takes records in the order in which the host learns of them."""

    def __init__(self, chance: random.Random, run: str) -> None:
        self.chance = chance
        self.records: list[Record] = []
        self.now = 5_000_000_000
        self.booted = self.now
        self.counter = 0
        self.epoch = 0
        self.nonce = ""
        self.quiets = 0
        self.put(Header(format=FORMAT, harness="0.1.0", run=run, guest="twin", wall="2026-01-01T00:00:00Z"))

    def wait(self, low_ns: int, high_ns: int) -> None:
        """Let time pass."""
        self.now += self.chance.randint(low_ns, high_ns)

    def put(self, record: Record) -> None:
        """Write a record of the host's."""
        self.wait(100_000, 900_000)
        self._write(record)

    def _write(self, record: Record) -> None:
        self.records.append(msgspec.structs.replace(record, n=len(self.records) + 1, host_ns=self.now))

    def boot(self, cause: str) -> None:
        """Begin a boot: a record, a new nonce, a counter that starts anew."""
        self.epoch += 1
        self.wait(1_000_000_000, 2_000_000_000)
        self.put(Boot(epoch=self.epoch, cause=cause))  # type: ignore[arg-type]
        self.booted = self.now
        self.counter = self.chance.randint(10**8, 5 * 10**10)
        # Two actions may draw the same numbers, and no two boots have one nonce.
        self.nonce = f"{self.chance.getrandbits(48):012x}{self.epoch:04x}"

    def say(self, kind: type[DriverRecord], **fields: Any) -> None:
        """Write a record of a driver's, which reads the counter now."""
        self.wait(5_000, 60_000)
        qpc = self.counter + (self.now - self.booted) * HZ // 1_000_000_000
        self._write(kind(qpc=qpc, boot=self.nonce, **fields))

    def quiet(self) -> None:
        """Let the guest be silent, and then prove itself alive."""
        quiet_ns = self.chance.randint(100_000_000, 150_000_000)
        self.wait(quiet_ns + 50_000_000, quiet_ns + 100_000_000)
        self.quiets += 1
        self.put(Quiesced(nonce=f"{self.chance.getrandbits(64):016x}", quiet_ns=quiet_ns))

    def close(self) -> None:
        """Write the account of each channel, and the end."""
        for account in accounts(self.records):
            self.put(account)
        self.put(End(outcome="completed"))


def accounts(records: list[Record]) -> Iterator[Channel]:
    """The accounts that agree with what is present: one for each channel that brought a record."""
    present: dict[str, int] = {}
    for record in records:
        if isinstance(record, DriverRecord):
            present[record.channel] = present.get(record.channel, 0) + 1
    for name, count in present.items():
        yield Channel(name=name, records=count, closed=True)
