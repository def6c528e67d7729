# SPDX-License-Identifier: MIT
"""What a run costs in a nightly run: on the guest ``host`` after the first one, and of restored twins two at a time.

``host.run_ms`` is the processor time of one run with its guest, ``host.nightly_ms`` what the nightly run's own process adds for it,
the result store included. Both are those of a nightly run of many runs less those of one, for each further run. The plan's own
waits take no processor time, and another load on the machine matters little. ``host.rss_kib`` is the memory of the nightly run's
process: after the first tenth of the runs, after nine tenths, and at its peak, when it writes its summaries; ``host.forking_rss_kib`` is that of the process that
forks the runs. ``twins`` are nightly runs of restored twins, one run after another and two at a time, in turn:
``ratio`` is how much faster two at a time are. Another load on the machine lowers it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

LIMIT_MS = 30.0
LEAST_RATIO = 1.8
FLAT_KIB = 4096
"""How much the memory may grow from a tenth to nine tenths of the runs. A result takes about 1 KiB."""

LAB = """\
name = "benchmark"
repeat = {repeat}
report = "failed"
[[guest]]
name = "{guest}"
[[plan]]
plan = "cpu-and-dimm"
"""


class NightlyRun:
    """One nightly run: its seconds; the processor time of its own process, and of its runs; the memory of the two that last."""

    def __init__(self, folder: Path, guest: str, repeat: int, *, parallel: int) -> None:
        lab = folder / "lab.toml"
        head = 'accel = "tcg"\nrestore = true\n' if guest == "twin" else ""
        lab.write_text(head + LAB.format(repeat=repeat, guest=guest))
        words = ["nightly", "--once", "--json", "--lab", str(lab), "--into", str(folder / "kept")]
        self.memory: dict[str, list[int]] = {"own": [], "forking": []}
        self.own = 0.0
        began = time.perf_counter()
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness", *words, "--parallel", str(parallel)],
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL, env={**os.environ, "HOTPLUG_HARNESS_STORE": ""},
            )  # fmt: skip
            while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                self._look(process.pid)
                time.sleep(0.2)
            _, status, used = os.wait4(process.pid, 0)
        self.seconds = time.perf_counter() - began
        self.runs = used.ru_utime + used.ru_stime - self.own
        document = json.loads((folder / "said").read_text())
        if status or document["counts"].get("holds") != repeat:
            sys.exit(f"the nightly run of {guest} did not hold: {document['counts']}")

    def _look(self, pid: int) -> None:
        try:
            own = psutil.Process(pid)
            times = own.cpu_times()
            self.own = times.user + times.system
            self.memory["own"].append(own.memory_info().rss >> 10)
            self.memory["forking"] += [child.memory_info().rss >> 10 for child in own.children()]
        except psutil.Error:
            return

    def of(self, whose: str) -> dict[str, int]:
        """Return the memory of a process, in KiB."""
        seen = self.memory[whose]
        tenth = max(1, len(seen) // 10)
        return {
            "after_a_tenth": round(statistics.median(seen[tenth : 2 * tenth] or seen)),
            "after_nine_tenths": round(statistics.median(seen[-2 * tenth : -tenth] or seen)),
            "peak": max(seen),
        }


def measured(guest: str, repeat: int, *, parallel: int) -> NightlyRun:
    """Measure a nightly run in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-nightly-") as folder:
        return NightlyRun(Path(folder), guest, repeat, parallel=parallel)


def main() -> int:
    """Print the figures; return 1 if one exceeds its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="runs of the guest host")
    parser.add_argument("--parallel", type=int, default=8, help="runs of the guest host at once")
    parser.add_argument("--twins", type=int, default=10, help="runs of the twin in each round; 0 for none")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    one, many = (measured("host", runs, parallel=given.parallel) for runs in (1, given.runs))
    run_ms = 1000 * (many.runs - one.runs) / (given.runs - 1)
    nightly_ms = 1000 * (many.own - one.own) / (given.runs - 1)
    memory = many.of("own")
    figures = {
        "host": {
            "runs": given.runs, "seconds": round(many.seconds, 1), "run_ms": round(run_ms, 1), "limit_ms": LIMIT_MS, "nightly_ms": round(nightly_ms, 1),
            "rss_kib": memory, "forking_rss_kib": many.of("forking"),
        },
        "load": os.getloadavg()[0],
    }  # fmt: skip
    failed = run_ms > LIMIT_MS or memory["after_nine_tenths"] - memory["after_a_tenth"] > FLAT_KIB
    if given.twins:
        # The first saves the ready snapshot.
        measured("twin", 1, parallel=1)
        rounds = [
            [measured("twin", given.twins, parallel=at_once).seconds for at_once in (1, 2)]
            for _ in range(given.rounds)
        ]
        alone, paired = (statistics.median(column) for column in zip(*rounds, strict=True))
        figures["twins"] = {
            "runs": given.twins, "one_after_another_s": alone, "two_at_a_time_s": paired,
            "ratio": round(alone / paired, 2), "least_ratio": LEAST_RATIO,
        }  # fmt: skip
        failed = failed or (alone / paired < LEAST_RATIO and len(os.sched_getaffinity(0)) >= 2)
    print(json.dumps(figures))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
