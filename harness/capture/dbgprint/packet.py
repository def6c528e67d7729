# SPDX-License-Identifier: MIT
"""KD packets on a serial line: writing them, and finding them in a stream that may have lost or gained bytes.

A packet is 16 bytes, little-endian: leader (four equal bytes), type, length, id, checksum (sum of the payload's
bytes). Data packets (leader ``0000``) go on with the payload and one byte 0xAA; control packets (``iiii``) end there.

Layout: ReactOS sdk/include/reactos/windbgkd.h. Everything here comes from a guest: lengths are bounded before they are
waited for, and after a packet that turns out wrong the search goes on right behind its leader, because the bytes of
the next packet may be among those that were taken for its payload.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

import msgspec

DATA, CONTROL = b"0000", b"iiii"
TRAILER = 0xAA
LONGEST = 4000
"""Bytes of the longest payload (PACKET_MAX_SIZE)."""

INITIAL_ID, SYNC = 0x80800000, 0x800

_HEADER = struct.Struct("<4sHHII")
_CONTROL_IDS: dict[int, tuple[int, ...]] = {4: (INITIAL_ID, INITIAL_ID ^ 1), 5: (0,), 6: (0,)}


class Type(IntEnum):
    """Packet types (PACKET_TYPE_KD_*)."""

    STATE_CHANGE32 = 1
    MANIPULATE = 2
    DEBUG_IO = 3
    ACKNOWLEDGE = 4
    RESEND = 5
    RESET = 6
    STATE_CHANGE64 = 7
    POLL_BREAKIN = 8
    TRACE_IO = 9
    CONTROL_REQUEST = 10
    FILE_IO = 11


class Packet(msgspec.Struct, frozen=True):
    """One whole packet; control packets have no payload."""

    type: int
    id: int
    payload: bytes = b""
    control: bool = False


class Broken(msgspec.Struct, frozen=True):
    """A data packet that arrived damaged: its sender must be asked to send it again."""

    reason: str


def checksum(payload: bytes) -> int:
    """Return the sum of the bytes, modulo 2**32."""
    return sum(payload) & 0xFFFFFFFF


def data_packet(kind: int, packet_id: int, payload: bytes) -> bytes:
    """Return a data packet as it goes over the line."""
    head = _HEADER.pack(DATA, kind, len(payload), packet_id, checksum(payload))
    return head + payload + bytes([TRAILER])


def control_packet(kind: int, packet_id: int = 0) -> bytes:
    """Return a control packet as it goes over the line."""
    return _HEADER.pack(CONTROL, kind, 0, packet_id, 0)


class Finder:
    """Bytes in, packets out. ``stray`` counts bytes that belonged to none; at most one packet's bytes are kept."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.stray = 0

    @property
    def waiting(self) -> bool:
        """True while the begin of a packet is there and its end is not."""
        return len(self._buffer) >= 4

    def feed(self, data: bytes) -> Iterator[Packet | Broken]:
        """Yield what ``data`` completes."""
        self._buffer += data
        while True:
            found = self._next()
            if found is None:
                return
            yield found

    def give_up(self) -> Broken | None:
        """Drop an unfinished packet on a line that has gone quiet; None if there was none."""
        if not self.waiting:
            return None
        self._skip(4)
        return Broken("the line went quiet in the middle of a packet")

    def _skip(self, count: int) -> None:
        self.stray += count
        del self._buffer[:count]

    def _next(self) -> Packet | Broken | None:
        buffer = self._buffer
        starts = [place for place in (buffer.find(DATA), buffer.find(CONTROL)) if place >= 0]
        if not starts:
            # Up to three bytes may be the begin of a leader.
            self._skip(max(0, len(buffer) - 3))
            return None
        self._skip(min(starts))
        # A leader is four equal bytes; a fifth means that the first was stray.
        while len(buffer) > 4 and buffer[4] == buffer[0]:
            self._skip(1)
        if len(buffer) < _HEADER.size:
            return None
        leader, kind, length, packet_id, total = _HEADER.unpack_from(buffer)
        if leader == CONTROL:
            # No checksum protects a control packet. A RESET made of a damaged acknowledgement would part the two
            # sides for good, so each kind must look like itself to the last bit.
            ids = _CONTROL_IDS.get(kind, ())
            if length or total or packet_id not in ids:
                self._skip(4)
                return self._next()
            del buffer[: _HEADER.size]
            return Packet(kind, packet_id, control=True)
        if length > LONGEST:
            self._skip(4)
            return Broken(f"a payload of {length} bytes is longer than any")
        end = _HEADER.size + length
        if len(buffer) <= end:
            return None
        payload = bytes(buffer[_HEADER.size : end])
        if buffer[end] != TRAILER or checksum(payload) != total:
            self._skip(4)
            return Broken("the checksum or the trailing byte does not match")
        del buffer[: end + 1]
        return Packet(kind, packet_id, payload)
