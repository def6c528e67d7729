# SPDX-License-Identifier: MIT
"""The command as a process of its own, with its locks checked: ``python tests/checked_harness.py run …``.

A violation is written to standard error when the process ends, and makes its exit code :data:`VIOLATED`.
"""

from __future__ import annotations

import atexit
import os
import runpy
import sys

from lock_order import LEDGER

VIOLATED = 99
"""An exit code that the command itself does not have."""


def report() -> None:
    """End the process at once if a lock was taken out of order, on any thread."""
    if violations := LEDGER.take():
        sys.stdout.flush()
        sys.stderr.write("locks out of order:\n" + "\n".join(violations))
        sys.stderr.flush()
        os._exit(VIOLATED)


def main() -> None:
    """Run the command in the place of this program."""
    # The first to register is the last to be called: what closes machines at the end is checked too.
    atexit.register(report)
    # The tests' own modules must not stand in the way of others.
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    runpy.run_module("harness", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
