# SPDX-License-Identifier: MIT
"""The host of a KD session that only listens: it keeps the target running and writes down what it says.

While a packet is unacknowledged the target holds all its processors (KdEnterDebugger), and after some tries it
takes the debugger for gone and prints nothing more. So the host answers at once and from memory: bytes in, bytes to
send and events out; it reads no clock and no file. What it does:

- a data packet is acknowledged; one that came before is acknowledged again and dropped; a damaged one is asked for again;
- RESET is answered with RESET and both sides' ids begin anew; the answer to our own is not answered;
- LoadSymbols and command strings are let go on (Continue, DBG_CONTINUE), prompts are answered, files are refused;
- an exception is acknowledged and nothing else: the target stays where it is, to be dumped; it does not step over a
  hard ``int 3`` by itself, so going on blindly would only stop it again (ReactOS kd64/kdtrap.c).

A break-in is never sent. Target side: ReactOS drivers/base/kdcom/kddll.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from harness.capture.dbgprint import event
from harness.capture.dbgprint.event import AnyEvent, Loaded, Other, Prompted, Stopped
from harness.capture.dbgprint.packet import (
    INITIAL_ID,
    SYNC,
    Broken,
    Finder,
    Packet,
    Type,
    control_packet,
    data_packet,
)

CONTINUE, DBG_CONTINUE = 0x3136, 0x00010002
STATUS_UNSUCCESSFUL = 0xC0000001

IGNORE = b"i"
"""What prompts are answered: "ignore" to the assertion prompt; others take it as any text."""

PATIENCE = 0.5
"""Seconds after which our own unacknowledged packet is sent again, or an unfinished one of the target given up."""

_FROM_TARGET = frozenset(
    {Type.MANIPULATE, Type.DEBUG_IO, Type.STATE_CHANGE64, Type.STATE_CHANGE32, Type.FILE_IO}
) | {
    Type.TRACE_IO,
    Type.CONTROL_REQUEST,
}

_MANIPULATE = struct.Struct("<IHHII")
_FILE_IO = struct.Struct("<II56x")
_DEBUG_IO = struct.Struct("<IHHII")


class KdHost:
    """One session. Feed it what the line gives; send what :attr:`outgoing` hands out; call :meth:`idle` now and then.

    ``stopped`` is the exception that ended it. ``repeated``, ``broken`` and ``resets`` count what the line did.
    """

    def __init__(self, *, answer: bytes = IGNORE) -> None:
        self._answer = answer
        self._finder = Finder()
        self._outgoing = bytearray()
        self._expected: int | None = None
        self._own_id = INITIAL_ID
        self._waiting: tuple[int, bytes] | None = None
        self._first_open = False
        self._since = 0.0
        self._synchronising = False
        self._reset_at = -PATIENCE
        self.stopped: Stopped | None = None
        self.packets = self.repeated = self.broken = self.resets = 0

    @property
    def stray(self) -> int:
        """Bytes on the line that belonged to no packet."""
        return self._finder.stray

    def outgoing(self) -> bytes:
        """Return, once, the bytes to be sent now."""
        raw = bytes(self._outgoing)
        self._outgoing.clear()
        return raw

    def synchronise(self, now: float) -> None:
        """Ask the target to begin anew, as after connecting to one that is already running.

        Until it does, what it says is neither acknowledged nor reported: it will say it again. A packet whose
        acknowledgement was under way at that moment comes twice; the driver's lines carry sequence numbers.
        """
        self._synchronising = True
        self._send_reset(now)

    def _send_reset(self, now: float) -> None:
        self._outgoing += control_packet(Type.RESET)
        self._reset_at = now
        self._restart()

    def feed(self, data: bytes, now: float) -> Iterator[AnyEvent]:
        """Take bytes of the line at the time ``now`` (monotonic seconds); yield what they say."""
        if data:
            self._since = now
        for found in self._finder.feed(data):
            if isinstance(found, Broken):
                self._ask_again()
            elif found.control:
                self._control(found, now)
            else:
                yield from self._data(found)

    def idle(self, now: float) -> None:
        """Notice that time has passed: repeat what was not acknowledged, give up what was not finished."""
        if now - self._since < PATIENCE:
            return
        self._since = now
        if self._synchronising:
            self._send_reset(now)
        if self._finder.give_up() is not None:
            self._ask_again()
        self._send_waiting()

    def _ask_again(self) -> None:
        self.broken += 1
        self._outgoing += control_packet(Type.RESEND)

    def _restart(self) -> None:
        self._expected = None
        self._own_id = INITIAL_ID
        # What was on its way to the target answered a question that it will ask again.
        self._waiting = None
        self._first_open = False

    def _control(self, packet: Packet, now: float) -> None:
        if packet.type == Type.RESET:
            self.resets += 1
            if self._synchronising:
                self._synchronising = False
            elif now - self._reset_at >= PATIENCE:
                self.synchronise(now)
            # Else it is a second answer, to a reset that was sent twice: two sides that answer answers never stop. If
            # it was more than that, the target's next packet carries the mark of a first one and says so.
        elif packet.type == Type.RESEND:
            self._send_waiting()
        elif self._waiting is not None and packet.id == self._own_id:
            self._received()

    def _received(self) -> None:
        self._waiting = None
        self._own_id ^= 1
        self._first_open = False

    def _send_waiting(self) -> None:
        if self._waiting is not None:
            kind, payload = self._waiting
            self._outgoing += data_packet(kind, self._own_id, payload)

    def _send(self, kind: int, payload: bytes) -> None:
        self._waiting = (kind, payload)
        self._send_waiting()

    def _data(self, packet: Packet) -> Iterator[AnyEvent]:
        packet_id = packet.id & ~SYNC
        if packet_id & ~1 != INITIAL_ID or packet.type not in _FROM_TARGET:
            # The checksum does not cover the header: this is a damaged one.
            self._ask_again()
            return
        if self._synchronising and not packet.id & SYNC:
            return
        self._synchronising = False
        self._outgoing += control_packet(Type.ACKNOWLEDGE, packet_id)
        if self._is_repeated(packet, packet_id):
            self.repeated += 1
            # It came again because the target did not get what was said to it; a reply may be lost as well.
            self._send_waiting()
            return
        if packet.id & SYNC:
            self._restart()
            self._first_open = True
        else:
            self._first_open = False
            if self._waiting is not None:
                # The target waits for each reply before it says anything new, so the reply has arrived and only
                # its acknowledgement is lost.
                self._received()
        self._expected = packet_id ^ 1
        self.packets += 1
        yield self._react(packet)

    def _is_repeated(self, packet: Packet, packet_id: int) -> bool:
        if packet.id & SYNC:
            # The first packet after a boot or a reset carries the mark each time it is sent. It is the same one as
            # long as nothing else has come and the target has not acknowledged what it was answered.
            return self._first_open
        return self._expected is not None and packet_id != self._expected

    def _react(self, packet: Packet) -> AnyEvent:
        if packet.type == Type.DEBUG_IO:
            said = event.debug_io(packet.payload, self._answer)
            if isinstance(said, Prompted):
                reply = _DEBUG_IO.pack(event.PROMPT, 0, said.processor, 0, len(said.answer)) + said.answer
                self._send(Type.DEBUG_IO, reply)
            return said
        if packet.type == Type.STATE_CHANGE64:
            state = event.state_change(packet.payload)
            if isinstance(state, Stopped):
                self.stopped = state
            elif isinstance(state, Loaded) or packet.payload[:4] == struct.pack("<I", event.COMMAND):
                self._send(Type.MANIPULATE, self._go_on(state.processor))
            return state
        if packet.type == Type.FILE_IO:
            api = int.from_bytes(packet.payload[:4], "little")
            self._send(Type.FILE_IO, _FILE_IO.pack(api, STATUS_UNSUCCESSFUL))
            return Other(processor=0, what=f"file request 0x{api:x}, refused")
        return Other(processor=0, what=f"packet of type {packet.type}")

    @staticmethod
    def _go_on(processor: int) -> bytes:
        return _MANIPULATE.pack(CONTINUE, 0, processor, 0, 0) + struct.pack("<I36x", DBG_CONTINUE)
