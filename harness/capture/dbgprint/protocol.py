# SPDX-License-Identifier: MIT
"""Packets of the kernel debugger's serial protocol (KD): bytes to packets and back.

A packet is 16 bytes of header, little-endian: leader ``30303030`` (data) or ``69696969`` (control), u16 type, u16
length of the payload, u32 id, u32 sum of the payload's bytes. A data packet continues with its payload and ends with
``AA``; a control packet is only its header. Data packets are numbered 80800000 and 80800001 in turn; the bit 800 marks
the first one after the target restarted. Nothing protects the header, so a header is believed only if every field of
it makes sense. The bytes of a damaged packet are searched again for one that began inside it.
(ReactOS: sdk/include/reactos/windbgkd.h, drivers/base/kdcom/kddll.c.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

DATA, CONTROL = b"\x30" * 4, b"\x69" * 4
TRAILER = 0xAA
BREAK_IN = 0x62
"""A target that reads this byte where a packet may begin stops the whole machine. It is never sent, not even inside
a packet: a running target reads its port byte by byte, and one that lost its place looks everywhere."""

MANIPULATE, DEBUG_IO, ACKNOWLEDGE, RESEND, RESET = 2, 3, 4, 5, 6
STATE_CHANGE, TRACE_IO, CONTROL_REQUEST, FILE_IO = 7, 9, 10, 11

DATA_TYPES = frozenset({MANIPULATE, DEBUG_IO, STATE_CHANGE, TRACE_IO, CONTROL_REQUEST, FILE_IO})
CONTROL_TYPES = frozenset({ACKNOWLEDGE, RESEND, RESET})

FIRST_ID = 0x80800000
SYNC = 0x800

HEADER = struct.Struct("<4sHHII")
LONGEST_PAYLOAD = 4000
LONGEST_PACKET = HEADER.size + LONGEST_PAYLOAD + 1


class Packet(msgspec.Struct, frozen=True):
    """One packet. ``id`` is without the SYNC bit, which is ``sync``; a control packet has no payload."""

    kind: int
    id: int
    payload: bytes = b""
    sync: bool = False

    @property
    def control(self) -> bool:
        """Whether it is an ACKNOWLEDGE, RESEND or RESET."""
        return self.kind in CONTROL_TYPES

    def encode(self) -> bytes:
        """Return the packet's bytes on the wire."""
        number = self.id | (SYNC if self.sync else 0)
        if self.control:
            return HEADER.pack(CONTROL, self.kind, 0, number, 0)
        head = HEADER.pack(DATA, self.kind, len(self.payload), number, sum(self.payload))
        return head + self.payload + bytes([TRAILER])


class Framer:
    """Bytes in, packets out. Holds at most one unfinished packet.

    ``damaged`` counts packets that began and were invalid, ``skipped`` the bytes that belong to no packet.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self.skipped = 0
        self._buffer = bytearray()

    @property
    def unfinished(self) -> bool:
        """Whether bytes are held that may still become a packet."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Yield the packets that ``data`` completes."""
        for at in range(0, len(data), LONGEST_PACKET):
            self._buffer += data[at : at + LONGEST_PACKET]
            yield from self._scan()

    def abandon(self) -> Iterator[Packet]:
        """Give up the unfinished packet: yield the packets that began inside it."""
        while self._buffer:
            self.damaged += self._buffer.startswith((DATA, CONTROL))
            self.skipped += 1
            del self._buffer[0]
            yield from self._scan()

    def _scan(self) -> Iterator[Packet]:
        buffer = self._buffer
        at = 0
        while (start := self._leader(at)) < len(buffer):
            self.skipped += start - at
            at = start
            found = self._packet(at)
            if found is None:
                break
            packet, length = found
            at += length
            if packet is not None:
                yield packet
            else:
                self.damaged += 1
                self.skipped += length
        else:
            self.skipped += start - at
            at = start
        del buffer[:at]

    def _leader(self, at: int) -> int:
        """Return where the next leader begins, or where an incomplete one may begin."""
        buffer = self._buffer
        places = [place for mark in (DATA, CONTROL) if (place := buffer.find(mark, at)) >= 0]
        if places:
            return min(places)
        for size in (3, 2, 1):
            if len(buffer) - at >= size and buffer[-size:] in (DATA[:size], CONTROL[:size]):
                return len(buffer) - size
        return len(buffer)

    def _packet(self, at: int) -> tuple[Packet | None, int] | None:
        """Return the packet at ``at`` with its length; (None, 1) if there is none; None if more bytes are needed."""
        buffer = self._buffer
        if len(buffer) - at < HEADER.size:
            return None
        leader, kind, length, number, checksum = HEADER.unpack_from(buffer, at)
        plain = number & ~SYNC
        if leader == CONTROL:
            if kind not in CONTROL_TYPES or length or (kind == ACKNOWLEDGE and plain & ~1 != FIRST_ID):
                return None, 1
            return Packet(kind, plain), HEADER.size
        if kind not in DATA_TYPES or not 4 <= length <= LONGEST_PAYLOAD or plain & ~1 != FIRST_ID:
            return None, 1
        whole = HEADER.size + length + 1
        if len(buffer) - at < whole:
            return None
        payload = bytes(buffer[at + HEADER.size : at + whole - 1])
        if buffer[at + whole - 1] != TRAILER or sum(payload) != checksum:
            return None, 1
        return Packet(kind, plain, payload, bool(number & SYNC)), whole
