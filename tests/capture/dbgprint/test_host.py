# SPDX-License-Identifier: MIT
"""The host of the KD protocol against the double of a target, over a perfect line and over a bad one."""

from __future__ import annotations

import struct

import pytest
from capture.dbgprint import target as kd
from capture.dbgprint.simulation import simulate
from capture.dbgprint.target import TO_HOST, TO_TARGET, Do, Fault, Line
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.capture.dbgprint.host import MOST_OUTGOING, SILENCE, Began, DebuggerHost, Event
from harness.capture.dbgprint.message import Aside, FileRequest, Print, Prompt, Stop, Symbols
from harness.capture.dbgprint.protocol import BREAK_IN, LONGEST_PACKET


def texts(events: list[Event]) -> list[bytes]:
    """The texts printed, as bytes."""
    return [event.text.encode("latin-1") for event in events if isinstance(event, Print)]


def test_life_of_a_target() -> None:
    """Every kind of packet is answered as it must be, and the target runs through its whole script."""
    script = [
        Do("print", 1, b"hello\n"),
        Do("prompt", 2, b"Break, Ignore (bi)? "),
        Do("symbols", 3, b"\\SystemRoot\\hpnotify.sys"),
        Do("file", 0, b"\\SystemRoot\\x.sys\0"),
        Do("trace"),
        Do("request"),
        Do("command"),
        Do("print", 1, b"\xff\x00 any byte\n"),
    ]
    target, host, events = simulate(script)
    kernel = Symbols(
        processor=0, path="\\SystemRoot\\system32\\ntoskrnl.exe", base=0xFFFFF80012340000, size=0x1000
    )
    assert [
        Began(),
        kernel,
        Print(processor=1, text="hello\n"),
        Prompt(processor=2, text="Break, Ignore (bi)? ", answer="i"),
        Symbols(processor=3, path="\\SystemRoot\\hpnotify.sys", base=kernel.base, size=kernel.size),
        FileRequest(api=0x3430),
        Aside(what="trace", api=0x3330),
        Aside(what="control request", api=0x4300),
        Aside(what="command", api=0x3032),
        Print(processor=1, text="\xff\x00 any byte\n"),
    ] == events
    assert target.done
    assert [b"i"] == target.answers
    assert [0xC000000F] == target.statuses
    assert (0, 0, 0, 0) == (
        host.counts.repeated,
        host.counts.damaged,
        host.counts.skipped,
        host.counts.resets,
    )


def test_bug_check_is_told_and_not_continued() -> None:
    """An exception is acknowledged and reported with what the target printed before; the guest stays stopped."""
    words = b"\n*** Fatal System Error: 0x0000003e\n                       (0x0000000000000001,0x0000000000000000)\n\n"
    target, host, events = simulate([Do("print", 5, words), Do("stop", 5), Do("print", 5, b"never")])
    stop = Stop(
        processor=5, processors=4, code=0x80000003, address=0xFFFFF80055550000, first_chance=True,
        bug_check="0x0000003e (0x0000000000000001,0x0000000000000000)",
    )  # fmt: skip
    assert stop == events[-1]
    assert host.stopped
    assert target.frozen
    assert not target.done


def test_bug_check_of_an_earlier_boot_is_not_this_one() -> None:
    """What was printed before a reboot explains no later exception."""
    script = [Do("print", 0, b"*** Fatal System Error: 0x000000d1\n"), Do("boot"), Do("stop", 0)]
    _target, _host, events = simulate(script)
    assert "" == next(event.bug_check for event in events if isinstance(event, Stop))


def test_conversation_joined_in_the_middle_begins_anew() -> None:
    """A host that comes late asks for a RESET, gets the last packet again under the first number, and takes it once."""
    host = DebuggerHost()
    number = kd.FIRST ^ 1
    late = kd.print_payload(0, b"late")
    assert [] == host.receive(kd.packet(kd.DEBUG_IO, number, late), 0.0)
    assert kd.control(kd.RESET) == host.take()
    again = kd.control(kd.RESET) + kd.packet(kd.DEBUG_IO, kd.FIRST, late)
    assert [Print(processor=0, text="late")] == host.receive(again, 0.1)
    assert kd.control(kd.ACKNOWLEDGE, kd.FIRST) == host.take()
    assert [] == host.receive(kd.packet(kd.DEBUG_IO, kd.FIRST, late), 0.2)


def test_target_that_ignores_resets_is_taken_as_it_is() -> None:
    """A target that never answers a RESET is not kept waiting for ever."""
    host = DebuggerHost()
    data = kd.packet(kd.DEBUG_IO, kd.FIRST ^ 1, kd.print_payload(0, b"stubborn"))
    got: list[Event] = []
    for second in range(20):
        got += host.receive(data, float(second))
    assert [Print(processor=0, text="stubborn")] == got


def test_unsolicited_reset_is_answered() -> None:
    """A RESET of the target's own is answered with one RESET, and the target's answer to that with none."""
    host = DebuggerHost()
    host.receive(kd.packet(kd.DEBUG_IO, kd.FIRST | kd.SYNC, kd.print_payload(0, b"a")), 0.0)
    host.take()
    host.receive(kd.control(kd.RESET), 0.1)
    assert kd.control(kd.RESET) == host.take()
    host.receive(kd.control(kd.RESET), 0.2)
    assert b"" == host.take()


def test_damaged_packet_is_asked_for_again() -> None:
    """A wrong checksum brings RESEND and no acknowledgement; the repetition is taken."""
    host = DebuggerHost()
    good = kd.packet(kd.DEBUG_IO, kd.FIRST | kd.SYNC, kd.print_payload(0, b"text"))
    bad = good.replace(b"text", b"test")
    assert [] == host.receive(bad, 0.0)
    assert kd.control(kd.RESEND) == host.take()
    assert [Began(), Print(processor=0, text="text")] == host.receive(good, 0.1)
    assert kd.control(kd.ACKNOWLEDGE, kd.FIRST) == host.take()


def test_packet_inside_a_cut_one_is_found() -> None:
    """A packet cut short by a reset swallows nothing of the next one."""
    host = DebuggerHost()
    cut = kd.packet(kd.DEBUG_IO, kd.FIRST, kd.print_payload(0, b"x" * 100))[:30]
    whole = kd.packet(kd.STATE, kd.FIRST | kd.SYNC, kd.symbols_payload(0, b"nt"))
    events = host.receive(cut + whole, 0.0)
    assert ["began", "symbols"] == [event.__struct_config__.tag for event in events]


def test_silence_ends_an_unfinished_packet() -> None:
    """A length that was damaged upwards holds up the line no longer than SILENCE."""
    host = DebuggerHost()
    good = kd.packet(kd.DEBUG_IO, kd.FIRST | kd.SYNC, kd.print_payload(0, b"text"))
    long = good[:7] + b"\x0f" + good[8:]
    assert [] == host.receive(long, 1.0)
    assert 1.0 + SILENCE == host.wake
    assert [] == host.tick(1.0 + SILENCE)
    assert kd.control(kd.RESEND) == host.take()
    assert host.wake is None
    assert [Began(), Print(processor=0, text="text")] == host.receive(good, 2.0)


def test_packet_swallowed_by_an_unfinished_one_is_found_after_silence() -> None:
    """What came behind a damaged length was not lost with it: after the silence it is taken from what is held."""
    host = DebuggerHost()
    first = kd.packet(kd.DEBUG_IO, kd.FIRST | kd.SYNC, kd.print_payload(0, b"one"))
    second = kd.packet(kd.DEBUG_IO, kd.FIRST ^ 1, kd.print_payload(0, b"two"))
    host.receive(first, 0.0)
    host.take()
    assert [] == host.receive(first[:7] + b"\x0f" + first[8:] + second, 1.0)
    assert [Print(processor=0, text="two")] == host.tick(1.0 + SILENCE)
    assert kd.control(kd.ACKNOWLEDGE, kd.FIRST ^ 1) == host.take()


CONTINUE = kd.packet(kd.MANIPULATE, kd.FIRST, struct.pack("<IHHI4xI36x", 0x3136, 0, 0, 0, 0x00010002))


def asked() -> DebuggerHost:
    """A host that has told a target to continue and does not know yet whether it heard."""
    host = DebuggerHost()
    host.receive(kd.packet(kd.STATE, kd.FIRST | kd.SYNC, kd.symbols_payload(0, b"nt")), 0.0)
    assert kd.control(kd.ACKNOWLEDGE, kd.FIRST) + CONTINUE == host.take()
    return host


def test_unacknowledged_answer_is_not_repeated_blindly() -> None:
    """After one second, two more, four more RESET goes out, not a copy that would acknowledge what the target says next."""
    host = asked()
    for due in (1.0, 3.0, 7.0):
        assert due == host.wake
        host.tick(due)
        assert kd.control(kd.RESET) == host.take()
    host.receive(kd.control(kd.ACKNOWLEDGE, kd.FIRST), 8.0)
    assert host.wake is None


def test_lost_answer_is_given_again_after_a_reset() -> None:
    """A target that still waits says the same again, and is answered."""
    target, host, events = simulate([Do("print", 0, b"on\n")], to_target=Line([Fault("lose", 1)]))
    assert target.done
    assert [b"on\n"] == texts(events) == target.acknowledged
    assert 1 == host.counts.resets


def test_copy_of_a_question_gets_no_second_answer() -> None:
    """The target may have gone on since; the clock decides what else to do."""
    host = asked()
    for sync in (kd.SYNC, kd.SYNC, 0):
        assert [] == host.receive(kd.packet(kd.STATE, kd.FIRST | sync, kd.symbols_payload(0, b"nt")), 0.1)
        assert kd.control(kd.ACKNOWLEDGE, kd.FIRST) == host.take()
    assert host.wake is not None


def test_stale_answer_acknowledges_a_print_that_was_lost() -> None:
    """What the double does with a copy that the line makes, as the published kdcom does: why the host makes none."""
    target, _host, events = simulate(
        [Do("print", 0, b"lost\n"), Do("print", 0, b"next\n")],
        to_host=Line([Fault("lose", 2)]),
        to_target=Line([Fault("repeat", 1)]),
    )
    assert [b"lost\n", b"next\n"] == target.acknowledged
    assert [b"next\n"] == texts(events)


def test_answer_is_sent_again_when_asked_for() -> None:
    """RESEND from a target that waits for its answer brings it at once."""
    host = asked()
    host.receive(kd.control(kd.RESEND), 0.1)
    assert CONTINUE == host.take()


def test_reset_is_repeated_while_an_answer_is_due() -> None:
    """A target that waits for an answer says nothing of its own, so the RESET to it is repeated by the clock."""
    host = asked()
    host.receive(kd.control(kd.RESET), 0.1)
    assert kd.control(kd.RESET) == host.take()
    host.tick(1.0)
    assert kd.control(kd.RESET) == host.take()
    host.receive(kd.control(kd.RESET), 1.1)
    again = host.receive(kd.packet(kd.STATE, kd.FIRST, kd.symbols_payload(0, b"nt")), 1.1)
    assert [] == again
    assert kd.control(kd.ACKNOWLEDGE, kd.FIRST) + CONTINUE == host.take()


def test_number_repeated_with_other_content_begins_anew() -> None:
    """A packet that carries the last one's number and says something else is neither dropped nor believed."""
    host = DebuggerHost()
    host.receive(kd.packet(kd.DEBUG_IO, kd.FIRST | kd.SYNC, kd.print_payload(0, b"one")), 0.0)
    host.take()
    other = kd.print_payload(0, b"two")
    assert [] == host.receive(kd.packet(kd.DEBUG_IO, kd.FIRST, other), 0.1)
    assert kd.control(kd.RESET) == host.take()
    events = host.receive(kd.control(kd.RESET) + kd.packet(kd.DEBUG_IO, kd.FIRST, other), 0.2)
    assert [Print(processor=0, text="two")] == events


def test_unknown_packet_is_acknowledged_the_second_time() -> None:
    """A payload that is not of its type is first taken for damage, then acknowledged, so that no guest is stuck."""
    host = DebuggerHost()
    data = kd.packet(kd.DEBUG_IO, kd.FIRST | kd.SYNC, b"\x99\x32\x00\x00" + bytes(12))
    assert [] == host.receive(data, 0.0)
    assert kd.control(kd.RESEND) == host.take()
    assert [Began(), Aside(what="not understood", api=0x3299)] == host.receive(data, 0.1)
    assert kd.control(kd.ACKNOWLEDGE, kd.FIRST) == host.take()


@pytest.mark.parametrize("processor", [0, 63, BREAK_IN - 1, BREAK_IN, 0xF8, 255, 2047, 65535])
@pytest.mark.parametrize("what", ["symbols", "prompt"])
def test_no_answer_holds_a_break_in_byte(what: str, processor: int) -> None:
    """Whatever processor asks, the answer has no byte that a target could take for a break-in."""
    target, _host, _events = simulate([Do(what, processor, b"x")])  # simulate looks at every byte sent
    assert target.done
    assert not target.broken_in


def script_items() -> st.SearchStrategy[list[Do]]:
    """What happens on a target, each print with a text of its own."""
    whats = st.sampled_from(
        ["print"] * 6 + ["prompt", "symbols", "command", "file", "trace", "request", "boot"]
    )
    cut = st.integers(min_value=0, max_value=35)
    item = st.tuples(
        whats, st.integers(min_value=0, max_value=3), st.integers(min_value=0, max_value=90), cut
    )
    return st.lists(item, min_size=1, max_size=12).map(
        lambda items: [
            Do(what, cpu, b"c" * cut if what == "boot" else b"text %d\n" % number, idle)
            for number, (what, cpu, idle, cut) in enumerate(items)
        ]
    )


def faults() -> st.SearchStrategy[list[Fault]]:
    """A handful of faults on the first things that pass."""
    return st.lists(
        st.builds(
            Fault,
            kind=st.sampled_from(["lose", "repeat", "damage", "cut", "noise", "hold"]),
            at=st.integers(min_value=0, max_value=40),
            bit=st.integers(min_value=0, max_value=2400),
        ),
        max_size=8,
    )


@settings(max_examples=examples(50))
@example(
    script=[Do("print", text=b"text 0\n"), Do("print", text=b"text 1\n")],
    to_host=[Fault("lose", 1, 0), Fault("lose", 4, 0), Fault("repeat", 0, 0)],
    to_target=[Fault("lose", 1, 0), Fault("repeat", 4, 0), Fault("repeat", 4, 0)],
    piece=0,
)
@example(
    script=[Do("print", text=b"text 0\n")],
    to_host=[Fault("lose", 3, 0), Fault("repeat", 1, 0)],
    to_target=[Fault("lose", 0, 0)],
    piece=0,
)
@given(
    script=script_items(),
    to_host=faults(),
    to_target=faults(),
    piece=st.sampled_from([0, 0, 1, 3, 16, 17]),
)
def test_bad_line_costs_nothing(
    script: list[Do], to_host: list[Fault], to_target: list[Fault], piece: int
) -> None:
    """Every print that the target believes acknowledged came exactly once and in order, and the target runs on."""
    target, _host, events = simulate(
        script,
        to_host=Line(to_host, uncopied=TO_HOST),
        to_target=Line(to_target, spared=(4, 5, 8, 9), uncopied=TO_TARGET),
        piece=piece,
    )
    came = texts(events)
    assert target.done
    assert not target.broken_in
    assert target.acknowledged == [text for text in came if text in set(target.acknowledged)]
    assert len(came) == len(set(came))


@settings(max_examples=examples(20))
@given(script=script_items(), to_host=faults(), to_target=faults())
def test_impatient_target_runs_on(script: list[Do], to_host: list[Fault], to_target: list[Fault]) -> None:
    """A target that gives the debugger up at the first timeout still runs, and loses only what it gave up."""
    target, _host, events = simulate(
        script,
        to_host=Line(to_host, uncopied=TO_HOST),
        to_target=Line(to_target, spared=(4, 5, 8, 9), uncopied=TO_TARGET),
        retries=1,
    )
    came = texts(events)
    assert target.done
    assert target.acknowledged == [text for text in came if text in set(target.acknowledged)]
    assert set(came) <= set(target.acknowledged) | set(target.given_up)


ALMOST = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"0" * 40, b"i" * 40, b"b", b"\xaa", kd.control(kd.RESET), kd.control(kd.RESEND)]),
    st.builds(
        kd.packet,
        st.integers(min_value=0, max_value=12),
        st.sampled_from([kd.FIRST, kd.FIRST ^ 1, kd.FIRST | kd.SYNC, 0, 0x62626262]),
        st.one_of(
            st.binary(max_size=300),
            st.builds(kd.symbols_payload, st.integers(min_value=0, max_value=65535), st.binary(max_size=20)),
            st.builds(kd.prompt_payload, st.integers(min_value=0, max_value=65535), st.binary(max_size=20)),
            st.builds(kd.stop_payload, st.integers(min_value=0, max_value=65535)),
        ),
    ),
    st.builds(kd.control, st.integers(min_value=0, max_value=12), st.sampled_from([kd.FIRST, 0x62626262])),
)


@settings(max_examples=examples(50))
@given(chunks=st.lists(ALMOST, max_size=30), gap=st.sampled_from([0.0, 0.1, 1.0]))
def test_any_bytes_in_any_chunks(chunks: list[bytes], gap: float) -> None:
    """Nothing that a guest can send crashes the host, makes it grow, or has it send a break-in byte."""
    host = DebuggerHost()
    now = 0.0
    for chunk in chunks:
        host.receive(chunk, now)
        assert len(host._framer._buffer) < LONGEST_PACKET
        assert len(host._outgoing) <= MOST_OUTGOING
        assert BREAK_IN not in host.take()
        now += gap
        host.tick(now)
        assert BREAK_IN not in host.take()


def test_flood_of_requests_is_bounded() -> None:
    """A target that asks without ever reading its answers fills no memory."""
    host = DebuggerHost()
    data = (
        kd.packet(kd.STATE, kd.FIRST | kd.SYNC, kd.symbols_payload(0, b"nt")) + kd.control(kd.RESEND) * 10000
    )
    host.receive(data, 0.0)
    assert len(host.take()) <= MOST_OUTGOING
