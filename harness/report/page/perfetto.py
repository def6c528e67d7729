# SPDX-License-Identifier: MIT
"""The timeline of a report as a Perfetto trace, for https://ui.perfetto.dev and its trace processor.

Each lane of the page is a track, in the page's order. Spans are slices, nested where one lies in the other, records are instants with the record's number, and
each known order is a flow between the two records. Times are the page's, from the first record of the trace.

The trace is a sequence of TrackEvents (Perfetto: protos/perfetto/trace/track_event/track_event.proto). Of the wire format
it takes two kinds of fields, numbers and bytes (Protocol Buffers: Encoding), which are written here.
"""

from __future__ import annotations

import gzip
from base64 import b64decode
from collections import defaultdict
from itertools import accumulate
from typing import Any

import msgspec

# Field numbers: TracePacket, TrackDescriptor, TrackEvent, DebugAnnotation.
PACKET = 1
TIMESTAMP, SEQUENCE, EVENT, FLAGS, DESCRIPTOR = 8, 10, 11, 13, 60
TRACK_UUID, TRACK_NAME, PARENT, CHILDREN_ORDER, SIBLING_RANK = 1, 2, 5, 11, 12
ANNOTATION, TYPE, EVENT_TRACK, CATEGORY, NAME, FLOW, FLOW_END = 4, 9, 11, 22, 23, 47, 48
ANNOTATION_NAME, ANNOTATION_NUMBER, ANNOTATION_TEXT = 10, 4, 6
SLICE_BEGIN, SLICE_END, INSTANT = 1, 2, 3
EXPLICIT = 3
"""Tracks below each other in the order of their ranks."""

INCREMENTAL_STATE_CLEARED = 1
OWN_SEQUENCE = 1
ROOT = 1
MASK = (1 << 64) - 1


def perfetto_trace(document: dict[str, Any]) -> bytes:
    """Return the trace of a report's document, as :func:`~harness.report.page.document.report_document` makes it."""
    told = msgspec.to_builtins(document)
    columns = told["records"]
    numbers, times = list(accumulate(columns["n"])), list(accumulate(columns["t"]))
    spans = told["spans"]
    zero = min([*times, *(span[1] for span in spans)], default=0)
    name = f"{told['run']} on {told['guest']}: {told['verdict']}"
    packets = [_descriptor(ROOT, name, order=EXPLICIT, first=True)]
    packets += [
        _descriptor(ROOT + 1 + place, lane["title"], parent=ROOT, rank=place)
        for place, lane in enumerate(told["lanes"])
    ]
    begins, ends = defaultdict(list), defaultdict(list)
    for number, (before, after, _) in enumerate(told["order"], 1):
        begins[before].append(number)
        ends[after].append(number)
    events: list[tuple[int, int, int, bytes]] = []
    open_: dict[int, list[list[int]]] = defaultdict(list)
    beside: dict[tuple[int, int], int] = {}
    for lane, begin, last_end, first, _, label, look in sorted(
        spans, key=lambda span: (span[0], span[1], -span[2])
    ):
        end = max(begin, last_end)
        row = _row(open_[lane], begin, end)
        track = ROOT + 1 + lane
        if row:
            track = beside.setdefault((lane, row), ROOT + 1 + len(told["lanes"]) + len(beside))
            if track == ROOT + len(told["lanes"]) + len(beside):
                packets.append(_descriptor(track, told["lanes"][lane]["title"], parent=ROOT + 1 + lane))
        said = _text(NAME, label) + _text(CATEGORY, look) + _about(first)
        # Of one moment: what ended before, then what begins, the outer first; what lasted no time ends at once.
        events.append((begin - zero, 1, len(events), _event(begin - zero, track, SLICE_BEGIN, said)))
        place = (1, len(events)) if end == begin else (0, -len(events))
        events.append((end - zero, *place, _event(end - zero, track, SLICE_END)))
    texts = (
        row for piece in told["pieces"] for row in msgspec.json.decode(gzip.decompress(b64decode(piece)))
    )
    for row, (number, at, (sentence, _)) in enumerate(zip(numbers, times, texts, strict=True)):
        said = _text(NAME, sentence) + _text(CATEGORY, told["kinds"][columns["kind"][row]]) + _about(number)
        said += b"".join(_fixed(FLOW, one) for one in begins[number]) + b"".join(
            _fixed(FLOW_END, one) for one in ends[number]
        )
        track = ROOT + 1 + columns["lane"][row]
        events.append((at - zero, 1, len(events), _event(at - zero, track, INSTANT, said)))
    return b"".join(
        _bytes(PACKET, packet)
        for packet in (*packets, *(event for *_, event in sorted(events, key=lambda one: one[:3])))
    )


def _row(open_: list[list[int]], begin: int, end: int) -> int:
    """Return in which track of a lane a span goes: the first in which it lies inside what is open there, or after it."""
    for row in range(len(open_) + 1):
        if row == len(open_):
            open_.append([])
        ends = open_[row]
        while ends and ends[-1] <= begin:
            ends.pop()
        if not ends or end <= ends[-1]:
            ends.append(end)
            return row
    raise AssertionError("a new track takes every span")


def _about(number: int) -> bytes:
    return (
        _bytes(ANNOTATION, _text(ANNOTATION_NAME, "record") + _number(ANNOTATION_NUMBER, number))
        if number
        else b""
    )


def _descriptor(
    uuid: int, name: str, *, parent: int = 0, order: int = 0, rank: int = 0, first: bool = False
) -> bytes:
    told = _number(TRACK_UUID, uuid) + _text(TRACK_NAME, name)
    told += _number(PARENT, parent) if parent else b""
    told += _number(CHILDREN_ORDER, order) if order else b""
    told += _number(SIBLING_RANK, rank) if rank else b""
    return (
        _number(SEQUENCE, OWN_SEQUENCE)
        + (_number(FLAGS, INCREMENTAL_STATE_CLEARED) if first else b"")
        + _bytes(DESCRIPTOR, told)
    )


def _event(at: int, track: int, kind: int, said: bytes = b"") -> bytes:
    return (
        _number(TIMESTAMP, at)
        + _number(SEQUENCE, OWN_SEQUENCE)
        + _bytes(EVENT, _number(TYPE, kind) + _number(EVENT_TRACK, track) + said)
    )


def _varint(value: int) -> bytes:
    value &= MASK
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _fixed(field: int, value: int) -> bytes:
    return _varint(field << 3 | 1) + value.to_bytes(8, "little")


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
