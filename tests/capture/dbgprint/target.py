# SPDX-License-Identifier: MIT
"""A double of the target's side of the KD protocol, written from its description, with a faulty line in between.

The target is a generator in the blocking style of a kernel that spins on its UART: it yields how long it waits for
the next byte and is sent that byte, or None when the time has passed. So the same target runs against a simulated
clock and over a real socket.

What it does (ReactOS drivers/base/kdcom/kddll.c and ntoskrnl/kd64): sends a packet and waits for its acknowledgement,
all processors halted; repeats it after a timeout; gives up prints, symbol loads and file requests after so many
timeouts and is then silent, because no debugger is there; repeats exceptions and prompts for ever; takes a data packet
of any number as acknowledgement if it waits for one, drops it and sends RESEND; answers RESET with RESET and repeats its last packet under the first number; begins each boot with the SYNC bit and
a symbol load, and waits there until told to continue.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

DATA, CONTROL = 0x30303030, 0x69696969
MANIPULATE, DEBUG_IO, ACKNOWLEDGE, RESEND, RESET, STATE, TRACE, REQUEST, FILE = 2, 3, 4, 5, 6, 7, 9, 10, 11
FIRST, SYNC = 0x80800000, 0x800

TIMEOUT = 1.0
"""Seconds until a packet is repeated. Microsoft's debugger engine never connects to a target that repeats within 0.6 s
(recorded), so real ones wait longer."""
RETRIES = 20

Wait = Generator[float, "int | None", None]
Answer = Generator[float, "int | None", "str"]
Received = Generator[float, "int | None", "tuple[str, bytes]"]


def packet(kind: int, number: int, payload: bytes) -> bytes:
    """A data packet."""
    return struct.pack("<IHHII", DATA, kind, len(payload), number, sum(payload)) + payload + b"\xaa"


def control(kind: int, number: int = 0) -> bytes:
    """A control packet."""
    return struct.pack("<IHHII", CONTROL, kind, 0, number, 0)


def print_payload(processor: int, text: bytes) -> bytes:
    """What DbgPrint sends."""
    return struct.pack("<IHHII", 0x3230, 6, processor, len(text), 0) + text


def prompt_payload(processor: int, text: bytes, room: int = 2) -> bytes:
    """What DbgPrompt sends."""
    return struct.pack("<IHHII", 0x3231, 6, processor, len(text), room) + text


def symbols_payload(processor: int, path: bytes, base: int = 0xFFFFF80012340000, size: int = 0x1000) -> bytes:
    """What the load of an image sends; the path ends with a zero byte."""
    head = struct.pack("<IHHIIQQ", 0x3031, 6, processor, 4, 0, 0xFFFF8000, 0xFFFFF80000000000)
    body = struct.pack("<IIQQIIB", len(path) + 1, 0, base, 2**64 - 1, 0, size, 0)
    return (head + body).ljust(240, b"\0") + path + b"\0"


def stop_payload(processor: int, code: int = 0x80000003, address: int = 0xFFFFF80055550000) -> bytes:
    """What an exception sends, first chance."""
    head = struct.pack("<IHHIIQQ", 0x3030, 6, processor, 4, 0, 0xFFFF8000, address)
    body = struct.pack("<IIQQII", code, 0, 0, address, 1, 0) + bytes(120) + struct.pack("<I", 1)
    return (head + body).ljust(240, b"\0")


def command_payload(processor: int) -> bytes:
    """What DbgCommandString sends: another thing that waits for Continue."""
    return struct.pack("<IHHIIQQ", 0x3032, 6, processor, 4, 0, 0, 0).ljust(240, b"\0") + b"name\0command\0"


@dataclass
class Do:
    """One thing that happens on the target. ``what``: print, prompt, symbols, command, file, trace, request, stop, boot."""

    what: str
    processor: int = 0
    text: bytes = b""
    idle: int = 0
    """Bytes of its port that the running target reads afterwards, looking for a break-in."""


@dataclass
class Target:
    """``run(script)`` is the machine's life; ``sent`` collects what it puts on the line."""

    retries: int = RETRIES
    timeout: float = TIMEOUT
    sent: list[bytes] = field(default_factory=list)
    acknowledged: list[bytes] = field(default_factory=list)
    given_up: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    broken_in: bool = False
    present: bool = True
    done: bool = False
    frozen: bool = False
    flush: Callable[[], None] = lambda: None
    """Called when the machine starts anew: what its port still holds, either way, is gone."""

    def _anew(self) -> None:
        self._number = FIRST | SYNC
        self._awaited = FIRST
        self.present = True

    def run(self, script: list[Do]) -> Wait:
        """Live through ``script``."""
        self._anew()
        yield from self._do(Do("symbols", text=b"\\SystemRoot\\system32\\ntoskrnl.exe"))
        for boot, item in enumerate(script):
            if item.what == "boot":
                # The line is dead for a moment: the machine's firmware empties its port.
                while (yield 0.0) is not None:
                    pass
                self.flush()
                if item.text:
                    self.sent.append(
                        packet(DEBUG_IO, self._number, print_payload(0, b"cut"))[: len(item.text)]
                    )
                self._anew()
                yield from self._do(Do("symbols", text=b"\\SystemRoot\\system32\\ntoskrnl%d.exe" % boot))
            else:
                yield from self._do(item)
            for _ in range(item.idle):
                byte = yield 0.0
                self.broken_in |= byte == 0x62
        self.done = True

    def _do(self, item: Do) -> Wait:
        if not self.present:
            return
        match item.what:
            case "print":
                if (
                    yield from self._send(DEBUG_IO, print_payload(item.processor, item.text), may_fail=True)
                ) == "sent":
                    self.acknowledged.append(item.text)
                else:
                    self.given_up.append(item.text)
            case "trace":
                yield from self._send(
                    TRACE, struct.pack("<IHHI", 0x3330, 6, 0, 0).ljust(64, b"\0"), may_fail=False
                )
            case "request":
                yield from self._send(REQUEST, struct.pack("<III", 0x4300, 0, 0), may_fail=False)
            case "prompt":
                payload = prompt_payload(item.processor, item.text)
                data = yield from self._ask(DEBUG_IO, payload, DEBUG_IO, 16, may_fail=False)
                if data is not None:
                    self.answers.append(data[16:])
            case "file":
                payload = struct.pack("<II56x", 0x3430, 0) + item.text
                data = yield from self._ask(FILE, payload, FILE, 64, may_fail=True)
                if data is not None:
                    self.statuses.append(struct.unpack_from("<I", data, 4)[0])
            case "symbols" | "command" | "stop":
                self.frozen = item.what == "stop"
                make = {"symbols": symbols_payload, "command": command_payload, "stop": stop_payload}[
                    item.what
                ]
                payload = make(item.processor, item.text) if item.what == "symbols" else make(item.processor)
                data = yield from self._ask(STATE, payload, MANIPULATE, 56, may_fail=item.what == "symbols")
                if data is not None:
                    assert struct.unpack_from("<I", data)[0] == 0x3136, "only Continue is understood"
                    assert struct.unpack_from("<i", data, 16)[0] >= 0
                self.frozen = False

    def _ask(
        self, kind: int, payload: bytes, wanted: int, head: int, *, may_fail: bool
    ) -> Generator[float, int | None, bytes | None]:
        while True:
            if (yield from self._send(kind, payload, may_fail=may_fail)) == "failed":
                return None
            while True:
                status, data = yield from self._receive(wanted, head)
                if status == "received":
                    return data
                if status == "again":
                    break

    def _send(self, kind: int, payload: bytes, *, may_fail: bool) -> Answer:
        self._left = self.retries
        while True:
            if self._left == 0 and may_fail:
                self.present = False
                self._number = FIRST | SYNC
                self._awaited = FIRST
                return "failed"
            self.sent.append(packet(kind, self._number, payload))
            status, _data = yield from self._receive(ACKNOWLEDGE, 0)
            if status == "received":
                self._number &= ~SYNC
                return "sent"
            if status == "timeout":
                self._left = max(0, self._left - 1)

    def _string(self, size: int) -> Generator[float, int | None, bytes | None]:
        data = bytearray()
        while len(data) < size:
            byte = yield self.timeout
            if byte is None:
                return None
            data.append(byte)
        return bytes(data)

    def _receive(self, wanted: int, head: int) -> Received:
        while True:
            run = bytearray()
            while len(run) < 4:
                byte = yield self.timeout
                if byte is None:
                    return "timeout", b""
                if byte not in (0x30, 0x69):
                    self.broken_in |= byte == 0x62
                    run.clear()
                elif run and run[0] != byte:
                    run[:] = [byte]
                else:
                    run.append(byte)
            self._left = self.retries
            is_control = run[0] == 0x69
            raw = yield from self._string(2)
            if raw is None:
                return "timeout", b""
            (kind,) = struct.unpack("<H", raw)
            if is_control and kind == RESEND:
                return "again", b""
            rest = yield from self._string(10)
            if rest is None:
                return "timeout", b""
            length, number, checksum = struct.unpack("<HII", rest)
            if is_control:
                if kind == ACKNOWLEDGE and wanted == ACKNOWLEDGE and number == self._number & ~SYNC:
                    self._number ^= 1
                    return "received", b""
                if kind == RESET:
                    self._number = self._awaited = FIRST
                    self.sent.append(control(RESET))
                    return "again", b""
                continue
            if wanted == ACKNOWLEDGE:
                # Its payload is not read here, and what is left of it is skipped like noise.
                self.sent.append(control(RESEND))
                self._number ^= 1
                return "received", b""
            payload = None if not head <= length <= 4000 else (yield from self._string(length))
            trailer = None if payload is None else (yield from self._string(1))
            if payload is None or trailer != b"\xaa":
                self.sent.append(control(RESEND))
                continue
            if kind != wanted:
                self.sent.append(control(ACKNOWLEDGE, number))
                continue
            if number not in (FIRST, FIRST ^ 1) or sum(payload) != checksum:
                if number in (FIRST, FIRST ^ 1) and number != self._awaited:
                    self.sent.append(control(ACKNOWLEDGE, number))
                else:
                    self.sent.append(control(RESEND))
                continue
            self.sent.append(control(ACKNOWLEDGE, number))
            if number != self._awaited:
                continue
            self._awaited ^= 1
            return "received", payload


@dataclass
class Fault:
    """What the line does to the ``at``-th thing sent in one direction: lose, repeat, damage (bit ``bit``), cut, hold."""

    kind: str
    at: int
    bit: int = 0


TO_HOST = (control(RESEND), control(RESET))
TO_TARGET = (struct.pack("<I", DATA), control(RESET))
"""What no line copies where each text must come: the double of it makes a host answer twice, or is a second answer.

A target takes a stale answer as the acknowledgement of what it has sent since, so that nothing can save what the line loses
at that moment (ReactOS: kddll.c, KdReceivePacket).
"""


@dataclass
class Line:
    """One direction of the line. Things pass whole unless a fault is due; ``hold`` joins one to the next."""

    faults: list[Fault]
    spared: tuple[int, ...] = (8, 9)
    """Bytes of a header that are not damaged. Nothing in the protocol can tell a damaged number (8) or SYNC bit (9),
    and a target acknowledges and drops an answer of the wrong type (4, 5)."""
    uncopied: tuple[bytes, ...] = ()
    """What the line neither repeats nor delays (:data:`TO_HOST`, :data:`TO_TARGET`)."""
    count: int = 0
    held: bytes = b""

    def carry(self, data: bytes) -> bytes:
        """Return what comes out at the other end."""
        whole = any(each in data for each in self.uncopied)
        due = [
            fault
            for fault in self.faults
            if fault.at == self.count and not (whole and fault.kind in ("repeat", "hold"))
        ]
        for fault in sorted(due, key=lambda fault: fault.kind != "damage"):
            match fault.kind:
                case "lose":
                    data = b""
                case "repeat":
                    data += data
                case "cut":
                    data = data[: fault.bit % (len(data) + 1)]
                case "damage" if data:
                    place = fault.bit // 8 % len(data)
                    damaged = bytearray(data)
                    damaged[place] ^= 1 << fault.bit % 8
                    # A break-in byte made by the line says nothing about who sends none.
                    if place not in self.spared and damaged[place] != 0x62:
                        data = bytes(damaged)
                case "noise":
                    data = bytes([fault.bit & 0x9F]) * (fault.bit % 40) + data
                case "hold":
                    self.held += data
                    data = b""
        self.count += 1
        if data:
            data, self.held = self.held + data, b""
        return data
