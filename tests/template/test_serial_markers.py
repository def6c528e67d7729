# SPDX-License-Identifier: MIT
"""Markers on COM1: what a guest writes is found whatever stands around it, and nothing it writes does harm."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.template.serial_markers import (
    LONGEST_LINE,
    MOST_MARKERS,
    DoneMarker,
    FactMarker,
    FailMarker,
    LogMarker,
    LogsMarker,
    SerialMarkerReader,
    StageMarker,
    StepMarker,
    UnreadMarker,
    WarnMarker,
    parse,
)


@pytest.mark.parametrize(
    ("text", "marker"),
    [
        ("stage specialize", StageMarker("specialize")),
        ("step 3 12 winrm", StepMarker(3, 12, "winrm")),
        ("fail 3 12 winrm Access is denied.", FailMarker(3, 12, "winrm", "Access is denied.")),
        ("fail 3 12 winrm", FailMarker(3, 12, "winrm", "no reason given")),
        ("fail 3 12 winrm \x1b[2J\u0000", FailMarker(3, 12, "winrm", "?[2J?")),
        ("fact host-key ssh-ed25519 AAAA", FactMarker("host-key", "ssh-ed25519 AAAA")),
        ("done", DoneMarker()),
        ("warn no Server Manager: Access is \x1b", WarnMarker("no Server Manager: Access is ?")),
        ("warn", None),
        ("log cbs 2 9 H4sIAA==", LogMarker("cbs", 2, 9, "H4sIAA==")),
        ("log cbs 9 2 H4sIAA==", None),
        ("log ../cbs 1 1 H4sI", None),
        ("log cbs 1 1 H4=sI", None),
        ("log cbs 1 1", None),
        ("unread cbs Access is denied.", UnreadMarker("cbs", "Access is denied.")),
        ("unread cbs", UnreadMarker("cbs", "no reason given")),
        ("logs", LogsMarker()),
        ("logs now", None),
        ("done now", None),
        ("step 0 12 winrm", None),
        ("step 13 12 winrm", None),
        ("step 1 1000 winrm", None),
        ("step 1 2 winrm more", None),
        ("step 1 2", None),
        ("step ٣ 12 winrm", None),
        ("stage ../../etc", None),
        ("fact key", None),
        ("fact key caf\u00e9", None),
        ("fact key " + "x" * 1001, None),
        ("", None),
    ],
)
def test_a_marker_is_what_its_grammar_says(text: str, marker: object) -> None:
    """Every kind of marker, and what only looks like one."""
    assert marker == parse(text)


def test_a_marker_is_found_amid_what_firmware_draws() -> None:
    """Escape sequences before a marker, other lines around it and either line end do not hide it."""
    reader = SerialMarkerReader()
    bytes_ = b"\x1b[2J\x1b[01;01HBdsDxe: x\r\n\x1b[2JHPN-MARK stage winpe\r\nnoise\nHPN-MARK done\n"
    assert [StageMarker("winpe"), DoneMarker()] == reader.feed(bytes_)


def test_a_line_that_is_too_long_is_passed_over_whole() -> None:
    """What comes after an oversized line counts again, what is inside does not."""
    reader = SerialMarkerReader()
    assert [] == reader.feed(b"x" * LONGEST_LINE + b"x HPN-MARK done")
    assert [] == reader.feed(b" HPN-MARK done\n")
    assert [DoneMarker()] == reader.feed(b"HPN-MARK done\n")


def test_a_guest_cannot_flood_the_host_with_markers() -> None:
    """Markers past the bound are dropped."""
    reader = SerialMarkerReader()
    assert MOST_MARKERS == len(reader.feed(b"HPN-MARK done\n" * (MOST_MARKERS + 10)))


@settings(max_examples=examples(50))
@given(st.lists(st.binary(max_size=60) | st.just(b"HPN-MARK ") | st.just(b"step 1 2 a\n"), max_size=20))
def test_any_bytes_in_any_pieces_give_the_same_markers(pieces: list[bytes]) -> None:
    """How the bytes are cut changes nothing, and no bytes raise."""
    whole, cut = SerialMarkerReader(), SerialMarkerReader()
    markers = whole.feed(b"".join(pieces) + b"\n")
    assert markers == [marker for piece in [*pieces, b"\n"] for marker in cut.feed(piece)]


@settings(max_examples=examples(50))
@given(st.text(max_size=200))
def test_any_text_is_a_marker_or_none(text: str) -> None:
    """The parser never raises, and what it returns is printable."""
    marker = parse(text)
    assert marker is None or all(
        str(value).isprintable() for value in [getattr(marker, f) for f in marker.__struct_fields__]
    )
