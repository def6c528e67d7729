# SPDX-License-Identifier: MIT
"""``python -m harness`` and the program ``harness``: the command line."""

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading


def main() -> int:
    """Load the command line, run it, and return its exit code. While it is loaded Ctrl-C ends it at once, without a word.

    A thread that goes on holds the process up: signals have their effect again meanwhile.
    """
    # A command loads modules for most of its time, of which nothing is garbage. Python looks for some after each 700 new objects.
    gc.set_threshold(5000)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from harness.cli.main import main as run
    from harness.interrupts import unsettle

    code = run(last=True)
    if all(one.daemon for one in threading.enumerate() if one is not threading.main_thread()):
        _leave(code)
    unsettle()
    return code


def _leave(code: int) -> None:
    """End the process with what was registered for its end, but without taking its modules apart, which takes tens of milliseconds."""
    atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter does itself at this place
    for stream in (sys.stdout, sys.stderr):
        # What could not be written was reported by the command line.
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
