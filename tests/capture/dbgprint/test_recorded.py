# SPDX-License-Identifier: MIT
"""What Microsoft's debugger engine answered to the target double, held against what our host answers to the same packets.

The engine asks for memory, registers and versions, and our host never does. So those questions and their replies are
taken out of each recorded conversation, and the target's packets are numbered as it would have numbered them then.
Everything else must be answered alike: which packet is acknowledged, when RESEND or RESET is sent, what is shown.
Three things need not be alike, and are not compared: how often the same control packet is sent in a row (the engine asks
for the rest of a cut packet when the next one begins, our host after a silence); the RESET by which the engine, attached
to a line that has been silent for 500 ms, makes itself known (our host is there before the first byte); and the RESEND
after what a reboot cut (our host finds the packet that begins inside the cut one).
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from capture.dbgprint import target as kd

from harness.capture.dbgprint.host import DebuggerHost, Event
from harness.capture.dbgprint.message import Print

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "kd"
MANIPULATE = 2
CONTINUE, CONTINUE_2 = 0x3136, 0x313C
HEADER = struct.Struct("<IHHII")


class Sent(msgspec.Struct):
    """One packet of a recording. ``passed``: what came out at the other end of the line."""

    ms: int
    target: bool
    packet: bytes
    passed: bytes

    @property
    def kind(self) -> int:
        return int(HEADER.unpack_from(self.packet)[1])

    @property
    def number(self) -> int:
        return int(HEADER.unpack_from(self.packet)[3])

    @property
    def control(self) -> bool:
        return self.packet.startswith(struct.pack("<I", kd.CONTROL))

    @property
    def cut(self) -> bool:
        """True for what a reboot left of a packet."""
        return len(self.packet) < HEADER.size

    @property
    def api(self) -> int:
        return int.from_bytes(self.packet[16:20], "little")

    @property
    def question(self) -> bool:
        """True for what the engine asks or is told of the machine."""
        return self.kind == MANIPULATE and not self.control and self.api not in (CONTINUE, CONTINUE_2)

    def renumbered(self, flip: int) -> bytes:
        """What comes out at the other end, of a packet with another number."""
        data = bytearray(self.packet)
        data[8] ^= flip
        if self.passed == self.packet:
            return bytes(data)
        if self.passed == self.packet * 2:
            return bytes(data) * 2
        if self.passed.endswith(self.packet):
            return self.passed[: -len(self.packet)] + bytes(data)
        if self.packet.startswith(self.passed):
            return bytes(data[: len(self.passed)])
        assert len(self.passed) == len(self.packet)
        return bytes(a ^ b ^ c for a, b, c in zip(data, self.packet, self.passed, strict=True))


def recording(path: Path) -> tuple[list[Sent], dict[str, Any]]:
    """The packets of a conversation, and what both ends said of it."""
    *lines, last = [json.loads(line) for line in path.read_text().splitlines()]
    packets = []
    for line in lines:
        data = bytes.fromhex(line["hex"])
        passed = bytes.fromhex(line["passed"]) if "passed" in line else data
        packets.append(Sent(line["ms"], line["from"] == "target", data, passed))
    return packets, last["end"]


def without_questions(packets: list[Sent]) -> Iterator[tuple[float, Sent, int]]:
    """Each packet that matters: seconds without the time of the questions, and 1 where its number is the other one then."""
    numbers = {True: 0, False: 0}
    last: dict[bool, Sent | None] = {True: None, False: None}
    flips = {True: 0, False: 0}
    now = 0.0
    asked, before_that = False, packets[0].ms
    for each in packets:
        took, before_that = each.ms - before_that, each.ms
        about = (
            last[not each.target] if not each.cut and each.control and each.kind == kd.ACKNOWLEDGE else None
        )
        question = not each.cut and (each.question or (about is not None and about.question))
        if not question and not asked:
            now += took / 1000
        asked = question
        if each.cut:
            yield now, each, 0
            continue
        if each.control and each.kind == kd.RESET:
            numbers = {True: 0, False: 0}
            last = {True: None, False: None}
        if each.control:
            if not question:
                yield now, each, flips[not each.target] if each.kind == kd.ACKNOWLEDGE else 0
            continue
        before = last[each.target]
        repeated = before is not None and (before.packet, before.number) == (each.packet, each.number)
        if each.number & kd.SYNC and not repeated:
            numbers = {True: 0, False: 0}
        last[each.target] = each
        if each.question:
            continue
        if not repeated:
            flips[each.target] = (each.number & 1) ^ numbers[each.target]
            numbers[each.target] ^= 1
        yield now, each, flips[each.target]


def packets_in(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Leader, type and number of each packet in what a debugger sends."""
    at = 0
    while at < len(data):
        leader, kind, length, number, _sum = HEADER.unpack_from(data, at)
        yield leader, kind, number
        at += HEADER.size + (0 if leader == kd.CONTROL else length + 1)


class Replay:
    """Our host in the debugger's place."""

    def __init__(self) -> None:
        self.host = DebuggerHost()
        self.events: list[Event] = []
        self.sent: list[tuple[int, int]] = []
        self._last = kd.FIRST

    def until(self, now: float) -> None:
        """Let the time pass."""
        while (wake := self.host.wake) is not None and wake <= now:
            self.events += self.host.tick(wake)
            self._take()

    def hear(self, data: bytes, now: float) -> None:
        """Hand over what came from the target."""
        self.until(now)
        self.events += self.host.receive(data, now)
        self._take()

    def acknowledge(self, now: float) -> None:
        """Hand over the acknowledgement of what our host sent last."""
        self.hear(kd.control(kd.ACKNOWLEDGE, self._last), now)

    def _take(self) -> None:
        data = self.host.take()
        for leader, _kind, number in packets_in(data):
            if leader == kd.DATA:
                self._last = number
        self.sent += [
            (kind, number if kind == kd.ACKNOWLEDGE else 0)
            for leader, kind, number in packets_in(data)
            if leader == kd.CONTROL
        ]

    def join(self, first: Sent, flip: int) -> None:
        """Be where the debugger was before ``first``, a packet from the middle of a conversation."""
        self.hear(kd.packet(kd.STATE, kd.FIRST | kd.SYNC, kd.symbols_payload(0, b"before")), -10.0)
        self.hear(kd.control(kd.ACKNOWLEDGE, kd.FIRST), -10.0)
        if first.number & 1 == flip:
            self.hear(kd.packet(kd.DEBUG_IO, kd.FIRST | 1, kd.print_payload(0, b"before")), -10.0)
        self.sent.clear()
        self.events.clear()


@pytest.mark.parametrize(
    "path",
    sorted(RECORDED.glob("*.jsonl"))
    or [
        pytest.param(RECORDED, marks=pytest.mark.skip(f"no recorded conversations: {RECORDED} is not there"))
    ],
    ids=lambda path: path.stem,
)
def test_every_packet_is_answered_as_the_debugger_engine_did(path: Path) -> None:
    """The same packets are acknowledged, asked for again and shown."""
    packets, end = recording(path)
    resets = [n for n, each in enumerate(packets) if each.target and each.control and each.kind == kd.RESET]
    whole = bool(resets)
    kept = list(without_questions(packets[resets[0] + 1 :] if whole else packets))
    replay = Replay()
    if whole:
        # A debugger that knows nothing of the target, and has just sent RESET.
        replay.hear(kd.packet(kd.DEBUG_IO, kd.FIRST, kd.print_payload(0, b"before")), -1.0)
        assert [(kd.RESET, 0)] == replay.sent
        replay.hear(kd.control(kd.RESET), -0.5)
        replay.sent.clear()
    else:
        replay.join(*next((each, flip) for _, each, flip in kept if each.target and not each.control))
    theirs = []
    cut = False
    for now, each, flip in kept:
        if each.target and not each.cut and each.control and each.kind == kd.ACKNOWLEDGE:
            # Our answers have numbers of their own: this one acknowledges the one that waits.
            replay.acknowledge(now)
        elif each.target:
            cut = each.cut or (cut and bool(each.number & kd.SYNC))
            replay.hear(each.passed if each.cut else each.renumbered(flip), now)
        elif each.control and not (cut and each.kind == kd.RESEND):
            theirs.append((each.kind, each.number ^ flip if each.kind == kd.ACKNOWLEDGE else 0))
    assert without_copies(theirs) == without_copies(replay.sent)
    came = lines("".join(event.text for event in replay.events if isinstance(event, Print)))
    shown = lines("\n".join(end["shown"]))
    assert came
    assert came == (shown if whole else shown[-len(came) :])


def lines(text: str) -> list[str]:
    """The lines that show something."""
    return [line for line in text.splitlines() if line]


def without_copies(sent: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Equal ones in a row count once."""
    return [each for each, _ in itertools.groupby(sent)]
