# SPDX-License-Identifier: MIT
"""QMP round trip: the machine's own execute, with history and threads, against raw ``qemu.qmp``, in one QEMU.

Both send ``query-status`` in turn, in small batches, so that other load on the host affects both. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from qemu.qmp import QMPClient

from harness.deadline import Deadline
from harness.history.writer import HistoryWriter
from harness.host.qemu_build import find_qemu
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine

BATCH = 20


def measure(rounds: int) -> dict[str, object]:
    """Return medians in microseconds and their ratio."""
    qemu = find_qemu()
    ours: list[int] = []
    raw: list[int] = []
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        second = directory / "raw"
        spec = MachineSpec(
            accelerator="tcg",
            qemu=qemu.path,
            extra=[
                "-chardev", f"socket,id=raw,path={second},server=on,wait=off",
                "-mon", "chardev=raw,mode=control",
            ],
        )  # fmt: skip
        with (
            HistoryWriter(directory / "history.jsonl") as writer,
            QemuMachine(spec, directory, writer, name="bench") as machine,
        ):
            deadline = Deadline(300, "benchmark")
            machine.start(deadline)
            loop = asyncio.new_event_loop()
            client = QMPClient()
            loop.run_until_complete(client.connect(str(second)))

            async def ask_raw(count: int) -> None:
                for _ in range(count):
                    began = time.perf_counter_ns()
                    await client.execute("query-status")
                    raw.append(time.perf_counter_ns() - began)

            def ask_ours(count: int) -> None:
                for _ in range(count):
                    began = time.perf_counter_ns()
                    machine.execute("query-status", deadline)
                    ours.append(time.perf_counter_ns() - began)

            for _ in range(rounds // BATCH + 1):
                loop.run_until_complete(ask_raw(BATCH))
                ask_ours(BATCH)
            loop.run_until_complete(client.disconnect())
            loop.close()
    # The first batch of each is a warm-up.
    mine, theirs = (statistics.median(times[BATCH:]) / 1000 for times in (ours, raw))
    return {
        "what": "QMP query-status round trip",
        "qemu": qemu.version,
        "samples": len(ours) - BATCH,
        "ours_us": round(mine, 1),
        "raw_us": round(theirs, 1),
        "ratio": round(mine / theirs, 3),
    }


def main() -> int:
    """Print the measurement. The exit code is 1 if the ratio exceeds the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--limit", type=float, default=1.25, help="highest ratio allowed (default: 1.25)")
    options = parser.parse_args()
    found = measure(options.rounds)
    print(json.dumps(found))
    if float(str(found["ratio"])) > options.limit:
        print(f"the ratio is above {options.limit:g}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
