# SPDX-License-Identifier: MIT
"""The debugger's side of the protocol, as a state machine without input or output of its own.

The target stops all processors with every packet until it is acknowledged, and after some packets until it is
answered. So everything is acknowledged at once, and answered so that the guest runs on as it would without a
debugger. Three rules make each message arrive exactly once over a line that loses, repeats or damages packets:

1. A packet's number distinguishes a repetition from the next packet. Where numbering begins anew (SYNC bit, or after a
   RESET) the target repeats what was not acknowledged under another number, so there the content decides.
2. An answer that is not acknowledged is never simply repeated: a target that continued takes any data packet as the
   acknowledgement of its next message. RESET makes it repeat the last message, which shows whether it still waits.
3. The state of the target is unknown in three cases: a number repeated with other content, a question repeated under a
   new number while its answer is on the way, and a first packet from the middle of an exchange. Then the host sends
   RESET and ignores all packets until the target's RESET arrives. Both then begin anew and the target repeats its last
   message.

Three ambiguities remain: an answer that the line repeats or delays may be stale too; two equal texts in a row with a RESET
between them count once; a header damaged into another valid one is believed, because nothing protects it.
(ReactOS: drivers/base/kdcom/kddll.c, ntoskrnl/kd64/kdprint.c, kdapi.c.)
"""

from __future__ import annotations

import re

import msgspec

from harness.capture.dbgprint import protocol
from harness.capture.dbgprint.message import (
    AnyMessage,
    Aside,
    BadPayload,
    Message,
    Print,
    Stop,
    decode,
    reply,
)
from harness.capture.dbgprint.protocol import Framer, Packet

SILENCE = 0.25
"""Seconds after which the rest of an unfinished packet is no longer awaited."""

ANSWER_AGAIN, ANSWER_AGAIN_MOST = 1.0, 30.0
"""Seconds until the host sends RESET for an unacknowledged answer; doubled each time. A paused guest takes long."""

RESET_AGAIN = 0.3
MOST_RESETS = 8
"""RESETs without a reply after which the host continues without one."""

MOST_OUTGOING = 1 << 16
"""Bytes kept for a target that does not read. Further bytes are dropped, and requested again."""

_BUG_CHECK = re.compile(r"\*\*\* Fatal System Error: (0x[0-9a-fA-F]{1,16})\s*(\([0-9a-fA-Fx,]{1,100}\))?")


class Began(Message, frozen=True, kw_only=True, tag="began"):
    """The target restarted: a boot, or it had given up the debugger and came back."""


Event = AnyMessage | Began


class Counts(msgspec.Struct):
    """Counts of the events on the line so far."""

    packets: int = 0
    repeated: int = 0
    damaged: int = 0
    skipped: int = 0
    resets: int = 0
    odd: int = 0


class DebuggerHost:
    """Bytes in, events out, and bytes to send. Times are seconds of one monotonic clock of the caller's choice.

    Feed it with :meth:`receive`, call :meth:`tick` when :attr:`wake` has come, and send what :meth:`take` returns
    after either. Memory is bounded for any input.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.stopped = False
        self._framer = Framer()
        self._outgoing = bytearray()
        self._heard = 0.0
        self._damaged = 0
        # The number that the target sends next, None before its first packet; the number that the host sends next.
        self._expected: int | None = None
        self._next = protocol.FIRST_ID
        self._anew = False
        self._last: tuple[int, bytes] | None = None
        self._odd: tuple[int, bytes] | None = None
        self._answer: tuple[int, bytes] | None = None
        self._waiting: Packet | None = None
        self._again = 0.0
        self._patience = ANSWER_AGAIN
        self._resetting = False
        self._reset_at = 0.0
        self._resets = 0
        self._recent = ""

    @property
    def wake(self) -> float | None:
        """The latest time for the next :meth:`tick`, None if only bytes matter."""
        times = [self._heard + SILENCE] if self._framer.unfinished else []
        if self._waiting is not None:
            times.append(self._again)
        return min(times, default=None)

    def take(self) -> bytes:
        """Return, and forget, the bytes that must be sent now."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take in the target's bytes and return its messages."""
        self._heard = now
        events: list[Event] = []
        for packet in self._framer.feed(data):
            self._packet(packet, now, events)
        self._ask_again()
        return events

    def tick(self, now: float) -> list[Event]:
        """Do what is due by ``now``: give up an unfinished packet, or ask about an unacknowledged answer."""
        events: list[Event] = []
        if self._framer.unfinished and now >= self._heard + SILENCE:
            for packet in self._framer.abandon():
                self._packet(packet, now, events)
            self._ask_again()
        if self._waiting is not None and now >= self._again:
            if self._resetting:
                self._control(protocol.RESET)
            else:
                self._demand_reset(now)
            self._patience = min(self._patience * 2, ANSWER_AGAIN_MOST)
            self._again = now + self._patience
        return events

    def _ask_again(self) -> None:
        """Request a damaged packet again, unless it came whole since, or may be coming."""
        self.counts.damaged, self.counts.skipped = self._framer.damaged, self._framer.skipped
        if self._framer.damaged > self._damaged and not self._framer.unfinished:
            self._damaged = self._framer.damaged
            self._control(protocol.RESEND)

    def _packet(self, packet: Packet, now: float, events: list[Event]) -> None:
        if packet.kind == protocol.ACKNOWLEDGE:
            if self._waiting is not None and packet.id == self._waiting.id:
                self._went_on()
        elif packet.kind == protocol.RESEND:
            if self._waiting is not None and not self._resetting:
                self._send(self._waiting)
        elif packet.kind == protocol.RESET:
            self._reset(now)
        else:
            self._damaged = self._framer.damaged
            self._data(packet, now, events)

    def _data(self, packet: Packet, now: float, events: list[Event]) -> None:
        content = (packet.kind, packet.payload)
        try:
            message = decode(packet)
        except BadPayload:
            if content != self._odd:
                # Perhaps its header was damaged: its repetition is believed.
                self._odd = content
                self._control(protocol.RESEND)
                return
            message = Aside(what="not understood", api=int.from_bytes(packet.payload[:4], "little"))
        if self._is_new(packet, content, now):
            self._accept(packet, content, message, now, events)

    def _is_new(self, packet: Packet, content: tuple[int, bytes], now: float) -> bool:
        """Return whether the packet is new. A repeated one is acknowledged here, and answered if that is safe."""
        answered = packet.sync and self._waiting is not None
        if packet.sync:
            self._begin_anew()
        elif self._resetting:
            if self._resets < MOST_RESETS:
                if now >= self._reset_at + RESET_AGAIN:
                    self._demand_reset(now)
                return False
            self._begin_anew()
        elif self._expected is None:
            self._demand_reset(now)
            return False
        same = content == self._last
        anew, self._anew = self._anew, False
        if anew:
            self._expected = packet.id
            if not same:
                return True
            self._expected ^= 1
        elif packet.id == self._expected:
            if not (same and self._waiting is not None):
                return True
            self._demand_reset(now)
            return False
        elif not same:
            self._demand_reset(now)
            return False
        self.counts.repeated += 1
        self._acknowledge(packet)
        if self._answer is not None and anew:
            self._give_answer(now, send=not answered)
        return False

    def _accept(
        self,
        packet: Packet,
        content: tuple[int, bytes],
        message: AnyMessage,
        now: float,
        events: list[Event],
    ) -> None:
        if self._waiting is not None:
            self._went_on()
        self._acknowledge(packet)
        self.counts.packets += 1
        self._expected = packet.id ^ 1
        self._last = content
        self._odd = None
        self._answer = reply(message)
        if packet.sync:
            self._recent = ""
            events.append(Began())
        if isinstance(message, Print):
            self._recent = (self._recent + message.text)[-1024:]
        elif isinstance(message, Stop):
            self.stopped = True
            found = _BUG_CHECK.search(self._recent)
            words = " ".join(part for part in found.groups() if part) if found else ""
            message = msgspec.structs.replace(message, bug_check=words)
        elif isinstance(message, Aside):
            self.counts.odd += message.what == "not understood"
        events.append(message)
        if self._answer is not None:
            self._give_answer(now)

    def _went_on(self) -> None:
        """Record that the target has the answer."""
        self._waiting = None
        self._next ^= 1

    def _give_answer(self, now: float, *, send: bool = True) -> None:
        assert self._answer is not None
        self._waiting = Packet(self._answer[0], self._next, self._answer[1])
        self._patience = ANSWER_AGAIN
        self._again = now + self._patience
        if send:
            self._send(self._waiting)

    def _begin_anew(self) -> None:
        """Begin numbering at the first number, on both sides."""
        self._anew = True
        self._resetting = False
        self._expected = self._next = protocol.FIRST_ID
        self._waiting = None

    def _reset(self, now: float) -> None:
        """Handle a RESET: the answer to the host's own, or the target's request, which is answered with one."""
        if self._resetting:
            self._begin_anew()
        else:
            self._demand_reset(now)

    def _demand_reset(self, now: float) -> None:
        if not self._resetting:
            self._resetting = True
            self._resets = 0
        self._resets += 1
        self._reset_at = now
        self.counts.resets += 1
        self._control(protocol.RESET)

    def _acknowledge(self, packet: Packet) -> None:
        self._send(Packet(protocol.ACKNOWLEDGE, packet.id))

    def _control(self, kind: int) -> None:
        self._send(Packet(kind, 0))

    def _send(self, packet: Packet) -> None:
        data = packet.encode()
        if len(self._outgoing) + len(data) <= MOST_OUTGOING:
            self._outgoing += data
