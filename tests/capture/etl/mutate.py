# SPDX-License-Identifier: MIT
"""The long form of the fuzz tests: mutates what a parser reads, from a seed, and has it read to the end, in one process.

    python -m tests.capture.etl.mutate --parser log --executions 1000000 --seed 1

The parsers: ``log`` asks all that can be asked of a log (index, count, descriptions, records in order, decode, show);
``compiled`` has the compiled reader, built with AddressSanitizer and UndefinedBehaviorSanitizer, print and count the same
logs and compares with Python's lines and counts; ``xpress`` expands in Python and in C and compares; ``tmf`` reads trace message format files
and decodes messages by them; ``manifest`` reads manifests; ``description`` reads what logs say of their own events, and payloads
by it. Each fails on any exception that is not the documented one, on an execution longer than a second of processor time,
and when memory grows without end. ``--execution N`` repeats one execution of a failed campaign alone.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from harness.capture.etl import compression, context, event_info, manifest, tmf, tracelogging, wpp
from harness.capture.etl.account import LogAccount
from harness.capture.etl.compression import CompressionError
from harness.capture.etl.counts import RecordCounts
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.display import show
from harness.capture.etl.fast.library import SOURCES, Library
from harness.capture.etl.layout import Layout
from harness.capture.etl.record import MessageRecord
from harness.capture.etl.selection import Selection
from harness.capture.etl.tracelog import TraceLog
from harness.cli import etl_fast
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


IMAGE_ID = uuid.UUID("b3e675d7-2554-4f18-830b-2762732560de")

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

MAP = encoder.map_info(OTHER, "m", {2: "two", 1 << 31: "high"})

SCHEMA = encoder.schema(
    "Everything",
    encoder.described("text", 1),
    encoder.described("n", 8, 4),
    encoder.described("fixed", 8 | 0x20, tail=struct.pack("<H", 2)),
    encoder.described("varying", 4 | 0x40),
    encoder.described("group", 24 | 0x40, 2) + encoder.described("a", 4) + encoder.described("b", 2),
)

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
    plain = [
        *(encoder.described(f"n{kind}", kind) for kind in (*range(3, 11), 13, 15, 17, 18, 19, 20, 21)),
        encoder.described("status", 8, 15),
        encoder.described("address", 8, 8),
        encoder.described("port", 6, 7),
        encoder.described("letter", 4, 2),
        encoder.described("fixed", 8 | 0x20, 4, tail=struct.pack("<H", 2)),
        encoder.described("counted", 22),
        encoder.described("bytes", 14),
        encoder.described("name", 1),
        encoder.described("ansi", 2),
    ]
    values = struct.pack("<bBhHiIqQI", -1, 2, -3, 4, -5, 6, -7, 8, 1) + bytes(range(16))
    values += struct.pack("<q8H", 133_000_000_000_000_000, *range(1, 9)) + bytes(
        [1, 1, *bytes(5), 5, *bytes(4)]
    )
    values += struct.pack("<IQIIHBII", 0xAB, 0xCD, 0xC000009A, 0x0100007F, 0x5000, 65, 1, 2)
    values += b"\2\0a\0" + b"\3\0abc" + "name\0".encode("utf-16-le") + b"ansi\0"
    related = [
        (1, bytes(range(16))),
        (3, struct.pack("<I", 2)),
        (6, struct.pack("<QQQ", 1, 2, 3)),
        (13, bytes(8)),
    ]
    process = (
        struct.pack("<QIIIiQI", 1, 2, 3, 4, -5, 6, 0)
        + struct.pack("<QQ", 9, 0)
        + bytes([1, 1, *bytes(5), 5, *bytes(4)])
    )
    process += b"System\0" + "cmd\0".encode("utf-16-le") * 2 + bytes(10)
    image = struct.pack("<QQIIIIQIIII", 1, 2, 3, 4, 5, 0, 6, 0, 0, 0, 0) + "C:\\x.sys\0".encode("utf-16-le")
    compiled = encoder.buffer(
        encoder.event(
            t + 1, values, items=[(12, encoder.traits("Fuzz")), (11, encoder.schema("Plain", *plain))]
        ),
        encoder.event(t + 1, struct.pack("<HBH", 1, 3, 2), provider=OTHER, event_id=3, items=related),
        encoder.system(t + 2, 0x0301, process, version=4),
        encoder.system(t + 2, 0x140A, image, version=2),
        encoder.perf(t + 3, 0x1820, struct.pack("<QIIQQ", t + 2, 8, 4, 0xFFFF, 0xEEEE)),
        encoder.perf(t + 3, 0x0F2E, struct.pack("<QIHBB", 0xFFFF, 4, 1, 2, 3)),
        encoder.classic(t + 3, IMAGE_ID, 0, struct.pack("<QQII", 1, 2, 3, 4) + "x.sys\0".encode("utf-16-le")),
        encoder.classic(t + 3, encoder.METADATA, 32, INFO),
        size=4096,
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
        encoder.header_buffer() + compiled + pair,
        encoder.header_buffer() + compiled + headers,
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
        account.reasons()
    return seen


def printed(
    path: Path, library: Library | None, selection: Selection
) -> tuple[str, LogAccount, Decoder] | str:
    """Return the lines of a log, its account and what the decoder learnt; why it was refused if it was."""
    decoder = Decoder(_providers())
    try:
        log = TraceLog(path, compression.expand if library is None else library.expand)
    except UsageError as error:
        return str(error)
    with log:
        decoder.learn(log)
        lines = etl_fast.text_lines(
            library, log, decoder, selection, since=None, until=None, local=False, progress=None
        )
        return "\n".join(lines), log.account, decoder


def counted(path: Path, library: Library | None) -> RecordCounts | str:
    """Return the counts of a log; why it was refused if it was."""
    decoder = Decoder(_providers())
    try:
        log = TraceLog(path, compression.expand if library is None else library.expand)
    except UsageError as error:
        return str(error)
    with log:
        decoder.learn(log)
        return etl_fast.summarize(
            library, log, decoder, lambda record: (*decoder.name(record), *decoder.source(record)), None
        )


def assert_same(path: Path, library: Library, selection: Selection = Selection()) -> int:  # noqa: B008 (never changed)
    """Read a log in Python and with the compiled reader; return the number of records, the same in both."""
    python, compiled = printed(path, None, selection), printed(path, library, selection)
    if isinstance(python, str) or isinstance(compiled, str):
        assert python == compiled
        return 0
    assert python[0] == compiled[0]
    assert python[1] == compiled[1]
    assert (python[2].symbols, python[2].formatless) == (compiled[2].symbols, compiled[2].formatless)
    one, other = counted(path, None), counted(path, library)
    assert isinstance(one, RecordCounts)
    assert isinstance(other, RecordCounts)
    # In the order of the first: ties in a table are in that order.
    assert list(one.counts.items()) == list(other.counts.items())
    assert (list(one.kinds.items()), one.processors) == (list(other.kinds.items()), other.processors)
    return python[1].records


def expanded(expand: Callable[[bytes, int], bytes], raw: bytes, size: int) -> tuple[bytes, str]:
    """Return what came out, and why it is not all."""
    try:
        made = expand(raw, size)
    except CompressionError as error:
        return error.expanded, str(error)
    assert len(made) == size
    return made, ""


SIZES = (71_068, 71_068, 0, 1, 512, 70_000, 200_000)
"""What a mutated header may say that the bytes expand to; the first is right."""


def read_formats(raw: bytes, payload: bytes) -> int:
    """Read a trace message format file and decode one payload by all its messages; return how many there are."""
    try:
        modules = tmf.parse(raw, "fuzz.tmf")
    except BadDocument:
        return 0
    record = MessageRecord(0, payload, 0, len(payload), 1, 0, 0, bytes(16), 0, False, 0, 0, 0)
    found = 0
    for module in modules:
        for message in module.messages.values():
            values, _problem = wpp.layout(module, message).read(payload, 8)
            wpp.text(module, message, record, values)
            found += 1
    return found


def read_manifest(raw: bytes, payload: bytes) -> int:
    """Read a manifest and a payload by each of its events; return how many there are."""
    try:
        providers = manifest.parse(raw, "fuzz.man")
    except BadDocument:
        return 0
    found = 0
    for provider in providers:
        for event in provider.events.values():
            layout = provider.layout(event)
            values, problem = layout.read(payload, 8)
            if not problem:
                shown = [show(one, field) for one, field in zip(values.values(), layout.fields, strict=True)]
                manifest.fill(event.message, len(shown), shown.__getitem__)
            found += 1
    return found


def read_descriptions(seed: int, payload: bytes) -> int:
    """Read a description of each kind that a log may hold; return how many were whole."""
    layouts: list[Layout] = []
    info = event_info.parse(mutated((INFO,), seed), {})
    if info is not None:
        layouts.append(Layout(info.description.fields))
    labels = event_info.parse_map(mutated((MAP,), seed))
    schema = tracelogging.parse(mutated((SCHEMA,), seed))
    if schema is not None:
        layouts.append(schema.layout)
    for layout in layouts:
        for pointer in (4, 8):
            values, _problem = layout.read(payload, pointer)
            for value, field in zip(values.values(), layout.fields, strict=False):
                show(value, field)
    return len(layouts) + (labels is not None)


def parsers(path: Path, library: Library | None) -> dict[str, Callable[[int], int]]:
    """Return by name what one execution with a seed does; it returns how much could be read."""

    def log(seed: int) -> int:
        path.write_bytes(mutated(seeds(), seed))
        return read_everything(path)

    def compiled(seed: int) -> int:
        assert library is not None
        path.write_bytes(mutated(seeds(), seed))
        return assert_same(path, library)

    def xpress(seed: int) -> int:
        raw, size = mutated((packed(),), seed), SIZES[seed % len(SIZES)]
        made = expanded(compression.expand, raw, size)
        assert bool(made[1]) == (len(made[0]) < size)
        if library is not None:
            assert made == expanded(library.expand, raw, size)
        compression.foreign(raw)
        return len(made[0])

    def by_tmf(seed: int) -> int:
        return read_formats(mutated((FORMATS.encode(),), seed), mutated((ARGUMENTS,), seed))

    def by_manifest(seed: int) -> int:
        return read_manifest(mutated((MANIFEST.encode(),), seed), mutated((ARGUMENTS,), seed))

    def description(seed: int) -> int:
        return read_descriptions(seed, mutated((ARGUMENTS,), seed))

    return {
        "log": log,
        "compiled": compiled,
        "xpress": xpress,
        "tmf": by_tmf,
        "manifest": by_manifest,
        "description": description,
    }


SANITIZED = "HOTPLUG_HARNESS_SANITIZED"
"""Where a campaign that runs with the sanitizers finds the library."""


def run_sanitized() -> int:
    """Build the compiled reader with the sanitizers and begin this program anew with their runtime loaded."""
    with tempfile.TemporaryDirectory() as directory:
        built = Path(directory) / "sanitized.so"
        flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
        command = ["gcc", "-std=gnu11", "-O1", "-g", "-shared", "-fPIC", *flags, "-o", built, *SOURCES]
        subprocess.run(command, check=True)
        runtime = subprocess.run(
            ["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
        ).stdout.strip()
        environment = {
            **os.environ,
            "LD_PRELOAD": runtime,
            "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=8",
            SANITIZED: str(built),
        }
        again = [sys.executable, "-m", "tests.capture.etl.mutate", *sys.argv[1:]]
        return subprocess.run(again, env=environment, check=False).returncode


def campaign(name: str, execute: Callable[[int], int], seed: int, numbers: range, seconds: float) -> int:
    """Run one parser's campaign and print what it did."""
    began, used = time.monotonic(), time.process_time()
    done = found = refused = 0
    slowest, slowest_number = 0.0, 0
    for number in numbers:
        started = time.process_time()
        try:
            read = execute(seed << 40 | number)
        except KeyboardInterrupt:
            # A campaign of hours that is given up still tells what it did.
            break
        except Exception:
            print(f"execution {number} of seed {seed} failed in {name}", file=sys.stderr)
            raise
        took = time.process_time() - started
        slowest, slowest_number = max((slowest, slowest_number), (took, number))
        if took > LONGEST:
            print(f"execution {number} of seed {seed} took {took:.2f} s in {name}", file=sys.stderr)
            return 1
        done += 1
        found += read
        refused += not read
        if time.monotonic() - began > seconds:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{name}: {done} executions in {time.monotonic() - began:.0f} s ({time.process_time() - used:.0f} s of processor time): "
        f"{found} {WHAT[name]}, {refused} without any, slowest {slowest * 1000:.0f} ms (execution {slowest_number}), "
        f"peak memory {peak} MB",
        flush=True,
    )
    return 0


WHAT = {
    "log": "records",
    "compiled": "records",
    "xpress": "bytes",
    "tmf": "messages",
    "manifest": "events",
    "description": "descriptions",
}


def main() -> int:
    """Run the campaigns that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.capture.etl.mutate")
    parser.add_argument("--parser", action="append", choices=WHAT, help="only this one; may be repeated")
    parser.add_argument("--executions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--execution", type=int, help="only this one")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop each parser after this long")
    arguments = parser.parse_args()
    chosen = arguments.parser or list(WHAT)
    if SANITIZED not in os.environ and {"compiled", "xpress"} & set(chosen):
        return run_sanitized()
    one = arguments.execution
    numbers = range(arguments.executions) if one is None else range(one, one + 1)
    with tempfile.TemporaryDirectory() as directory:
        library = Library(Path(os.environ[SANITIZED])) if SANITIZED in os.environ else None
        known = parsers(Path(directory) / "mutated.etl", library)
        return max(campaign(name, known[name], arguments.seed, numbers, arguments.seconds) for name in chosen)


if __name__ == "__main__":
    sys.exit(main())
