# SPDX-License-Identifier: MIT
"""The reader's file: one JSON line for each event on the port, stamped when it came.

The stamps are the host's monotonic clock at the reader, so a harness that reads late loses no time. A guest chooses
the content, so it is read as carefully as any other data of the guest.
"""

from __future__ import annotations

import msgspec

from harness.capture.dbgprint.host import Counts, Event
from harness.capture.dbgprint.message import Message

LONGEST_ENTRY = 1 << 16
"""Bytes of the longest line: a packet holds 4000 bytes, and JSON writes some of them as six."""


class ReaderAccount(Message, frozen=True, kw_only=True, tag="account"):
    """The reader's own counts, in its last line. ``dropped`` events found no more room in the file."""

    counts: Counts
    dropped: int = 0
    why: str = ""


class PortEntry(msgspec.Struct, frozen=True):
    """One line: its time, in nanoseconds of CLOCK_MONOTONIC, and its event."""

    ns: int
    what: Event | ReaderAccount


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(PortEntry).decode
