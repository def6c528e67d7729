# SPDX-License-Identifier: MIT
"""How long ``./lab`` takes before the command it was asked for starts, with everything set up. Prints JSON.

Measured as the whole time of ``./lab shell -c true`` less that of the shell itself.
"""

from __future__ import annotations

import json
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
    overhead = 1000 * (seconds([str(LAB), "shell", "-c", "true"]) - seconds(["/bin/bash", "-c", "true"]))
    sys.stdout.write(json.dumps({"overhead_ms": overhead, "limit_ms": LIMIT_MS, "rounds": ROUNDS}) + "\n")
    return 0 if overhead <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
