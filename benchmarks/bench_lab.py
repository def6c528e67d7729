# SPDX-License-Identifier: MIT
"""The time that ``./lab`` takes before its command starts, with everything set up. Prints JSON.

It is the whole time of ``./lab shell -c true`` minus that of the shell itself.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

LAB = Path(__file__).resolve().parents[1] / "lab"
ROUNDS = 15
LIMIT_MS = 150.0


def seconds(command: list[str]) -> float:
    """Return the median wall time of ``command``."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> int:
    """Set up first, so that only the second start is measured."""
    subprocess.run([LAB, "shell", "-c", "true"], check=True, stdin=subprocess.DEVNULL)
    plain = seconds(["/bin/bash", "-c", "true"])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    overhead = 1000 * (seconds([str(LAB), "shell", "-c", "true"]) - plain)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # On a busy machine the wall time includes other programs. The processor time does not.
    used = 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / ROUNDS
    figures = {"overhead_ms": overhead, "processor_ms": used, "limit_ms": LIMIT_MS, "rounds": ROUNDS}
    sys.stdout.write(json.dumps(figures) + "\n")
    if overhead > LIMIT_MS:
        sys.stderr.write(f"./lab takes {overhead:.0f} ms to start, more than {LIMIT_MS:.0f}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
