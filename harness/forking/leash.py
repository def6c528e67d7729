# SPDX-License-Identifier: MIT
"""The leash: the kernel sends this process a signal when the process that forked it ends, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal

SET_PDEATHSIG = 1
"""PR_SET_PDEATHSIG (linux/prctl.h)."""

_libc = ctypes.CDLL(None, use_errno=True)


def end_with(parent: int, number: signal.Signals) -> None:
    """Let the kernel send ``number`` to this process when ``parent`` ends, which has forked it.

    The kernel watches the *thread* that forked (prctl(2)), so that must be the parent's main thread, or one that lives as long as
    this process is needed. A parent that ended before the call is noticed: this process then ends at once.
    """
    _libc.prctl(SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + number)
