# SPDX-License-Identifier: MIT
"""The console: crash lines become records however the stream is cut."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.capture.live.console import LARGEST_RECORD, LONGEST_LINE, ConsoleWatch
from harness.history.record import Console

PANIC = b"[    1.0] Kernel panic - not syncing: sysrq triggered crash\r\n"


@given(size=st.integers(min_value=1, max_value=80))
def test_panic_is_seen_in_any_pieces(size: int) -> None:
    """A panic line is one crash record however it is cut."""
    watch = ConsoleWatch()
    stream = b"booting\n" + PANIC + b"more\n"
    found = [r for at in range(0, len(stream), size) for r in watch.feed(stream[at : at + size])]
    assert [(r.severity, r.text) for r in found] == [("crash", PANIC.decode().strip())]
    assert watch.last == "more"
    assert watch.bytes == len(stream)


@given(data=st.binary(max_size=4000))
def test_any_bytes_are_taken(data: bytes) -> None:
    """Any bytes are taken without an exception and without keeping more than a line."""
    watch = ConsoleWatch()
    list(watch.feed(data))
    assert len(watch._rest) <= LONGEST_LINE


def test_endless_line_is_looked_at_once() -> None:
    """A line without end is judged by its beginning, once."""
    watch = ConsoleWatch()
    found = list(watch.feed(b"BUG: " + b"x" * 5000)) + list(watch.feed(b"BUG: \nquiet\n"))
    assert len(found) == 1
    assert [] == list(watch.settle())


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("[    6.281311] BUG kmalloc-8 (Tainted: G           OE     ): Right Redzone overwritten", "crash"),
        ("BUG task_struct (Not tainted): Poison overwritten", "crash"),
        ("[    1.5] kernel BUG at mm/slub.c:4321!", "crash"),
        ("[    2.0] WARNING: CPU: 1 PID: 7 at kernel/cpu.c:11 f+0x1/0x2", "warning"),
        ("[   30.1] INFO: task init:1 blocked for more than 10 seconds.", "warning"),
        ("[    3.0] hpnotify: trouble: 2 allocations were never freed", "warning"),
    ],
)
def test_line_is_judged(line: str, severity: str) -> None:
    """Each kind of complaint that a kernel makes becomes a record of its severity."""
    assert [severity] == [record.severity for record in ConsoleWatch().feed(line.encode() + b"\n")]


@pytest.mark.parametrize("line", ["DEBUG things (all): fine", "[    1.0] PNPBUG x (y)", "hpnotify: started"])
def test_harmless_line_is_left(line: str) -> None:
    """A line that only resembles a complaint is no record."""
    assert [] == list(ConsoleWatch().feed(line.encode() + b"\n"))


LINES = st.sampled_from(
    [
        "BUG: one",
        "Oops: two",
        "hpnotify: trouble: three",
        "WARNING: CPU: 1",
        "quiet",
        "",
        "\x01BUG: \x1b[31m",
        "BUG: " + "x" * 3000,
    ]
)


@given(
    lines=st.lists(LINES, max_size=40),
    cuts=st.lists(st.integers(1, 60), min_size=1),
    pauses=st.sets(st.integers(0, 200)),
)
def test_lines_share_records_and_none_is_lost(lines: list[str], cuts: list[int], pauses: set[int]) -> None:
    """However the stream is cut and wherever it pauses: every line that matters is told once and in order, the first crash at once."""
    data = "".join(f"{line}\n" for line in lines).encode()
    watch = ConsoleWatch()
    told: list[Console] = []
    place = step = 0
    while place < len(data):
        size = cuts[step % len(cuts)]
        told += watch.feed(data[place : place + size])
        place += size
        if step in pauses:
            told += watch.settle()
        step += 1
        whole = data[:place].rpartition(b"\n")[0].decode().split("\n")
        crashed = any(_severity(line) == "crash" for line in whole)
        assert crashed <= any(one.severity == "crash" for one in told)
    told += watch.settle()
    expected = [line for line in map(_shown, lines) if _severity(line)]
    assert expected == [line for one in told for line in one.text.split("\n")]
    worst = [
        "crash" if any(_severity(line) == "crash" for line in one.text.split("\n")) else "warning"
        for one in told
    ]
    assert worst == [one.severity for one in told]
    assert all(len(one.text) <= LARGEST_RECORD for one in told)


def _shown(line: str) -> str:
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\ufffd", line[:LONGEST_LINE].strip())


def _severity(line: str) -> str:
    """What a line alone is taken for."""
    return next((one.severity for one in ConsoleWatch().feed(line.encode() + b"\n")), "")


def test_a_flood_of_short_lines_grows_the_history_little() -> None:
    """The records of a console that says nothing but short warnings take little more than the console itself."""
    data = b"BUG: x\n" * 40_000
    watch = ConsoleWatch()
    told = [one for at in range(0, len(data), 1 << 16) for one in watch.feed(data[at : at + (1 << 16)])]
    told += watch.settle()
    assert sum(len(msgspec.json.encode(one)) + 1 for one in told) < 1.2 * len(data)


def test_a_pause_ends_what_lines_share() -> None:
    """A line after a pause is a record at once, whatever was held back before."""
    watch = ConsoleWatch()
    assert ["BUG: 1"] == [one.text for one in watch.feed(b"BUG: 1\nBUG: 2\nBUG: 3\n")]
    assert ["BUG: 2\nBUG: 3"] == [one.text for one in watch.settle()]
    assert ([], False) == ([*watch.settle()], watch.waits)
    assert ["BUG: 4"] == [one.text for one in watch.feed(b"BUG: 4\n")]
