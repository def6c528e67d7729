# SPDX-License-Identifier: MIT
"""``python -m tests.twin.maximum``: a twin's empty processor slots filled at once, up to a number; how long it takes.

Prints a row of the table in docs/plans.md for each number. Under TCG each processor that comes interrupts all that are
there, so the last of many take seconds each: minutes altogether, and with 255 on two processors of a host a good while.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
import time
from pathlib import Path

from harness.contract.verdict import Verdict
from harness.history.run_directory import RunDirectory
from harness.run.options import Timeouts
from harness.run.plan import Plan, decode_plan
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.setup.cache import cache_directory

PRESENT = 2
SECONDS = 3600


def plan(processors: int) -> Plan:
    """Return the plan that fills a machine of so many slots while its guest is paused."""
    add = '[[do]]\nop = "add-cpu"\nsettle = false\n'
    added = processors - PRESENT
    return decode_plan(
        f'name = "fill-{processors}"\n[machine]\nprocessors = {PRESENT}\nmax_processors = {processors}\n'
        f'[[do]]\nop = "pause"\n{add * added}[[do]]\nop = "resume"\n'
        f'[[do]]\nop = "settle"\ntimeout = {SECONDS}\n'
        f'[[do]]\nop = "expect"\nprocessors = {processors}\nstarts = {added}\ncompletes = {added}\n',
        name=f"fill-{processors}.toml",
    )


def main() -> int:
    """Fill each machine and print its row; 1 if a run did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processors", type=int, nargs="+", default=[70, 128, 255])
    asked = parser.parse_args()
    wrong = 0
    for processors in asked.processors:
        with tempfile.TemporaryDirectory() as place:
            began = time.monotonic()
            result = perform(
                RunRequest(
                    plan=plan(processors),
                    runs=Path(place),
                    cache=cache_directory(os.environ),
                    argv=["tests.twin.maximum"],
                    accelerator="tcg",
                    budget=Timeouts(test=2 * SECONDS, operation=600.0, consequence=600.0),
                )
            )
            seconds = round(time.monotonic() - began)
            facts = RunDirectory(result.directory).facts()
        verdict = result.verdict.verdict
        wrong += verdict is not Verdict.HOLDS
        day = datetime.datetime.now(datetime.UTC).date()
        qemu = facts.qemu_version.partition(" (")[0].removeprefix("QEMU emulator version ")
        host = f"{os.cpu_count()} processors, load {os.getloadavg()[1]:.0f}"
        print(
            f"| {day} | {processors} | {seconds} s | {verdict} | {qemu} | {facts.image} | {host} |",
            flush=True,
        )
        for reason in result.verdict.reasons:
            print(reason, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
