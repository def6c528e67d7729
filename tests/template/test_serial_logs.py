# SPDX-License-Identifier: MIT
"""Logs over COM1: complete ones come out byte for byte, and whatever else a guest sends is refused with a reason."""

from __future__ import annotations

import base64
import gzip
import random

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.template.serial_logs import SENT, SerialLogs
from harness.template.serial_markers import (
    LogMarker,
    LogsMarker,
    SerialMarker,
    SerialMarkerReader,
    UnreadMarker,
)

NAMES = [*SENT, "nosuch"]


def sent(name: str, content: bytes, length: int = 900) -> list[LogMarker]:
    """Return the pieces in which a guest sends a log."""
    text = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    pieces = [text[at : at + length] for at in range(0, len(text), length)]
    return [LogMarker(name, number, len(pieces), piece) for number, piece in enumerate(pieces, 1)]


def taken(markers: list[SerialMarker]) -> SerialLogs:
    """Return what came of these markers."""
    logs = SerialLogs()
    for marker in markers:
        logs.take(marker)
    return logs


@settings(max_examples=examples(30), deadline=None)
@given(st.dictionaries(st.sampled_from(list(SENT)), st.binary(max_size=4000)), st.integers(40, 900))
def test_complete_logs_come_out_whole(contents: dict[str, bytes], length: int) -> None:
    """However long their pieces are."""
    logs = taken([each for name in contents for each in sent(name, contents[name], length // 4 * 4)])
    assert (contents, {}) == (logs.contents, logs.refused)


def test_lines_of_the_wire_are_read() -> None:
    """As the guest writes them, with the firmware's screen between two pieces."""
    content = random.Random(1).randbytes(2000)
    lines = b"\x1b[2J".join(
        f"HPN-MARK log sshd {each.number} {each.count} {each.data}\r\n".encode()
        for each in sent("sshd", content)
    )
    logs = taken(SerialMarkerReader().feed(lines + b"HPN-MARK logs\r\n"))
    assert ({"sshd": content}, True) == (logs.contents, logs.over)


@pytest.mark.parametrize(
    ("markers", "says"),
    [
        (sent("cbs", random.Random(1).randbytes(2000))[1:], "piece 1 of 3 did not come"),
        (sent("cbs", random.Random(1).randbytes(2000))[::2], "piece 2 of 3 did not come"),
        ([*sent("cbs", random.Random(1).randbytes(2000))[:2], LogsMarker()], "it arrived only in part"),
        ([LogMarker("cbs", 1, 1, "AAAA")], "it came damaged: Error -3"),
        ([LogMarker("cbs", 1, 1, "AAA")], "it came damaged: Incorrect padding"),
        (sent("cbs", bytes(SENT["cbs"] + 1)), "more than 1048576 bytes came"),
        ([LogMarker("cbs", 1, 1, base64.b64encode(gzip.compress(b"abc")[:-3]).decode())], "it has no end"),
        ([UnreadMarker("cbs", "Access is denied.")], "Access is denied."),
    ],
)
def test_what_is_not_complete_is_refused(markers: list[SerialMarker], says: str) -> None:
    """Lost and damaged pieces, a log that was cut, and one that would fill the host's memory."""
    logs = taken(markers)
    assert ({}, ["cbs"]) == (logs.contents, list(logs.refused))
    assert says in logs.refused["cbs"]


@settings(max_examples=examples(50))
@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda name, number, more, data: LogMarker(name, number, number + more, data),
                st.sampled_from(NAMES), st.integers(1, 3), st.integers(0, 2), st.text("AH4s/+=", min_size=1, max_size=9),
            ),
            st.sampled_from([each for name in NAMES for each in sent(name, b"log")]),
            st.builds(UnreadMarker, st.sampled_from(NAMES), st.just("no")),
            st.just(LogsMarker()),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_no_markers_raise_or_make_a_log_of_another_name(markers: list[SerialMarker]) -> None:
    """What is taken is of our own table, and nothing is both had and refused."""
    logs = taken(markers)
    assert logs.contents.keys() | logs.refused.keys() <= SENT.keys()
    assert set() == logs.contents.keys() & logs.refused.keys()
