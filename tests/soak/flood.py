# SPDX-License-Identifier: MIT
"""``python -m tests.soak.flood``: a run whose twin, after its plan, writes on one channel without end until that is cut.

No plan can ask for that. It ends as ``harness run`` would, with the run's exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import HarnessError
from harness.guest.twin.guest import Twin
from harness.interrupts import interruptible
from harness.run.plan import find_plan
from harness.run.request import RunRequest
from harness.run.run import Run
from harness.setup.cache import cache_directory
from harness.size import Size

CHANNELS = ("console", "port", "control")
"""The channels that the twin's agent floods on an order (docs/twin.md)."""

KEPT, RECORDS = Size("1 MiB"), 2000
"""What is kept of one channel: little enough to be reached."""
FLOOD = 240.0
"""Seconds for the twin to write so much on a busy host."""


def main() -> int:
    """Execute the plan, flood the channel, and judge."""
    # The soak itself needs no more of this module than the names of the channels.
    from harness.run.options import RunLimits

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan")
    parser.add_argument("--channel", choices=CHANNELS, default="console")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--backend", default="qemu")
    parser.add_argument("--connect", default="")
    asked = parser.parse_args()
    run = Run(
        RunRequest(
            plan=find_plan(asked.plan),
            runs=asked.runs,
            cache=cache_directory(os.environ),
            argv=sys.argv,
            accelerator="tcg",
            backend=asked.backend,
            connect=asked.connect,
            limits=RunLimits(channel_limit=KEPT, channel_records=RECORDS),
        )
    )
    with interruptible():
        try:
            with run.live() as live:
                live.executor.execute(run.request.plan.do)
                assert isinstance(live.guest, Twin)
                live.guest.order("flood", Deadline(30, "flood"), channel=asked.channel)
                Deadline(FLOOD, "the flood").poll(
                    lambda: any(one.cut for one in live.capture.budget.channels)
                )
        except HarnessError as error:
            run.error = run.error or error
        result = run.result(run.judge())
    print(f"{result.verdict.verdict}: {result.error or '; '.join(result.verdict.reasons)}")
    return int(result.exit_code)


if __name__ == "__main__":
    sys.exit(main())
