# SPDX-License-Identifier: MIT
"""The driver's own events: its manifest, its records from a log, and what is missing of them."""

from __future__ import annotations

import struct
import typing
import uuid
from pathlib import Path

import msgspec
import pytest

from harness.capture.etl import manifest
from harness.capture.etl.driver import BadEvent, DriverEvents
from harness.capture.etl.field import InType
from harness.capture.etl.manifest import Provider
from harness.capture.etl.record import EventRecord
from harness.capture.etl.tracelog import TraceLog
from harness.history.driver import AnyDriverRecord, DriverRecord
from harness.history.record import Record
from tests.capture.etl import encoder

MANIFEST = Path(__file__).parents[3] / "guest_drivers" / "hpnotify" / "src" / "hpnotify.man"

T = encoder.START
BOOT = 0x00C0FFEE00C0FFEE


@pytest.fixture(scope="module")
def provider() -> Provider:
    """The driver's provider, from the manifest that its build compiles."""
    (found,) = manifest.load(MANIFEST)
    return found


def own_fields(kind: type[DriverRecord]) -> set[str]:
    """The fields of a record that the driver itself writes."""
    return {field.name for field in msgspec.structs.fields(kind)} - {
        field.name for field in msgspec.structs.fields(Record)
    } - {"channel"}  # fmt: skip


def payload(
    provider: Provider, event_id: int, seq: int, **given: int | str
) -> tuple[bytes, dict[str, object]]:
    """A payload as the driver writes it, with the values that it stands for."""
    event = provider.find(event_id, 0)
    assert event is not None
    raw, values = b"", dict[str, object]()
    for number, field in enumerate(event.fields):
        known = {
            "seq": seq,
            "boot": BOOT,
            "driver": "hpnotify",
            "mode": "pnp",
            "call": "etw_reg",
            "what": "dpc",
        } | given
        if field.in_type in (InType.UINT64, InType.INT64):
            value = known.get(field.name, number)
            raw += struct.pack("<q" if field.in_type == InType.INT64 else "<Q", value)
        else:
            value = known.get(field.name, f"text {number}")
            raw += f"{value}\0".encode("utf-16-le" if field.in_type == InType.UTF16 else "ascii")
        values[field.name] = f"{value:016x}" if field.name == "boot" else value
    return raw, values


def test_the_manifest_describes_exactly_the_records(provider: Provider) -> None:
    """Every record type is an event, with the record's fields and no others."""
    described = {event.message: {field.name for field in event.fields} for event in provider.events.values()}
    records = {str(kind.__struct_config__.tag): own_fields(kind) for kind in typing.get_args(AnyDriverRecord)}
    assert described == records


def test_every_record_of_the_driver_is_read_from_a_log(provider: Provider, tmp_path: Path) -> None:
    """One event of each kind gives the record with those values, on channel etw."""
    events, expected = [], []
    for seq, (event_id, _version) in enumerate(sorted(provider.events), start=1):
        raw, values = payload(provider, event_id, seq)
        events.append(
            encoder.event(
                T + seq, raw, provider=uuid.UUID(bytes_le=provider.guid), event_id=event_id, process=4
            )
        )
        event = provider.find(event_id, 0)
        assert event is not None
        expected.append({"k": event.message, "channel": "etw", **values})
    path = tmp_path / "driver.etl"
    path.write_bytes(encoder.header_buffer(size=8192) + encoder.buffer(*events, size=8192))
    with TraceLog(path) as log:
        reader = DriverEvents(provider)
        seen = [msgspec.to_builtins(record) for record in reader.records(log)]
    # Fields with a default are left out of a built-in record when they have it.
    assert [{**want, **one} for one, want in zip(seen, expected, strict=True)] == expected
    assert all(set(one) <= set(want) for one, want in zip(seen, expected, strict=True))
    channel = reader.channel()
    assert (channel.name, channel.records, channel.lost, channel.corrupt, channel.closed) == (
        "etw",
        16,
        0,
        0,
        True,
    )


def mark(provider: Provider, time: int, seq: int, **given: int | str) -> bytes:
    """A mark record as an event."""
    event_id = next(event.id for event in provider.events.values() if event.message == "mark")
    raw, _values = payload(provider, event_id, seq, **given)
    return encoder.event(time, raw, provider=uuid.UUID(bytes_le=provider.guid), event_id=event_id)


def test_equal_times_are_ordered_by_the_drivers_sequence(provider: Provider, tmp_path: Path) -> None:
    """Two processors wrote in the same tick; the lock's order is in the sequence numbers."""
    path = tmp_path / "ties.etl"
    path.write_bytes(
        encoder.header_buffer()
        + encoder.buffer(mark(provider, T + 1, 2), mark(provider, T + 2, 3), processor=0, sequence=1)
        + encoder.buffer(mark(provider, T + 1, 1), mark(provider, T + 2, 4), processor=1, sequence=2)
    )
    with TraceLog(path) as log:
        assert [record.seq for record in DriverEvents(provider).records(log)] == [1, 2, 3, 4]


def test_missing_sequence_numbers_and_the_logs_losses_are_told(provider: Provider, tmp_path: Path) -> None:
    """Gaps count by boot and driver; a log that lost events never closes its channel."""
    path = tmp_path / "gaps.etl"
    path.write_bytes(
        encoder.header_buffer(events_lost=2)
        + encoder.buffer(mark(provider, T + 1, 1), mark(provider, T + 2, 4), encoder.event(T + 3, b"other"))
        + encoder.buffer(mark(provider, T + 3, 1, boot=7), mark(provider, T + 4, 2, boot=7), sequence=2)
    )
    with TraceLog(path) as log:
        reader = DriverEvents(provider)
        assert len(list(reader.records(log))) == 4
    assert (reader.lost, reader.channel().closed) == (2, False)
    assert reader.reasons == ["the session lost 2 events"]


def test_events_that_are_no_records_are_counted(provider: Provider, tmp_path: Path) -> None:
    """An unknown id, a short payload and a name that is none cost themselves only."""
    own = uuid.UUID(bytes_le=provider.guid)
    path = tmp_path / "bad.etl"
    path.write_bytes(
        encoder.header_buffer()
        + encoder.buffer(
            encoder.event(T + 1, b"", provider=own, event_id=999),
            encoder.event(T + 2, b"short", provider=own, event_id=1),
            mark(provider, T + 3, 1, driver="../etc"),
            mark(provider, T + 4, 1),
        )
    )
    with TraceLog(path) as log:
        reader = DriverEvents(provider)
        assert [record.seq for record in reader.records(log)] == [1]
        assert reader.corrupt == 3
        event = next(one for one in log if isinstance(one, EventRecord))
        with pytest.raises(BadEvent, match="event 999 of version 0 is not a record"):
            reader.decode(event)
