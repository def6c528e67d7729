# SPDX-License-Identifier: MIT
"""The Perfetto trace of a report, read back with Perfetto's own protobufs: lanes, nesting, flows and times."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from report.page.test_document import NEWEST, kept_document, rows

from harness.cli.main import main
from harness.report.page.perfetto import perfetto_trace

pb: Any = pytest.importorskip(
    "perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="the extra 'dev' brings perfetto"
)

RUNS = sorted(path.parent.name for path in NEWEST.glob("*/history.jsonl"))


def trace_of(told: dict[str, Any]) -> Any:
    """Return the trace of a document as Perfetto reads it."""
    return pb.Trace.FromString(perfetto_trace(told))


@cache
def trace_of_run(run: str) -> Any:
    """Return that of a kept run, which nobody changes."""
    return trace_of(kept_document(run))


def events(trace: Any) -> list[Any]:
    """Return the packets with an event, in the order in which they stand."""
    return [packet for packet in trace.packet if packet.HasField("track_event")]


@pytest.mark.parametrize("run", RUNS)
def test_lanes_are_tracks_in_their_order(run: str) -> None:
    """Below one track that is called after the run; no field is one that Perfetto does not know."""
    told, trace = kept_document(run), trace_of_run(run)
    tracks = [packet.track_descriptor for packet in trace.packet if packet.HasField("track_descriptor")]
    lanes = sorted(
        (track for track in tracks if track.parent_uuid == 1), key=lambda track: track.sibling_order_rank
    )
    assert [lane["title"] for lane in told["lanes"]] == [track.name for track in lanes]
    assert pb.TrackDescriptor.EXPLICIT == tracks[0].child_ordering
    assert len(tracks) == len({track.uuid for track in tracks})
    assert {event.track_event.track_uuid for event in events(trace)} <= {track.uuid for track in tracks}


@pytest.mark.parametrize("run", RUNS)
def test_slices_are_the_spans_and_nest(run: str) -> None:
    """On each track an end closes what was opened last, no time runs backwards, and every span is there with its length."""
    told = kept_document(run)
    stacks: dict[int, list[tuple[str, int]]] = defaultdict(list)
    found, last = [], 0
    for packet in events(trace_of_run(run)):
        event = packet.track_event
        assert packet.timestamp >= last
        last = packet.timestamp
        if event.type == event.TYPE_SLICE_BEGIN:
            stacks[event.track_uuid].append((event.name, packet.timestamp))
        elif event.type == event.TYPE_SLICE_END:
            name, begin = stacks[event.track_uuid].pop()
            found.append((name, packet.timestamp - begin))
    assert [] == [stack for stack in stacks.values() if stack]
    assert sorted((span[5], max(0, span[2] - span[1])) for span in told["spans"]) == sorted(found)


@pytest.mark.parametrize("run", RUNS)
def test_records_are_instants_and_orders_are_flows(run: str) -> None:
    """Each record has its sentence, its number and its place; each known order leads from one record to the other."""
    told = kept_document(run)
    zero = min([at for _, at, *_ in rows(told)] + [span[1] for span in told["spans"]])
    begun: dict[int, int] = {}
    ended: dict[int, int] = {}
    found = []
    for packet in events(trace_of_run(run)):
        event = packet.track_event
        if event.type == event.TYPE_INSTANT:
            (number,) = (one.int_value for one in event.debug_annotations if one.name == "record")
            found.append((number, packet.timestamp + zero, event.name))
            begun |= dict.fromkeys(event.flow_ids, number)
            ended |= dict.fromkeys(event.terminating_flow_ids, number)
    assert sorted((number, at, sentence) for number, at, _, sentence in rows(told)) == sorted(found)
    assert {(before, after) for before, after, _ in told["order"]} == {
        (begun[flow], ended[flow]) for flow in begun
    }
    assert begun.keys() == ended.keys()


def test_the_command_writes_it(tmp_path: Path) -> None:
    """Beside the report."""
    trace = tmp_path / "run.perfetto-trace"
    assert 0 == main(
        [
            "report",
            str(NEWEST / "twin-violated"),
            "-o",
            str(tmp_path / "report.html"),
            "--perfetto",
            str(trace),
        ]
    )
    assert pb.Trace.FromString(trace.read_bytes()).packet
