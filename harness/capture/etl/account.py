# SPDX-License-Identifier: MIT
"""What is missing from a log, as far as it can be known: the reader's account of losses and damage."""

from __future__ import annotations

import msgspec

MOST_DAMAGES = 100
"""Damages that are kept with their text; further ones are only counted."""


class Damage(msgspec.Struct, frozen=True):
    """One damaged place in the file: its byte offset in the file, and the reason."""

    offset: int
    reason: str


class LogAccount(msgspec.Struct, kw_only=True):
    """Filled while a log is indexed and read. A verdict may rest only on one of which nothing is missing.

    ``buffers``         in the file, header buffer included; ``bytes`` of the file;
    ``damages``         the first hundred of ``damaged``; the records before each in its buffer were read;
    ``truncated``       the file ends within a buffer, whose complete records were read;
    ``unclosed``        the session never wrote its end time: it was still running, or the machine stopped;
    ``headless``        no record describes the session: clock and losses are unknown;
    ``events_lost``, ``buffers_lost``  as counted by the session;
    ``loss_flags``      buffers marked by the session as following a loss;
    ``absent``          buffer sequence numbers that are in no buffer of the file, between the first and the last; 0 when
                        the file holds as many buffers as the session reports as written;
    ``first_sequence``  of the data buffers; above 1 a circular or real-time log has overwritten its beginning. It is 1 for
                        a log that holds all buffers written, and for a sequential one whose numbers began at 2;
    ``opaque``          buffers of types that hold no records;
    ``disputed``        buffers whose SavedOffset and Offset name different ends; records were read up to the first;
    ``compressed``      buffers that were expanded;
    ``late``            records that were returned after a later one, because a buffer's records were not in order.
    """

    bytes: int = 0
    buffers: int = 0
    records: int = 0
    damaged: int = 0
    damages: list[Damage] = []
    truncated: bool = False
    unclosed: bool = False
    headless: bool = False
    events_lost: int = 0
    buffers_lost: int = 0
    loss_flags: int = 0
    absent: int = 0
    first_sequence: int = 1
    opaque: int = 0
    disputed: int = 0
    compressed: int = 0
    late: int = 0

    def damage(self, offset: int, reason: str) -> None:
        """Count one damage, and keep it if there are few."""
        self.damaged += 1
        if len(self.damages) < MOST_DAMAGES:
            self.damages.append(Damage(offset, reason))

    def reasons(self) -> list[str]:
        """Return why an absence in this log proves nothing; empty if nothing is known to be missing."""
        first = self.damages[0] if self.damages else Damage(0, "")
        known: tuple[tuple[int, str], ...] = (
            (self.headless, "the log does not describe its session: losses and clock are unknown"),
            (self.events_lost, f"the session lost {self.events_lost} events"),
            (self.buffers_lost, f"the session lost {self.buffers_lost} buffers"),
            (self.loss_flags, f"{self.loss_flags} buffers are marked as following a loss"),
            (self.absent, f"{self.absent} buffers are not in the file, by their sequence numbers"),
            (
                self.first_sequence > 1,
                f"the first buffer in the file is number {self.first_sequence}: older ones were overwritten",
            ),
            (
                self.damaged,
                f"{self.damaged} damaged places, the first at byte {first.offset}: {first.reason}",
            ),
            (self.truncated, "the file ends within a buffer"),
            (self.unclosed, "the session never closed the log"),
            (self.opaque, f"{self.opaque} buffers hold something other than records"),
            (
                self.disputed,
                f"in {self.disputed} buffers SavedOffset and Offset disagree on where the records end",
            ),
            (self.late, f"{self.late} records are out of time order"),
        )
        return [said for holds, said in known if holds]
