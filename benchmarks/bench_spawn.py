# SPDX-License-Identifier: MIT
"""From the decision to have a machine to QEMU's greeting, and from close to its end. Prints JSON, times in
milliseconds."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from harness.deadline import Deadline
from harness.history.writer import HistoryWriter
from harness.host.qemu_build import find_qemu
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine


def measure(rounds: int) -> dict[str, object]:
    """Start and close ``rounds`` machines, one after another."""
    qemu = find_qemu()
    starts: list[float] = []
    closes: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as place:
            directory = Path(place)
            with HistoryWriter(directory / "history.jsonl") as writer:
                began = time.perf_counter()
                machine = QemuMachine(
                    MachineSpec(accelerator="tcg", qemu=qemu.path), directory, writer, name="bench"
                )
                machine.start(Deadline(60, "start"))
                started = time.perf_counter()
                machine.close()
                closes.append(time.perf_counter() - started)
                starts.append(started - began)
    return {
        "what": "QEMU spawn to greeting",
        "qemu": qemu.version,
        "samples": rounds,
        "start_ms": round(statistics.median(starts) * 1000, 1),
        "start_worst_ms": round(max(starts) * 1000, 1),
        "close_ms": round(statistics.median(closes) * 1000, 1),
    }


def main() -> int:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    print(json.dumps(measure(parser.parse_args().rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
