# SPDX-License-Identifier: MIT
"""``python -m tests.fresh.inside``: the first process of a namespace. It makes the root and runs the README's commands in it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError
from tests.fresh.readme import printed_commands
from tests.fresh.root import Root, left_running, work
from tests.fresh.settings import take

PROJECT = Path(__file__).resolve().parents[2]
LONGEST = {"./lab demo": 1800.0, "./lab test": 3600.0}
"""Seconds that a command may take on a busy machine; any other may take as long as the demo."""


def say(text: str) -> None:
    """Tell what goes on, between the lines of the programs."""
    print(f"fresh: {text}", flush=True)


def main(place: Path, suite: str, *, demo_only: bool) -> int:
    """Return the exit status of the first command that failed, 0 if none did."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        # What a job in the background ignores, a user's shell does not.
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    root = Root(place, suite, take(Path("/"), os.environ, suite))
    root.make()
    root.settle(PROJECT.parent / "shared")
    commit = root.clone(PROJECT)
    changed = work(["git", "-C", PROJECT, "status", "--porcelain"], 60, "looking for changes").splitlines()
    if changed:
        say(f"what is not committed is left out: {len(changed)} files, such as {changed[0][3:]}")
    took = [f"the root {time.monotonic() - began:.0f} s"]
    say(f"{root.release()}, {commit[:12]}: made in {time.monotonic() - began:.1f} s")
    for command in printed_commands((PROJECT / "README.md").read_text(encoding="utf-8")):
        if demo_only and command != "./lab demo":
            continue
        say(f"$ {command}")
        began = time.monotonic()
        status = root.run(command, LONGEST.get(command, LONGEST["./lab demo"]))
        took.append(f"{command} {time.monotonic() - began:.0f} s")
        say(f"{command}: exit status {status} after {time.monotonic() - began:.1f} s")
        if status:
            return status
        nothing_left(command)
    say(f"{root.release()}, {commit[:12]}: {', '.join(took)}")
    return 0


def nothing_left(command: str) -> None:
    """Raise InfrastructureError if ``command`` left a process running."""
    Deadline(20, command).poll(
        lambda: not left_running(),
        interval=0.2,
        error=lambda: InfrastructureError(f"'{command}' left running: {'; '.join(left_running())}"),
    )


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), sys.argv[2], demo_only="--demo-only" in sys.argv[3:]))
    except HarnessError as error:
        say(str(error))
        sys.exit(int(error.exit_code))
