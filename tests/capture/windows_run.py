# SPDX-License-Identifier: MIT
"""Writes the directory of a run on Windows: the host's history, and beside it what each channel kept in its own form.

The run itself is a trace of the checker's notation. It gets the times of a real one: the driver is silent before each
quiesced point, the guest's counter has an origin of its own, and the host has it bracketed where the driver echoes a
nonce. The logs are written by the tests' own encoders: event trace buffers of two processors, the debug port's lines,
packets of the kernel debugger's protocol, JSON lines of the ring.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable
from pathlib import Path

import msgspec
from capture.dbgprint.target import DEBUG_IO, FIRST, SYNC, packet, print_payload
from capture.etl import encoder
from capture.lines import encode_line

from harness.capture.dbgprint import entry
from harness.capture.dbgprint.entry import PortEntry, ReaderAccount
from harness.capture.dbgprint.host import DebuggerHost
from harness.capture.etl import manifest
from harness.capture.etl.field import InType
from harness.contract.notation import trace
from harness.history.driver import DriverRecord, Hello, Mark
from harness.history.record import Channel, Offset, Quiesced, Record
from harness.history.writer import HistoryWriter

MANIFEST = Path(__file__).parents[2] / "guest_drivers" / "hpnotify" / "src" / "hpnotify.man"
(PROVIDER,) = manifest.load(MANIFEST)
IDS = {event.message: event.id for event in PROVIDER.events.values()}

GUEST = "windows-server-2025"
MS = 1_000_000
BEGIN = 500_000 * MS
HZ = 10_000_000
ORIGIN = 77_000_000_000
"""What the guest's counter read when the host's clock read BEGIN."""

HOST_TAKES = 20 * MS
"""What the host takes to see what the driver did, and the driver to see what the host did: more than a bracket spans."""

BUFFER = 8192


def counter(ns: int) -> int:
    """The guest's counter at a time of the host's clock; it runs 20 parts in a million fast."""
    return ORIGIN + (ns - BEGIN) * HZ * 1_000_020 // 1_000_000 // 1_000_000_000


def timed(text: str) -> list[Record]:
    """The records of the trace ``text`` with times, an Offset behind each mark. Driver records have their true time."""
    now = BEGIN
    records: list[Record] = []
    for record in trace(text, run="recorded", guest=GUEST):
        turns = isinstance(record, DriverRecord) != bool(records and isinstance(records[-1], DriverRecord))
        now += record.quiet_ns if isinstance(record, Quiesced) else HOST_TAKES if turns else MS
        record = msgspec.structs.replace(record, host_ns=now)
        if isinstance(record, DriverRecord):
            record = msgspec.structs.replace(record, qpc=counter(now))
            if isinstance(record, Hello):
                record = msgspec.structs.replace(record, hz=HZ)
        records.append(record)
        if isinstance(record, Mark):
            low, now = now - 3 * MS, now + 6 * MS
            offset = Offset(
                domain=f"qpc/{record.boot}",
                hz=HZ,
                qpc=record.qpc,
                low_ns=low,
                high_ns=now,
                nonce=record.nonce,
            )
            records.append(msgspec.structs.replace(offset, host_ns=now))
    return records


def driver_records(records: Iterable[Record]) -> list[DriverRecord]:
    """The driver's records of a run."""
    return [record for record in records if isinstance(record, DriverRecord)]


def host_history(directory: Path, records: Iterable[Record], *, live: str = "") -> Path:
    """Write the run directory with the host's own records; those of the driver only if a channel was ``live``."""
    directory.mkdir()
    with HistoryWriter(directory / "history.jsonl") as writer:
        for record in records:
            if isinstance(record, DriverRecord) and live:
                writer.write(msgspec.structs.replace(record, channel=live), host_ns=record.host_ns + MS // 2)
            elif isinstance(record, Channel) and live:
                writer.write(msgspec.structs.replace(record, name=live), host_ns=record.host_ns)
            elif not isinstance(record, DriverRecord | Channel):
                writer.write(record, host_ns=record.host_ns)
    return directory


def debug_port(file: Path, records: Iterable[DriverRecord]) -> Path:
    """The debug port's stream, with the firmware's words in front."""
    lines = [encode_line(record) for record in records]
    file.write_bytes(b"firmware says hello\r\n" + b"".join(lines))
    return file


def ring(file: Path, records: Iterable[DriverRecord]) -> Path:
    """The ring as ``hpnctl events --json`` prints it."""
    lines = [
        msgspec.json.encode(
            {"channel": "ring"} | {k: v for k, v in msgspec.to_builtins(record).items() if k not in ("n", "host_ns", "channel")}
        )
        for record in records
    ]  # fmt: skip
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def debugger_text(file: Path, records: Iterable[DriverRecord], *, whole: bool = True) -> Path:
    """What the reader of the debugger's port wrote about the packets of a target that prints each record."""
    host = DebuggerHost()
    entries: list[bytes] = []
    number = FIRST | SYNC
    for record in records:
        raw = packet(DEBUG_IO, number, print_payload(record.cpu, encode_line(record)))
        number = (number & ~SYNC) ^ 1
        for event in host.receive(raw, record.host_ns / 1e9):
            entries.append(entry.encode(PortEntry(record.host_ns + MS // 3, event)))
        host.take()
    if whole:
        entries.append(
            entry.encode(PortEntry(BEGIN, ReaderAccount(counts=host.counts, why="the port was closed")))
        )
    file.write_bytes(b"".join(line + b"\n" for line in entries))
    return file


def event_of(record: DriverRecord) -> bytes:
    """The event that the driver writes for a record; the kernel stamps it a moment after the driver read the counter."""
    tag = str(record.__struct_config__.tag)
    described = PROVIDER.find(IDS[tag], 0)
    assert described is not None
    payload = b""
    for field in described.fields:
        value = getattr(record, field.name)
        if field.name == "boot":
            value = int(value, 16)
        if isinstance(value, int):
            payload += struct.pack("<q" if field.in_type == InType.INT64 else "<Q", value)
        else:
            payload += f"{value}\0".encode("utf-16-le" if field.in_type == InType.UTF16 else "utf-8")
    return encoder.event(
        record.qpc + 3, payload, provider=uuid.UUID(bytes_le=PROVIDER.guid), event_id=IDS[tag], process=4
    )


def trace_log(file: Path, records: Iterable[DriverRecord], *, events_lost: int = 0) -> Path:
    """An event trace log whose buffers reached the file processor by processor, the later one first."""
    full: dict[int, list[bytes]] = {0: [], 1: []}
    current: dict[int, list[bytes]] = {0: [], 1: []}
    sequence = 0

    def flush(processor: int) -> None:
        nonlocal sequence
        sequence += 1
        full[processor].append(
            encoder.buffer(*current[processor], processor=processor, sequence=sequence, size=BUFFER)
        )
        current[processor].clear()

    for record in records:
        processor, event = record.seq // 3 % 2, event_of(record)
        if sum(map(len, current[processor])) + len(event) > BUFFER - 72:
            flush(processor)
        current[processor].append(event)
    for processor in full:
        flush(processor)
    head = encoder.header_buffer(size=BUFFER, time=counter(BEGIN), events_lost=events_lost)
    file.write_bytes(head + b"".join(full[1]) + b"".join(full[0]))
    return file


WRITERS = {"debugcon": debug_port, "etw": trace_log, "dbgprint": debugger_text, "ring": ring}
