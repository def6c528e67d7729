# SPDX-License-Identifier: MIT
"""Interrupts: signals that ask this process to end, held back where a step must not be cut."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

HELD_BACK = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def uninterrupted() -> Iterator[threading.Event]:
    """Hold back SIGINT and SIGTERM while the block runs; they set the event, and take effect when the block is left.

    Only the main thread receives signals (Python: signal), on any other this does nothing. A signal that the program
    ignores (a shell's job in the background ignores Ctrl-C), or that ends it at once, stays as it is.
    """
    hurry = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield hurry
        return
    came: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        hurry.set()

    before = {number: signal.getsignal(number) for number in HELD_BACK}
    before = {number: handler for number, handler in before.items() if callable(handler)}
    for number in before:
        signal.signal(number, hold)
    try:
        yield hurry
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
