# SPDX-License-Identifier: MIT
"""The number of plans that ``harness explore`` executes on the guest ``host``, and the cost of one. The goal is 2,000
a minute.

``cpu_ms`` is the processor time of one plan, over all processes, and ``own_ms`` that of the exploring process alone, which makes
the plans and keeps the corpus. They depend little on other load, so they have the limit. With two processors of this kind, 60 ms are
2,000 plans a minute. ``plans_a_minute`` means something on an idle machine only: ``load`` says what was there before.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path

from harness.explore.exploration import Exploration, usual_jobs
from harness.run.options import RunOptions
from harness.setup.cache import cache_directory

PLANS = 1000
LIMIT_MS = 60.0


def main() -> int:
    """Print the figures; return 1 if a plan costs too much."""
    processors, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    before = resource.getrusage(resource.RUSAGE_SELF)
    with tempfile.TemporaryDirectory(prefix="explore-") as folder:
        exploration = Exploration(
            RunOptions(guest="host"),
            Path(folder),
            cache=cache_directory(os.environ),
            seconds=3600,
            most=PLANS,
            jobs=usual_jobs("host"),
        )
        report = exploration.perform()
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = own.ru_utime + own.ru_stime - before.ru_utime - before.ru_stime
    own_ms = spent / report.plans * 1000
    cpu_ms = own_ms + (others.ru_utime + others.ru_stime) / report.plans * 1000
    print(
        json.dumps(
            {
                "plans": report.plans,
                "plans_a_minute": round(60 * report.plans / report.seconds),
                "cpu_ms": round(cpu_ms, 1),
                "own_ms": round(own_ms, 1),
                "plans_a_minute_by_cpu": round(60_000 * processors / cpu_ms),
                "processors": processors,
                "load": round(load, 1),
                "rules": report.rules,
                "orders": report.orders,
            }
        )
    )
    return int(cpu_ms > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
