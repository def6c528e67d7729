# SPDX-License-Identifier: MIT
"""``python -m tests.fresh``: the README's commands as printed, in a fresh minimal Debian root of their own.

Needs root, because it mounts. The exit status is that of the first command that failed; 69 if the root cannot be made.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from types import FrameType

from harness.deadline import Deadline
from harness.errors import ExitCode, HarnessError, InfrastructureError
from harness.setup.cache import cache_directory
from harness.setup.debian import Installer
from tests.fresh.inside import PROJECT, say
from tests.fresh.namespace import check_mounts, run_apart
from tests.fresh.place import new_place

SUITES = {"bookworm": "Debian 12", "trixie": "Debian 13"}
LONGEST = 7200
"""Seconds for all together; each command has its own limit."""


def main(arguments: list[str]) -> int:
    """Make the root, run the commands, remove it."""
    parser = argparse.ArgumentParser(
        prog="tox -e fresh --", allow_abbrev=False, description=(__doc__ or "").partition(":")[2]
    )
    parser.add_argument(
        "--suite", choices=SUITES, default="bookworm", help="release of Debian (default: %(default)s)"
    )
    parser.add_argument("--demo-only", action="store_true", help="leave the tests out")
    parser.add_argument("--keep", action="store_true", help="keep the root; the next call removes it")
    asked = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        return fresh(asked.suite, demo_only=asked.demo_only, keep=asked.keep)
    except HarnessError as error:
        say(str(error))
        return int(error.exit_code)
    except KeyboardInterrupt:
        say("interrupted; nothing is left")
        return int(ExitCode.INTERRUPTED)


def fresh(suite: str, *, demo_only: bool, keep: bool) -> int:
    """Return the exit status of the first command that failed, 0 if none did."""
    base = cache_directory(os.environ) / "fresh"
    if os.geteuid() != 0:
        raise InfrastructureError(
            "only root can make a root: it mounts",
            hint="Run it as root: sudo ./lab shell -c 'tox run -e fresh'",
        )
    if not shutil.which("mmdebstrap"):
        base.mkdir(parents=True, exist_ok=True)
        deadline = Deadline(600, "installing mmdebstrap")
        Installer(os.environ, base / "apt-get.log", say).install(["mmdebstrap"], deadline)
    check_mounts()
    with new_place(base, say, keep=keep) as (place, lock):
        if keep:
            say(f"the root stays in {place}, until the next call")
        words = [
            sys.executable,
            "-m",
            "tests.fresh.inside",
            str(place),
            suite,
            *(["--demo-only"] * demo_only),
        ]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        status = run_apart(
            words, Deadline(LONGEST, SUITES[suite]), environment=environment, descriptors=[lock]
        )
    return status if status >= 0 else 128 - status


def _interrupted(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
