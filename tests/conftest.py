# SPDX-License-Identifier: MIT
"""What holds for the whole suite."""

from __future__ import annotations

import signal

from effort import load_profile

load_profile()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's job in the background ignores Ctrl-C, and so would every program that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["lock_order", "part_markers", "private_libvirtd", "unprivileged", "pytester"]
