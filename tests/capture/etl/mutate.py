# SPDX-License-Identifier: MIT
"""The long form of the fuzz test: mutates logs from a seed and reads each to the end, in one process.

    python -m tests.capture.etl.mutate --executions 1000000 --seed 1

Every execution asks all that can be asked of a log: index, count, descriptions, records in order, decode, show; then it
expands mutated XPRESS and reads a mutated trace message format file, by which it decodes messages. It fails on any
exception that is not a UsageError, on an execution longer than a second, and when memory grows without end.
``--execution N`` repeats one execution of a failed campaign alone.
"""

from __future__ import annotations

import argparse
import random
import resource
import struct
import sys
import tempfile
import time
import uuid
from functools import lru_cache
from pathlib import Path

from harness.capture.etl import compression, context, manifest, tmf, wpp
from harness.capture.etl.compression import CompressionError
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.display import show
from harness.capture.etl.record import MessageRecord
from harness.capture.etl.tracelog import TraceLog
from harness.errors import BadDocument, UsageError
from tests.capture.etl import encoder

LONGEST = 1.0
"""Processor seconds that one execution may take; the logs are a few kilobytes."""

INTERESTING = (0, 1, 2, 7, 8, 0x10, 0x48, 0x50, 0x7F, 0x80, 0xC0, 0xFF, 0x7FFF, 0x8000, 0xC013, 0xFFFF)

PROVIDER = uuid.UUID("0f0e0d0c-0b0a-0908-0706-050403020100")

MANIFEST = f"""<instrumentationManifest xmlns="http://schemas.microsoft.com/win/2004/08/events"><instrumentation><events>
<provider name="Fuzz" guid="{{{PROVIDER}}}"><templates><template tid="t">
<data name="n" inType="win:UInt16"/><data name="raw" inType="win:Binary" length="n"/>
<data name="names" inType="win:UnicodeString" count="n"/><struct name="s" count="n"><data name="p" inType="win:Pointer"/>
<data name="sid" inType="win:SID"/></struct></template></templates>
<events><event value="1" template="t" message="n is %1"/></events></provider></events></instrumentation></instrumentationManifest>"""


OTHER = uuid.UUID("1f1e1d1c-1b1a-1918-1716-151413121110")

INFO = encoder.event_info(
    OTHER,
    3,
    [
        {"name": "n", "in_type": 6},
        {"name": "s", "flags": 5, "in_type": 2, "out_type": 2, "count": 0},
        {"name": "a", "in_type": 4, "map": "m"},
        {"name": "raw", "flags": 2, "in_type": 14, "length": 2},
    ],
    top=2,
    texts={"provider": "Other", "task": "Task", "opcode": "Op", "message": "%1 %2"},
)

FORMATS = f"""{PROVIDER} fuzz // SRC=fuzz.c MJ= MN=
#typev fuzz_c1 10 "%0%!FUNC! %10!d! %11!08x! %12!-5s! %13!p!" // LEVEL=ERROR FUNC=main
{{
a, ItemLong -- 10
b, ItemULong -- 11
c, ItemPWString -- 12
d, ItemPtr -- 13
}}
#typev fuzz_c2 11 "%10!s! %11!s! %12!s!"
{{
x, ItemListByte(Off,On) -- 10
y, ItemHexDump -- 11
z, ItemSid -- 12
}}
"""

ARGUMENTS = struct.pack("<iIH4sQ", 5, 6, 4, "ab".encode("utf-16-le"), 7) + bytes(20)


@lru_cache(maxsize=1)
def packed() -> bytes:
    """Compressed bytes with matches of every kind of length."""
    return encoder.xpress(b"abc" * 100 + bytes(70_000) + bytes(range(256)) * 3)


@lru_cache(maxsize=1)
def seeds() -> tuple[bytes, ...]:
    """Small logs that between them hold every header type and every way to describe a payload."""
    t = encoder.START
    described = [
        encoder.described("text", 1),
        encoder.described("ansi", 2, 35),
        *(encoder.described(f"n{kind}", kind) for kind in range(3, 22) if kind != 16),
        encoder.described("counted", 22),
        encoder.described("fixed", 8 | 0x20, tail=struct.pack("<H", 2)),
        encoder.described("varying", 4 | 0x40),
        encoder.described("group", 24 | 0x40, 2) + encoder.described("a", 4) + encoder.described("b", 2),
        encoder.described("own", 4 | 0x60, tail=struct.pack("<H", 1) + b"\7"),
    ]
    payload = "text\0".encode("utf-16-le") + b"ansi\0" + bytes(120) + bytes([1, 1]) + bytes(40)
    items = [(12, encoder.traits("Fuzz")), (11, encoder.schema("Everything", *described))]
    by_manifest = (
        struct.pack("<H", 1) + b"x" + "name\0".encode("utf-16-le") + bytes(8) + bytes([1, 1]) + bytes(10)
    )
    headers = encoder.buffer(
        encoder.event(t + 1, by_manifest, provider=PROVIDER),
        encoder.system(t + 2, 0x140A, bytes(56) + "C:\\x.sys\0".encode("utf-16-le"), version=3),
        encoder.perf(t + 3, 0x0A20, struct.pack("<II", 77, 0) + b"message\0"),
        encoder.system(t + 4, 0x0524, header_type=4),
        encoder.classic(t + 5, PROVIDER, 1, b"classic"),
        encoder.instance(t + 6, PROVIDER, 1, b"instance"),
        encoder.message(t + 7, 1, b"wpp", guid=PROVIDER),
        encoder.timed(t + 8),
        encoder.failed(),
        encoder.wnode(t + 9),
        processor=1,
    )
    pair = encoder.buffer(encoder.event(t + 2, b"a"), encoder.event(t + 4, b"b"), processor=2, sequence=2)
    described = encoder.buffer(
        encoder.event(t + 1, struct.pack("<HB2s", 1, 2, b"xy"), provider=OTHER, event_id=3),
        encoder.classic(t + 2, encoder.METADATA, 32, INFO),
        encoder.classic(t + 3, encoder.METADATA, 33, encoder.map_info(OTHER, "m", {2: "two"})),
        *encoder.manifest_chunks(t + 4, PROVIDER, MANIFEST.encode(), 500),
        size=4096,
    )
    return (
        encoder.header_buffer() + headers + pair,
        encoder.header_buffer() + described,
        encoder.header_buffer() + encoder.compressed(described),
        encoder.header_buffer()
        + encoder.buffer(encoder.event(t + 1, payload, items=items), size=1024)
        + pair,
        encoder.header_buffer(mode=2, clock=3, pointer=4) + pair,
        encoder.header_buffer(mode=0x04000001) + encoder.compressed(headers) + encoder.compressed(pair) * 2,
    )


def mutated(given: tuple[bytes, ...], seed: int) -> bytes:
    """Return one of the seeds with a few bytes changed; the same seed gives the same bytes."""
    choose = random.Random(seed)
    raw = bytearray(choose.choice(given))
    for _ in range(choose.choice((1, 1, 2, 3, 5, 9))):
        # Half of the changes go where structure is dense: the heads of buffers and of their first records.
        place = choose.randrange(len(raw)) if choose.random() < 0.5 else min(
            choose.randrange(0, len(raw), 1024) + choose.randrange(400), len(raw) - 1
        )  # fmt: skip
        kind = choose.randrange(8)
        if kind <= 1:
            raw[place] ^= 1 << choose.randrange(8)
        elif kind == 2:
            raw[place] = choose.randrange(256)
        elif kind in (3, 4):
            size = choose.choice((1, 2, 2, 4))
            value = choose.choice(INTERESTING) if kind == 3 else choose.randrange(1 << 16)
            raw[place : place + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        elif kind == 5:
            del raw[place : place + choose.choice((1, 2, 4, 8, 100))]
        elif kind == 6:
            size = choose.choice((8, 16, 80, 1024))
            raw[place:place] = raw[choose.randrange(len(raw)) :][:size]
        else:
            del raw[place:]
        if not raw:
            raw = bytearray(1)
    return bytes(raw)


@lru_cache(maxsize=1)
def _providers() -> tuple[manifest.Provider, ...]:
    return tuple(manifest.parse(MANIFEST.encode(), "fuzz.man"))


def read_everything(path: Path) -> int:
    """Ask a log all that can be asked; return the number of records. Only a UsageError may refuse it."""
    decoder = Decoder(_providers())
    try:
        log = TraceLog(path)
    except UsageError:
        return 0
    with log:
        decoder.learn(log)
        counts = log.tally()
        latest = None
        seen = late = 0
        for record in log:
            seen += 1
            if latest is not None and record.time < latest:
                late += 1
            latest = record.time if latest is None else max(latest, record.time)
            log.session.clock.nanoseconds(record.time)
            context.of(record)
            decoded = decoder.decode(record)
            assert decoder.source(record) == (decoded.how, decoded.reason)
            for value, field in zip(decoded.values.values(), decoded.fields, strict=False):
                show(value, field)
        account = log.account
        assert account.records == seen
        assert account.late == late
        # Messages are checked more closely when they are decoded than when they are counted.
        assert seen <= sum(counts.values())
        account.reasons()
    return seen


def expand_and_format(seed: int) -> None:
    """Expand mutated XPRESS, read a mutated format file and decode mutated arguments by it."""
    raw = mutated((packed(),), seed)
    try:
        assert len(compression.expand(raw, 71_068)) == 71_068
    except CompressionError as error:
        assert len(error.expanded) <= 71_068 + 8192 + 32  # noqa: PT017
    compression.foreign(raw)
    try:
        modules = tmf.parse(mutated((FORMATS.encode(),), seed), "fuzz.tmf")
    except BadDocument:
        return
    payload = mutated((ARGUMENTS,), seed)
    record = MessageRecord(0, payload, 0, len(payload), 1, 0, 0, bytes(16), 0, 0, False, 0, 0, 0)
    for module in modules:
        for message in module.messages.values():
            values, _problem = wpp.layout(module, message).read(payload, 8)
            wpp.text(module, message, record, values)


def main() -> int:
    """Run a campaign and print what it did."""
    parser = argparse.ArgumentParser(prog="python -m tests.capture.etl.mutate")
    parser.add_argument("--executions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--execution", type=int, help="only this one")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after this long")
    arguments = parser.parse_args()
    numbers = range(arguments.executions) if arguments.execution is None else [arguments.execution]
    began = time.monotonic()
    done = records = refused = 0
    slowest, slowest_number = 0.0, 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mutated.etl"
        for number in numbers:
            path.write_bytes(mutated(seeds(), arguments.seed << 40 | number))
            started = time.process_time()
            try:
                found = read_everything(path)
                expand_and_format(arguments.seed << 40 | number)
            except Exception:
                print(f"execution {number} of seed {arguments.seed} failed", file=sys.stderr)
                raise
            took = time.process_time() - started
            slowest, slowest_number = max((slowest, slowest_number), (took, number))
            if took > LONGEST:
                print(f"execution {number} of seed {arguments.seed} took {took:.2f} s", file=sys.stderr)
                return 1
            done += 1
            records += found
            refused += not found
            if time.monotonic() - began > arguments.seconds:
                break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{done} executions in {time.monotonic() - began:.0f} s: {records} records, {refused} logs without any, "
        f"slowest {slowest * 1000:.0f} ms (execution {slowest_number}), peak memory {peak} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
