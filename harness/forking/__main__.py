# SPDX-License-Identifier: MIT
"""The program of a fork server, which :class:`harness.forking.fork_server.ForkServer` starts."""

import os
import sys

from harness.forking.service import main

if __name__ == "__main__":
    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Taking its modules apart would take tens of milliseconds, and would copy the pages that it shares with the server.
    os._exit(code)
