# SPDX-License-Identifier: MIT
"""``python -m harness`` and the program ``harness``: the command line."""

import signal
import sys


def main() -> int:
    """Load the command line, run it, and return its exit code. While it is loaded Ctrl-C ends it at once, without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from harness.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
