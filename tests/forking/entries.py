# SPDX-License-Identifier: MIT
"""What the forked processes of the tests execute."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path


def describe(to: int) -> int:
    """Write what this process has to a descriptor, and end with status 7."""
    found = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "words": sys.argv[1:],
        "descriptors": sorted(
            int(each.name) for each in Path("/proc/self/fd").iterdir() if each.exists() and int(each.name) > 2
        ),
        "threads": [threading.active_count(), len(list(Path("/proc/self/task").iterdir()))],
        "random": random.random(),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "loaded": "harness.run.run" in sys.modules,
    }
    os.write(to, json.dumps(found).encode())
    return 7


def run(to: int) -> int:
    """Be a command of the harness, and write which of its modules were imported for it."""
    from harness.cli.main import main

    before = set(sys.modules)
    code = main()
    os.write(to, json.dumps(sorted(name for name in sys.modules if name not in before)).encode())
    return code


def speak() -> int:
    """Write on both output streams."""
    sys.stdout.write("out\n")
    sys.stderr.write("err\n")
    return 0


def last(to: int, deaf: str = "") -> None:
    """Say that it began, then wait until a signal ends it."""
    if deaf or sys.argv[1:] == ["deaf"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(to, str(os.getpid()).encode())
    while True:
        time.sleep(60)
