# SPDX-License-Identifier: MIT
"""The time and memory of the checker, against decoding the same records alone. Prints JSON.

The history is one long load of a driver: two drivers, repeated vetoed hot-adds, and everything that a run records
around them. Each size is judged in a separate process, so that its memory is measured alone. ``--largest 7`` goes to
10^7.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.checker import judge_history
from harness.contract.notation import trace
from harness.history.driver import DriverRecord
from harness.history.reader import AnyRecord, History
from harness.history.record import Add, Agreement, Channel, Count, End, Ost, Qmp, Record

LIMIT_RATIO = 12.0
LIMIT_MIB = 300
SMALLEST, LARGEST = 4, 6

CYCLE = (
    "+cpu a:S2{alloc=1} b:S2! a:F2{free=1} b:F2 a:work{cpu=1,nt=1} b:work{cpu=1,nt=1} a:mark b:mark =cpu Q"
)


def host_side(number: int) -> list[Record]:
    """The host's records around one command, without the command itself."""
    command = {
        "execute": "device_add",
        "id": number,
        "arguments": {"driver": "max-x86_64-cpu", "id": f"cpu-{number}"},
    }
    reply: dict[str, Any] = {"return": {}, "id": number}
    slots = {
        "return": [{"type": "max-x86_64-cpu", "vcpus-count": 1, "props": {"socket-id": n}} for n in range(4)]
    }
    return [
        Qmp(direction="out", message=command),
        Qmp(direction="in", message=reply),
        Ost(device=f"cpu-{number}", slot="2", slot_type="CPU", source=1, status=0),
        Qmp(direction="out", message={"execute": "query-hotpluggable-cpus", "id": number}),
        Qmp(direction="in", message=slots),
        Count(processors=2, memory=512 << 20, why="settled"),
    ]


def records(count: int) -> Iterator[Record]:
    """Yield a legal history of about ``count`` records: its beginning, whole cycles, its end."""
    once, twice = trace(f"with b {CYCLE}"), trace(f"with b {CYCLE} {CYCLE}")
    tail = len(once) - next(place for place, record in enumerate(once) if isinstance(record, Agreement)) - 3
    start = len(once) - tail
    cycle = twice[start : start + len(twice) - len(once)]
    spoken = {d: sum(isinstance(r, DriverRecord) and r.driver == d for r in cycle) for d in "ab"}
    clock = max(r.qpc for r in cycle if isinstance(r, DriverRecord)) - max(
        r.qpc for r in once[:start] if isinstance(r, DriverRecord)
    )
    n = told = 0

    def numbered(record: Record, **changes: Any) -> Record:
        nonlocal n, told
        n += 1
        told += isinstance(record, DriverRecord)
        if isinstance(record, Channel):
            changes["records"] = told
        return msgspec.structs.replace(record, n=n, host_ns=n * 1000, **changes)

    for record in once[:start]:
        yield numbered(record)
    for turn in range(max(1, count // (len(cycle) + 6))):
        for record in cycle:
            if isinstance(record, DriverRecord):
                changes: dict[str, Any] = {
                    "seq": record.seq + turn * spoken[record.driver],
                    "qpc": record.qpc + turn * clock,
                }
                if hasattr(record, "enter"):
                    changes["enter"] = record.enter + turn * spoken[record.driver]
                yield numbered(record, **changes)
            elif isinstance(record, Add | Agreement):
                yield numbered(record, attempt=f"cpu-{turn + 2}")
                if isinstance(record, Add) and record.phase == "begin":
                    for extra in host_side(turn):
                        yield numbered(extra)
            else:
                yield numbered(record)
    for record in once[start:]:
        yield numbered(record)


def write(path: Path, count: int) -> int:
    """Write a history of about ``count`` records. Return their number."""
    encoder, written = msgspec.json.Encoder(), 0
    with path.open("wb") as file:
        for record in records(count):
            file.write(encoder.encode(record) + b"\n")
            written += 1
            last = record
    assert isinstance(last, End)
    return written


def measure(path: Path) -> dict[str, Any]:
    """Decode alone, then judge. Return seconds of processor time, because the host may be busy, the ratio, the
    process's peak memory in MiB, and the verdict."""
    decoder = msgspec.json.Decoder(AnyRecord)
    began = time.process_time()
    with path.open("rb") as file:
        for line in file:
            decoder.decode(line)
    decoded = time.process_time() - began
    began = time.process_time()
    verdict = judge_history(History(path))
    judged = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "decode_s": decoded,
        "judge_s": judged,
        "ratio": judged / decoded,
        "peak_mib": peak,
        "verdict": verdict.verdict,
        "reasons": verdict.reasons[:3],
    }


def main(arguments: list[str]) -> int:
    """Measure every size in a separate process. Fail if the largest exceeds a limit, or if the verdict is not
    "holds"."""
    if arguments[:1] == ["--measure"]:
        sys.stdout.write(json.dumps(measure(Path(arguments[1]))))
        return 0
    largest = int(arguments[1]) if arguments[:1] == ["--largest"] else LARGEST
    figures: dict[str, Any] = {"limit_ratio": LIMIT_RATIO, "limit_mib": LIMIT_MIB}
    worst: dict[str, Any] = {}
    for power in range(SMALLEST, largest + 1):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "history.jsonl"
            count = write(path, 10**power)
            done = subprocess.run(
                [sys.executable, __file__, "--measure", str(path)], check=True, capture_output=True, text=True
            )
        worst = json.loads(done.stdout) | {"records": count}
        worst["us_per_record"] = 1e6 * worst["judge_s"] / count
        figures[f"10^{power}"] = worst
    sys.stdout.write(json.dumps(figures) + "\n")
    good = worst["ratio"] <= LIMIT_RATIO and worst["peak_mib"] <= LIMIT_MIB and worst["verdict"] == "holds"
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
