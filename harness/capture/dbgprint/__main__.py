# SPDX-License-Identifier: MIT
"""``python -m harness.capture.dbgprint SOCKET FILE``: the reader's process; the harness starts it.

Prints ``ready`` (with ``--bridge``: ``ready PORT``) on standard output once the port is connected.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from pathlib import Path

from harness.capture.dbgprint.bridge import Bridge, listen
from harness.capture.dbgprint.service import PortJournal, serve


def main() -> int:
    """Serve one port. Print one line and return 1 if it cannot be served."""
    parser = argparse.ArgumentParser(prog="harness.capture.dbgprint", description=__doc__)
    parser.add_argument("socket", type=Path, help="the unix socket of QEMU's character device")
    parser.add_argument("file", type=Path, help="where events are appended")
    parser.add_argument("--bridge", action="store_true", help="hand the port to a debugger over TCP instead")
    options = parser.parse_args()
    # The harness handles Ctrl-C: it lets go of the leash when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        port = socket.socket(socket.AF_UNIX)
        port.connect(str(options.socket))
        if options.bridge:
            listener = listen()
            print(f"ready {listener.getsockname()[1]}", flush=True)  # noqa: T201
            Bridge(port, listener).run()
        else:
            journal = PortJournal(options.file)
            print("ready", flush=True)  # noqa: T201
            serve(port, journal)
            journal.close()
    except OSError as error:
        print(f"{options.socket}: {error.strerror}", flush=True)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
