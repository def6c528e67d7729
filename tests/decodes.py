# SPDX-License-Identifier: MIT
"""Counts how many records of histories this thread decodes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from harness.history.reader import AnyRecord


@contextmanager
def counted_decodes() -> Iterator[list[int]]:
    """Give a list that holds one entry for each line decoded as a record, as the interpreter's profiler sees the calls."""
    seen: list[int] = []

    def look(_frame: FrameType, event: str, called: Any) -> None:
        decodes = event == "c_call" and called.__name__ == "decode"
        if decodes and getattr(called.__self__, "type", None) == AnyRecord:
            seen.append(1)

    sys.setprofile(look)
    try:
        yield seen
    finally:
        sys.setprofile(None)
