# SPDX-License-Identifier: MIT
"""The console: crash lines become records however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.capture.live.console import LONGEST_LINE, ConsoleWatch

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
