# SPDX-License-Identifier: MIT
"""The KD host against a target written from the protocol's description, over good lines and bad ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture.dbgprint.event import AnyEvent, Loaded, Other, Printed, Prompted, Stopped
from harness.capture.dbgprint.host import KdHost
from harness.capture.dbgprint.packet import LONGEST, Finder, Packet
from tests.capture.dbgprint import target as kd
from tests.capture.dbgprint.target import Line, Target


def converse(
    target: Target, host: KdHost, *, seed: int = 0, badness: float = 0.0, steps: int = 4000
) -> list[AnyEvent]:
    """Let the two talk until the target has said everything, with time passing whenever both are silent."""
    there, back = Line(seed, badness), Line(seed + 1, badness)
    seen: list[AnyEvent] = []
    now = 0.0
    target.start()
    for _ in range(steps):
        moved = False
        said, target.outgoing = target.outgoing, b""
        for piece in there.carry(said):
            moved = True
            seen += host.feed(piece, now)
        for piece in back.carry(host.outgoing()):
            moved = True
            target.feed(piece)
        if target.done or target.frozen:
            return seen
        if not moved:
            now += 1.0
            host.idle(now)
            target.tick()
    pytest.fail(f"the target still has {len(target.messages)} messages after {steps} steps")


BOOT = [
    kd.symbols(b"\\SystemRoot\\system32\\ntoskrnl.exe", 0xFFFFF80000000000),
    kd.text(b"HPN1 seq=1\n"),
    kd.symbols(b"hpnotify.sys", 0xFFFFF80011110000),
    kd.text(b"two lines\nin one", processor=3),
    kd.prompt(b"Break, Ignore? "),
    kd.create_file(),
    kd.text(b""),
    kd.text(b"last\n"),
]


def test_a_boot_runs_through_and_says_everything() -> None:
    """Images, text, a prompt and a file request: each comes out once, and each got the answer that lets it go on."""
    target, host = Target(BOOT), KdHost()
    seen = converse(target, host)
    assert seen == [
        Loaded(
            processor=0,
            path="\\SystemRoot\\system32\\ntoskrnl.exe",
            base=0xFFFFF80000000000,
            process=4,
            size=0x1000,
            unloaded=False,
        ),
        Printed(processor=1, text=b"HPN1 seq=1\n"),
        Loaded(
            processor=0, path="hpnotify.sys", base=0xFFFFF80011110000, process=4, size=0x1000, unloaded=False
        ),
        Printed(processor=3, text=b"two lines\nin one"),
        Prompted(processor=0, text=b"Break, Ignore? ", answer=b"i"),
        Other(processor=0, what="file request 0x3430, refused"),
        Printed(processor=1, text=b""),
        Printed(processor=1, text=b"last\n"),
    ]
    kinds = [(kind, payload[:4].hex(), len(payload)) for kind, payload in target.answers]
    assert kinds == [(2, "36310000", 56), (2, "36310000", 56), (3, "31320000", 17), (11, "30340000", 64)]
    assert target.answers[0][1][16:20] == (0x00010002).to_bytes(4, "little")
    assert target.answers[3][1][4:8] == (0xC0000001).to_bytes(4, "little")
    assert (target.breakins, host.broken, host.repeated, host.stray) == (0, 0, 0, 0)


@pytest.mark.parametrize("badness", [0.02, 0.1, 0.25])
def test_a_bad_line_changes_nothing_but_the_time_it_takes(badness: float) -> None:
    """Loss, duplication, corruption and splits, both ways: the same events, once each, in the same order.

    The lines are fixed by their seeds: KD's checksum is a sum and leaves out the header, so of enough random damage
    some is damage that nobody can see.
    """
    clean = converse(Target(BOOT), KdHost())
    for seed in range(60):
        target = Target(BOOT)
        assert converse(target, KdHost(), seed=seed, badness=badness) == clean, seed
        assert len(target.answers) == 4


def test_an_exception_is_recorded_and_never_continued() -> None:
    """The target stays frozen for its dump."""
    target, host = (
        Target([kd.text(b"about to die\n"), kd.exception(0x80000003, pc=0xABC), kd.text(b"never")]),
        KdHost(),
    )
    seen = converse(target, host)
    assert seen[1] == Stopped(
        processor=0, code=0x80000003, address=0xABC, pc=0xABC, first_chance=True, thread=0xFFFF1
    )
    assert host.stopped == seen[1]
    assert (target.frozen, target.answers) == (True, [])
    host.idle(100.0)
    assert host.outgoing() == b""


def test_a_reset_of_the_target_is_answered_once() -> None:
    """A target that reboots sends RESET and begins with new ids; its answer to ours is not answered."""
    host = KdHost()
    list(host.feed(kd.packed(kd.RESET, 0), 0.0))
    assert host.outgoing() == kd.packed(kd.RESET, 0)
    host.synchronise(9.0)
    assert host.outgoing() == kd.packed(kd.RESET, 0)
    list(host.feed(kd.packed(kd.RESET, 0), 9.1))
    assert host.outgoing() == b""


def test_a_second_boot_begins_anew() -> None:
    """The same first packet after a reboot is a new one: the image is reported and continued again."""
    host = KdHost()
    first = converse(Target(BOOT[:3]), host)
    second = Target(BOOT[:3])
    assert converse(second, host) == first
    assert len(second.answers) == 2


def test_attaching_to_a_running_target_synchronises() -> None:
    """The host comes in the middle: after a reset everything from then on is heard."""
    target, host = Target([kd.text(b"early\n"), kd.text(b"late\n")]), KdHost()
    target.own = kd.INITIAL | 1
    host.synchronise(0.0)
    assert [one.text for one in converse(target, host) if isinstance(one, Printed)] == [b"early\n", b"late\n"]


def test_plain_text_on_the_port_is_passed_over() -> None:
    """Firmware and loaders may print on the same port before the debugger wakes up."""
    host = KdHost()
    noise = b"BdsDxe: starting Boot0001 0000\r\niii"
    events = list(host.feed(noise + kd.packed(kd.DEBUG_IO, kd.INITIAL | kd.SYNC, kd.text(b"hi")[1]), 0.0))
    assert events[-1] == Printed(processor=1, text=b"hi")


@given(st.lists(st.binary(max_size=80), max_size=20))
@settings(deadline=None, max_examples=150)
def test_any_bytes_are_taken_and_little_is_kept(pieces: list[bytes]) -> None:
    """Whatever stands on the line, the host answers or stays silent, and keeps no more than one packet."""
    host = KdHost()
    for piece in pieces:
        list(host.feed(piece, 0.0))
        list(host.feed(b"0000" + piece, 0.0))
        host.outgoing()
    assert len(host._finder._buffer) <= LONGEST + 32
    host.idle(10.0)


@given(st.binary(max_size=300), st.data())
@settings(deadline=None, max_examples=60)
def test_packets_are_found_however_they_are_split(payload: bytes, data: st.DataObject) -> None:
    """One byte at a time or all at once, the packet is the same."""
    raw = kd.packed(kd.DEBUG_IO, 7, payload)
    cut = data.draw(st.integers(0, len(raw)))
    finder = Finder()
    found = [*finder.feed(raw[:cut]), *finder.feed(raw[cut:])]
    assert found == [Packet(kd.DEBUG_IO, 7, payload)]
