# SPDX-License-Identifier: MIT
"""A KD target written from the protocol's description, and a line that loses, doubles, changes and splits bytes.

Nothing is imported from the host. The target does what kdcom does: it sends one packet, waits for its acknowledgement,
sends it again when it does not come, answers resets, and after LoadSymbols or a prompt waits for an answer.
"""

from __future__ import annotations

import random
import struct
from collections import deque

INITIAL, SYNC = 0x80800000, 0x800
MANIPULATE, DEBUG_IO, ACK, RESEND, RESET, STATE64, FILE_IO = 2, 3, 4, 5, 6, 7, 11


def packed(kind: int, packet_id: int, payload: bytes | None = None) -> bytes:
    """A packet's bytes; a control packet without payload."""
    if payload is None:
        return struct.pack("<4sHHII", b"iiii", kind, 0, packet_id, 0)
    return struct.pack("<4sHHII", b"0000", kind, len(payload), packet_id, sum(payload)) + payload + b"\xaa"


def text(words: bytes, *, processor: int = 1) -> tuple[int, bytes]:
    """DbgPrint."""
    return DEBUG_IO, struct.pack("<IHHI4x", 0x3230, 0, processor, len(words)) + words


def prompt(words: bytes) -> tuple[int, bytes]:
    """DbgPrompt."""
    return DEBUG_IO, struct.pack("<IHHII", 0x3231, 0, 0, len(words), 100) + words


def symbols(path: bytes, base: int) -> tuple[int, bytes]:
    """LoadSymbols."""
    head = struct.pack("<IHHI4xQQ", 0x3031, 0, 0, 2, 0xFFFF1, 0xFFFF2)
    image = struct.pack("<I4xQQIIB", len(path) + 1, base, 4, 0, 0x1000, 0)
    return STATE64, (head + image).ljust(240, b"\0") + path + b"\0"


def exception(code: int, *, pc: int = 0x1234) -> tuple[int, bytes]:
    """An exception state change; the target stays in it."""
    head = struct.pack("<IHHI4xQQ", 0x3030, 0, 0, 2, 0xFFFF1, pc)
    record = struct.pack("<IIQQII15QI", code, 0, 0, pc, 0, 0, *[0] * 15, 1)
    return STATE64, (head + record).ljust(240, b"\0")


def create_file() -> tuple[int, bytes]:
    """A request for a file of the host."""
    return FILE_IO, struct.pack("<I60x", 0x3430)


class Target:
    """Sends its messages in order; :meth:`tick` is its retransmission timer."""

    def __init__(self, messages: list[tuple[int, bytes]]) -> None:
        self.messages = deque(messages)
        self.own = INITIAL | SYNC
        self.remote = INITIAL
        self.acknowledged = False
        self.answers: list[tuple[int, bytes]] = []
        self.breakins = 0
        self.buffer = b""
        self.outgoing = b""
        self.frozen = False

    @property
    def done(self) -> bool:
        return not self.messages

    def start(self) -> None:
        """Send the first packet."""
        self.outgoing += self._current()

    def _current(self) -> bytes:
        kind, payload = self.messages[0]
        return packed(kind, self.own, payload)

    def _wants_answer(self) -> bool:
        kind, payload = self.messages[0]
        api = int.from_bytes(payload[:4], "little")
        return kind in (FILE_IO, STATE64) or (kind == DEBUG_IO and api == 0x3231)

    def tick(self) -> None:
        """The acknowledgement did not come in time: send again. Nothing is repeated while an answer is awaited."""
        if self.messages and not self.acknowledged:
            self.outgoing += self._current()

    def _next(self) -> None:
        self.messages.popleft()
        self.acknowledged = False
        if self.messages:
            self.outgoing += self._current()

    def feed(self, data: bytes) -> None:
        """Take bytes of the line."""
        self.buffer += data
        while True:
            places = [place for place in (self.buffer.find(b"iiii"), self.buffer.find(b"0000")) if place >= 0]
            if not places:
                self.breakins += self.buffer[:-3].count(b"b")
                self.buffer = self.buffer[-3:]
                return
            self.buffer = self.buffer[min(places) :]
            if len(self.buffer) < 16:
                return
            leader, kind, length, packet_id, total = struct.unpack_from("<4sHHII", self.buffer)
            if leader == b"iiii":
                self.buffer = self.buffer[16:]
                self._control(kind, packet_id)
                continue
            if length > 4000:
                self.buffer = self.buffer[4:]
                continue
            if len(self.buffer) < 17 + length:
                return
            payload = self.buffer[16 : 16 + length]
            if self.buffer[16 + length] != 0xAA or sum(payload) != total:
                self.buffer = self.buffer[4:]
                self.outgoing += packed(RESEND, 0)
                continue
            self.buffer = self.buffer[17 + length :]
            self._data(kind, packet_id, payload)

    def _control(self, kind: int, packet_id: int) -> None:
        if kind == RESET:
            self.own, self.remote = INITIAL | SYNC, INITIAL
            self.acknowledged = False
            self.outgoing += packed(RESET, 0)
            self.tick()
        elif kind == RESEND:
            self.tick()
        elif kind == ACK and self.messages and not self.acknowledged and packet_id == self.own & ~SYNC:
            self.own = (self.own & ~SYNC) ^ 1
            self.acknowledged = True
            if self.messages[0][0] == STATE64 and self.messages[0][1][:4] == struct.pack("<I", 0x3030):
                self.frozen = True
            elif not self._wants_answer():
                self._next()

    def _data(self, kind: int, packet_id: int, payload: bytes) -> None:
        if not self.acknowledged:
            # kdcom waits for the acknowledgement first and takes nothing else; it sends its packet again.
            self.tick()
            return
        self.outgoing += packed(ACK, packet_id)
        if packet_id != self.remote:
            return
        self.remote ^= 1
        self.answers.append((kind, payload))
        self._next()


class Line:
    """Carries bytes one way, badly: pieces are lost, doubled, changed or cut, by a seeded choice."""

    def __init__(self, seed: int, badness: float) -> None:
        self.choose = random.Random(seed)
        self.badness = badness

    def carry(self, data: bytes) -> list[bytes]:
        """Return the pieces that arrive."""
        pieces = []
        while data:
            size = self.choose.randrange(1, 60)
            piece, data = data[:size], data[size:]
            if self.choose.random() < self.badness:
                kind = self.choose.randrange(4)
                if kind == 0:
                    continue
                if kind == 1:
                    pieces.append(piece)
                elif kind == 2:
                    place = self.choose.randrange(len(piece))
                    piece = piece[:place] + bytes([self.choose.randrange(256)]) + piece[place + 1 :]
                else:
                    piece = piece[: self.choose.randrange(len(piece))]
            pieces.append(piece)
        return pieces
