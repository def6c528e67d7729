# SPDX-License-Identifier: MIT
"""Judging a set of runs on one processor and on two: the speed-up of the second. Prints JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from bench_judge import write

from harness.run.judging import judge_runs

LIMIT_SPEEDUP = 1.7
RUNS, RECORDS, ROUNDS = 16, 10_000, 3


def seconds(paths: list[Path], processes: int) -> float:
    """Return the time of the set. All of its runs hold."""
    began = time.perf_counter()
    judged = list(judge_runs(paths, processes=processes))
    took = time.perf_counter() - began
    assert {"holds"} == {str(one.verdict.verdict) for one in judged if one.verdict is not None}
    return took


def main() -> int:
    """Take the best of several rounds each, because other load slows two processes more than one."""
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / f"run-{number}" for number in range(RUNS)]
        for path in paths:
            path.mkdir()
            write(path / "history.jsonl", RECORDS)
        one, two = (min(seconds(paths, count) for _ in range(ROUNDS)) for count in (1, 2))
    processors = len(os.sched_getaffinity(0))
    figures = {
        "runs": RUNS, "records_each": RECORDS, "one_s": one, "two_s": two, "speedup": one / two,
        "limit_speedup": LIMIT_SPEEDUP, "processors": processors,
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if one / two >= LIMIT_SPEEDUP or processors < 2 else 1


if __name__ == "__main__":
    sys.exit(main())
