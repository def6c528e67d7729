# SPDX-License-Identifier: MIT
"""The number of plans that ``harness explore`` executes on the guest ``host``, and the cost of one. The goal is 2,000
a minute.

``cpu_ms`` is the processor time of one plan, over all processes. It does not depend on other load, so it has the
limit. With two processors of this kind, 60 ms are 2,000 plans a minute.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path

from harness.explore.exploration import Exploration
from harness.run.options import RunOptions
from harness.setup.cache import cache_directory

PLANS = 200
LIMIT_MS = 60.0


def main() -> int:
    """Print the figures; return 1 if a plan costs too much."""
    processors = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="explore-") as folder:
        exploration = Exploration(
            RunOptions(guest="host"),
            Path(folder),
            cache=cache_directory(os.environ),
            seconds=3600,
            most=PLANS,
            jobs=4 * processors,
        )
        report = exploration.perform()
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_ms = sum(one.ru_utime + one.ru_stime for one in spent) / report.plans * 1000
    print(
        json.dumps(
            {
                "plans": report.plans,
                "plans_a_minute": round(60 * report.plans / report.seconds),
                "cpu_ms": round(cpu_ms, 1),
                "plans_a_minute_by_cpu": round(60_000 * processors / cpu_ms),
                "processors": processors,
                "rules": report.rules,
                "orders": report.orders,
            }
        )
    )
    return int(cpu_ms > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
