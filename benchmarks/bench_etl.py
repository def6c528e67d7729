# SPDX-License-Identifier: MIT
"""Event trace logs: the harness's reader against two others and a bare walk in C on the same logs in one run, and on
large logs.

The others (benchmarks/etl_oracles.txt) are in a separate environment in the cache directory and run as separate
processes. Each reader takes its best of several interleaved rounds, so that other load on the host affects all. A real
log is used if it exists (../shared/data), otherwise a made one. ``long`` is that log 40 times in a row. Whole commands
are measured from start to end, the others without their start. All times are processor time, because the host is
shared. Prints JSON. The exit status is 1 if a figure exceeds its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.capture.etl import buffer
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.record import EventRecord
from harness.capture.etl.selection import Selection
from harness.capture.etl.tracelog import TraceLog
from harness.cli import etl_fast
from harness.deadline import Deadline
from harness.setup.cache import Cache, cache_directory, digest
from tests.capture.etl import encoder

HERE = Path(__file__).resolve().parent
REAL = HERE.parents[1] / "shared" / "data" / "etl" / "ShutdownPerfDiagLogger.etl"
GIGABYTE = 1 << 30

LIMITS = {
    "dump_vs_dissect": 10.0,
    "stat_vs_dissect": 30.0,
    "typed_merged_vs_dissect": 25.0,
    "typed_merged_vs_etl_parser": 100.0,
    "tracelogging_vs_etl_parser": 20.0,
}
MOST_OF_C = 8.0
"""The limits of typed and merged reading, as multiples of a walk and a sort in C."""

GROWTH_MB = 16.0
"""The limits of growth of peak memory: from a log of 64 MB to one of 1 GB, and for a command from 7 to 86 copies of
the log."""

COPIES, FEW, MANY = 40, 7, 86
ROUNDS = 2


def oracles() -> Path:
    """Return the Python of the environment with the other readers. Build it on first use."""
    requirements = HERE / "etl_oracles.txt"
    cache = Cache(cache_directory(os.environ), lambda message: print(message, file=sys.stderr))

    def build(place: Path, _lock: int) -> None:
        venv.create(place / "venv", with_pip=True)
        pip = [place / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements]
        subprocess.run(pip, check=True, stdout=sys.stderr)

    key = digest(requirements.read_bytes(), sys.version)
    place = cache.built("etl-oracles", key, build, Deadline(600, "the other readers"), clone=HERE.parent)
    return place / "venv" / "bin" / "python"


def other(python: Path, task: str, log: Path) -> tuple[int, float]:
    """Time the better of two rounds of another reader in its own process. The first round includes imports."""
    ended = subprocess.run(
        [python, HERE / "etl_oracle.py", task, log, "2"],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    result = json.loads(ended.stdout)
    return result["records"], result["seconds"]


def typed(log: Path) -> int:
    """Read all records, typed, in time order."""
    with TraceLog(log) as opened:
        return sum(1 for _ in opened)


def tracelogging(log: Path) -> int:
    """Decode all events in time order."""
    decoder = Decoder()
    with TraceLog(log) as opened:
        return sum(
            1 for record in opened if isinstance(record, EventRecord) and decoder.decode(record).values
        )


def best(task: Callable[[Path], int], log: Path, rounds: int = 3) -> tuple[int, float]:
    """Return the count and the shortest time of several rounds, after one warm-up."""
    found = task(log)
    shortest = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        found = task(log)
        shortest = min(shortest, time.process_time() - began)
    return found, shortest


def make_tracelogging(path: Path, events: int) -> None:
    """Write a log of self-describing events with eight fields, of types that the other readers know."""
    description = encoder.schema(
        "Sync",
        encoder.described("seq", 10),
        encoder.described("qpc", 10),
        encoder.described("driver", 2),
        encoder.described("cpu", 8),
        encoder.described("thread", 10, 4),
        encoder.described("status", 8, 4),
        encoder.described("accepted", 4, 3),
        encoder.described("name", 1),
    )
    items = [(12, encoder.traits("HotplugBench")), (11, description)]
    buffers = [encoder.header_buffer(size=65536)]
    rows: list[bytes] = []
    for number in range(events):
        payload = struct.pack("<QQ9sIQIB", number, number, b"hpnotify\0", 1, 0xFFFF, 0xC000009A, 1)
        payload += f"record {number}\0".encode("utf-16-le")
        rows.append(encoder.event(encoder.START + number, payload, items=items))
        if len(rows) == 150 or number == events - 1:
            buffers.append(
                encoder.buffer(*rows, size=65536, sequence=len(buffers), processor=len(buffers) % 4)
            )
            rows = []
    path.write_bytes(b"".join(buffers))


def make_large(path: Path, size: int) -> None:
    """Write a log of ``size`` bytes: four processors whose buffers overlap in time, events of 256 bytes."""
    per_buffer = (65536 - 72) // 256
    template = bytearray(
        encoder.buffer(*(encoder.event(0, bytes(176)) for _ in range(per_buffer)), size=65536, sequence=0)
    )
    with path.open("wb") as file:
        file.write(encoder.header_buffer(size=65536))
        for number in range(size // 65536 - 1):
            struct.pack_into("<q", template, 0x18, number + 1)
            struct.pack_into("<H", template, 0x28, number & 3)
            began = encoder.START + (number >> 2) * per_buffer * 4 + (number & 3)
            for place in range(per_buffer):
                struct.pack_into("<q", template, 72 + place * 256 + 16, began + place * 4)
            file.write(template)


def large(size: int, directory: Path) -> dict[str, Any]:
    """Read a made log of this size in a separate process. Return its time and peak memory."""
    path = directory / "large.etl"
    make_large(path, size)
    ended = subprocess.run(
        [sys.executable, __file__, "--read", path], check=True, capture_output=True, text=True, timeout=600
    )
    path.unlink()
    return dict(json.loads(ended.stdout))


def read(path: Path) -> dict[str, Any]:
    """Read one log in time order. Check the order, and return time and memory."""
    began = time.process_time()
    latest = records = 0
    with TraceLog(path) as log:
        for record in log:
            assert record.time >= latest
            latest = record.time
            records += 1
        assert not log.account.reasons()
    return {
        "records": records,
        "seconds": time.process_time() - began,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def repeat(log: Path, path: Path, copies: int) -> None:
    """Write a log with another log several times in a row, each copy later than the one before, with new sequence
    numbers."""
    with TraceLog(log) as opened:
        headers = list(opened.buffers())
        times = [record.time for record in opened]
        raw = [bytearray(opened.read(one.offset, one.size)) for one in headers]
    span = max(times) - min(times) + 1
    places = []
    for header, data in zip(headers, raw, strict=True):
        found, _at, _why = buffer.decode(
            bytes(data[: header.used]), 0, buffer.HEADER_SIZE, header.used, 1 << 20
        )
        places.append([one.start + (8 if one.kind == "perf" else 16) for one in found])
    # BuffersWritten of the log's header, after the headers of buffer and record.
    struct.pack_into("<I", raw[0], buffer.HEADER_SIZE + 32 + 36, 1 + copies * (len(raw) - 1))
    with path.open("wb") as file:
        file.write(raw[0])
        for copy in range(copies):
            for number, data in enumerate(raw[1:]):
                struct.pack_into("<q", data, 0x18, copy * (len(raw) - 1) + number + 1)
                file.write(data)
                for place in places[number + 1]:
                    (time_then,) = struct.unpack_from("<q", data, place)
                    struct.pack_into("<q", data, place, time_then + span)


def command(name: str, log: Path, bytecode: Path) -> tuple[float, float]:
    """Run a whole command, its output discarded. Return its seconds of processor time and its peak memory in MB.

    Its bytecode is kept in ``bytecode``, as for an installed package.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    child = subprocess.Popen(
        [sys.executable, "-m", "harness", "etl", name, log], stdout=subprocess.DEVNULL, env=environment
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def compiled_walk(directory: Path) -> Path:
    """Compile the walk in C."""
    program = directory / "walk"
    subprocess.run(["gcc", "-O2", "-o", program, HERE / "etl_walk.c"], check=True)
    return program


def walk(program: Path, log: Path) -> tuple[int, float]:
    """Return the records that the walk in C found, and its seconds, sorting included."""
    said = subprocess.run([program, log], check=True, capture_output=True, text=True).stdout.split()
    return int(said[0]), float(said[1])


def python_lines(log: Path) -> int:
    """Make all lines of ``dump`` in Python."""
    decoder = Decoder()
    with TraceLog(log) as opened:
        decoder.learn(opened)
        made = etl_fast.text_lines(
            None, opened, decoder, Selection(), since=None, until=None, local=False, progress=None
        )
        return sum(1 for _ in made)


def measure() -> dict[str, Any]:
    """Return all figures."""
    python = oracles()
    figures: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        described = directory / "described.etl"
        make_tracelogging(described, 6000)
        log = REAL
        if not log.exists():
            log = directory / "made.etl"
            make_large(log, 4 << 20)
        long = directory / "long.etl"
        repeat(log, long, COPIES)
        bare = compiled_walk(directory)
        command("stat", long, directory)
        seconds: dict[str, float] = {}
        records: dict[str, int] = {}

        def note(task: str, found: int, took: float) -> None:
            records[task], seconds[task] = found, min(seconds.get(task, took), took)

        for _ in range(ROUNDS):
            note("dissect-typed", *other(python, "dissect-typed", long))
            for task in ("dump", "stat", "info"):
                note(task, records["dissect-typed"], command(task, long, directory)[0])
            note("typed", *best(typed, long, 1))
            note("c-walk-and-sort", *walk(bare, long))
            note("parser-typed", *other(python, "parser-typed", log))
            note("dump-in-python", *best(python_lines, log, 1))
            note("tracelogging", *best(tracelogging, described))
            note("parser-tracelogging", *other(python, "parser-tracelogging", described))
        figures["log"] = log.name
        figures["records"] = records
        # etl-parser leaves some records out, so times are compared for each record.
        each = {task: seconds[task] / records[task] * 1e6 for task in seconds}
        figures["microseconds_per_record"] = each
        figures["ratio"] = {
            "dump_vs_dissect": each["dissect-typed"] / each["dump"],
            "stat_vs_dissect": each["dissect-typed"] / each["stat"],
            "typed_merged_vs_dissect": each["dissect-typed"] / each["typed"],
            "typed_merged_vs_etl_parser": each["parser-typed"] / each["typed"],
            "tracelogging_vs_etl_parser": each["parser-tracelogging"] / each["tracelogging"],
            "typed_merged_of_c": each["typed"] / each["c-walk-and-sort"],
        }
        figures["load_after"] = os.getloadavg()[0]
        figures["read_64_mb"] = large(64 << 20, directory)
        figures["read_1_gb"] = large(GIGABYTE, directory)
        figures["memory_growth_mb"] = figures["read_1_gb"]["peak_mb"] - figures["read_64_mb"]["peak_mb"]
        for task in ("dump", "stat"):
            for copies in (FEW, MANY):
                repeat(log, long, copies)
                figures[f"{task}_{long.stat().st_size >> 20}_mb_peak_mb"] = command(task, long, directory)[1]
    return figures


def missed(figures: dict[str, Any]) -> list[str]:
    """Return messages about the figures that exceed their limits."""
    ratio = figures["ratio"]
    found = [
        f"{name} is {ratio[name]:.1f}, not {limit}" for name, limit in LIMITS.items() if ratio[name] < limit
    ]
    if ratio["typed_merged_of_c"] > MOST_OF_C:
        found.append(f"typed_merged_of_c is {ratio['typed_merged_of_c']:.1f}, not {MOST_OF_C}")
    if figures["memory_growth_mb"] > GROWTH_MB:
        found.append(f"memory grew by {figures['memory_growth_mb']:.1f} MB")
    for task in ("dump", "stat"):
        few, many = (peak for name, peak in figures.items() if name.startswith(f"{task}_"))
        if many - few > GROWTH_MB:
            found.append(f"the memory of {task} grew by {many - few:.1f} MB")
    return found


def main() -> int:
    """Print the figures. Return 1 if one exceeds its limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read)))
        return 0
    figures = measure()
    print(json.dumps(figures, indent=2))
    words = missed(figures)
    print("; ".join(words) or "all limits met", file=sys.stderr)
    return 1 if words else 0


if __name__ == "__main__":
    sys.exit(main())
